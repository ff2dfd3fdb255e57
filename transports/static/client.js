/**
 * everywire in the browser and in Node: one ordered event stream over WebSocket, Server-Sent Events or long-polling.
 *
 *   const live = connect("/live", { channels: ["clock"] });
 *   live.on("state", (s) => (note.textContent = s.sentence));
 *   for await (const event of live) show(event.data);
 *
 * Three rooms. Readers turn text into items. The machine decides which wire to open, to trust and to close, and touches
 * nothing. `connect` owns what is real: the wires, one timer, the position. It tells the machine what happened, and does what the
 * machine says. A resume, a poll, a reconnect and a change of wire are the same act: "read on from this position".
 *
 * What many pages never want is loaded when it is wanted: outbox.js publishes and renews, oneway.js is SSE and long-polling, tabs.js shares.
 *
 * The wire protocol is docs/reference/protocol.md; the types are in client.d.ts. What is served is client.min.js, which
 * tests/static/minify.js makes of this.
 */

/** What went wrong, in the words of the protocol. `retry`: seconds to wait, null: do not come back, undefined: not said. */
export class LiveError extends Error {
  // `cause`: what the machine is to be told besides.
  constructor({ code = 0, name = "unreachable", reason, retry, cause }) {
    super(reason || name, { cause });
    this.code = code;
    this.name = name;
    this.retry = retry;
  }
}

/** `how`: what the machine is to be told, with the reason. */
const broken = (reason, how) => new LiveError({ reason: reason || "the connection broke", cause: how && { how, reason } });
const foreign = (what, cause = { how: "not_ours" }) => new LiveError({ name: "not_everywire", reason: `${what} is not everywire`, cause });
/** The server's own words: a `retry` that it leaves out is null. Throws what is not: other codes than ours are somebody else's. */
const said = ({ code, name, reason, retry }, cause) => {
  if (!/^(100[01]|4[45]\d\d)$/.test(code)) throw foreign("what came");
  return new LiveError({ code, name, reason, retry: retry >= 0 ? retry && min(retry, 86_400) : null, cause });
};

// ---------------------------------------------------------------------------------------------------------- readers

/** The items that we know, of a batch or of `one`. Other types are of a later version; what is no item is not ours, and throws. */
export const known = (text, one) => {
  try {
    const batch = JSON.parse(text);
    return (one ? [batch] : batch).filter(({ type }) => type.match(/^(hello|event|beat|lost|skipped|reply|bye)$/));
  } catch {
    throw foreign("what came");
  }
};

/** "k3f9.1042" -> { epoch: "k3f9", offset: 1042 }, or null for what is no position. */
export function parsePosition(text) {
  const [, epoch, digits] = /^([a-z\d]{1,16})\.(0|[1-9]\d{0,15})$/i.exec(text) ?? [];
  // From there on JavaScript takes some numbers for others.
  return digits < 2 ** 53 ? { epoch, offset: +digits } : null;
}

/** Which life of the log a position is of. */
const epoch = (position) => parsePosition(position)?.epoch;

/** Whether a reader standing at `position` already has what `id` names. Only offsets of one epoch can be compared. */
const passed = (id, position) => epoch(id) === epoch(position) && parsePosition(id)?.offset <= parsePosition(position)?.offset;

// ---------------------------------------------------------------------------------------------------------- machine
//
// The negotiator, rule for rule as in transports/negotiator.py, where each is explained: facts in, instructions out, and
// neither a clock nor chance nor the network in between. Logs of one are replayed by the other, so the arithmetic is the same
// down to the order of its terms. Facts, instructions and state are plain objects, described in transports/facts.py. In sums, and
// as the lesser of two times, a null counts as 0.

/**
 * Which rule answers which fact: in `idle`; under way, that is in `connecting`, `reconnecting`, `offline` and `open`; and in `open`, where
 * that is another one. What is over stays as it is. `-`: decided, and nothing changes. negotiator.py has it as a whole table.
 * In no other row stands a fact's name in front of a space.
 */
export const GRID = `
start begin -
stop finish finish
opened - reach
item - hear
answered - settle
refused - refuse
closed - lose
leaving - move
http_ok - hurry -
http_failed - - wonder
tick - look
online connect afresh
offline part lie_low
hidden veil veil
shown unveil wake
prefer - wish
`;

// Every number that the negotiator goes by, in seconds; see `Pace` in facts.py.
const PACE = {
  gap: 0.2, gap_most: 2, proof: 5, answer: 3, slack: 1, check: 2, hidden: 70, short: 20, strikes: 2, settle: 2, retest: 30,
  retest_most: 600, memory: 600, at_once: 0.1, backoff: 0.5, backoff_most: 20, opens: 20, opens_rate: 1,
};

const { min, max, trunc } = Math;

const LABELS = { websocket: "WebSocket", sse: "SSE", longpoll: "long-polling" };

// Every verdict there is, and what is said of it, behind the label of its rung. `$`: the status, and who answered.
const VERDICTS = {
  ok: "works",
  bad_gateway: "was answered with $: no server behind it",
  refused_http: "was refused with $",
  upgrade_stripped: "lost its upgrade on the way",
  captive_portal: "",
  wrong_content_type: "was answered with something that is not ours",
  not_ours: "brought something that is not ours",
  disabled: "is not served there",
  unsupported: "does not exist here",
  unreachable: "could not be opened",
  tls_error: "found no certificate that it trusts",
  timeout_open: "was not answered",
  no_answer: "fell silent",
  buffered: "is held back on the way",
  cut_early: "is cut off early",
  cut_idle: "is cut off when nothing comes",
  ended: "ended",
  refused: "was refused by the server",
  remembered_bad: "did not work here before",
};

// What these say is sure. Other verdicts may only mean that the server was just starting: they are looked at once more before they count.
const SURE = /refused|stripped|portal|wrong|disabled|unsupported|idle/;

const label = (rung) => LABELS[rung] ?? rung;
const capital = (text) => text.replace(/^./u, (first) => first.toUpperCase());
/** The wire of that number. */
const numbered = (wires, number) => wires.find((wire) => wire.number === number);


/** What a verdict says of a rung. A login page says nothing of it. */
const words = ({ rung, verdict, status, via }) => {
  const text = VERDICTS[verdict].replace("$", () => status + (via && ` by ${via}`));
  return text ? `${label(rung)} ${text}` : "a login page answered instead of the server";
};

/** How things stand, in one sentence. */
const describe = (s) => {
  const { code, state } = s;
  if (state === "idle") return s.sentence;
  if (state === "open") {
    const { rung, leave } = numbered(s.wires, s.using);
    const first = s.rungs.find((each) => each === rung || s.bad[each]);
    return `Live over ${label(rung)}${first === rung ? "" : `: ${words({ rung: first, ...s.bad[first] })}`}${leave === null ? "" : "; moving to another connection"}.`;
  }
  if (state === "offline") return s.rest ? `${capital(s.rest)}.` : "This device is offline; going on when it is back.";
  if (state === "closed") return `Closed${code ? " by the server" : ""}.`;
  if (state === "failed") return `Refused: ${s.cause} (${code} ${s.name}).`;
  if (s.again !== null) return `${capital(cause(s))}; trying again in ${(trunc(s.delay * 10 + 0.5) / 10).toFixed(1)} s.`;
  const trying = s.wires.filter((wire) => wire.phase !== "waiting" && wire.number !== s.using).map((wire) => label(wire.rung));
  const over = [...new Set(trying)].join(" and ");
  return `${s.ever ? "Reconnecting" : "Connecting"}${over && ` over ${over}`}.`;
};

/** Why nothing works. */
const cause = (s) => {
  const failed = Object.values(s.failed);
  if (failed.includes("captive_portal")) return words({ verdict: "captive_portal" });
  if (s.cause) return s.cause;
  if (failed[0] && failed.every((verdict) => verdict === "unreachable")) return "the server could not be reached";
  return s.attempts[0] ? words(s.attempts.at(-1)) : "nothing works yet";
};

/** A state in which nothing has happened yet. `more`: `held`, `pace`, and what is remembered of this network. */
export function initial(rungs, more) {
  return {
    rungs, held: [], bad: {}, quiet: null, quiet_until: 0, state: "idle", sentence: "Not connected yet.", wires: [], using: 0,
    numbers: 0, due: null, again: null, delay: 0, retry: 0, wanted: null, rise: null, failed: {}, rounds: 0, short: {},
    doubt: null, rtt: null, beat: 15, opens: 0, opens_at: 0, online: true, hidden: false, ever: false, cause: "", rest: "",
    code: 0, name: "", attempts: [], ...more, pace: { ...PACE, ...more?.pace },
  };
}

/** What follows from `fact` -> [state, instructions]. `now`: seconds since 1970; `luck`: from 0 to below 1. */
export function step(state, fact, now, luck) {
  // The given state stays as it is; attempts are never changed, and stay the same for who looks for new ones.
  const s = structuredClone(state);
  s.attempts = state.attempts;
  const { pace } = state;
  // What an end may bring with it.
  const { code = 0, name = "", reason = "", retry = null } = fact;
  let out = [];

  // Those that are about a wire get it.
  const rules = {
    begin() {
      s.state = "connecting";
      s.opens = pace.opens;
      s.opens_at = now;
      for (const rung in s.bad) {
        const bad = s.bad[rung];
        bad.until = min(bad.until, now + max(pace.memory, pace.retest_most));
        if (!s.rungs.includes(rung)) delete s.bad[rung];
        else if (bad.until > now) {
          bad.retest = min(max(bad.retest, now + pace.retest * (0.5 + luck / 2)), now + pace.retest_most);
          record({ rung, why: "memory", phase: "waiting" }, now, "remembered_bad", { ...bad, reason: bad.verdict });
        }
      }
      race();
    },
    finish() {
      dropAll();
      s.state = "closed";
    },
    look() {
      if (s.due !== null && now - s.due > 5) slept();
      if (past(s.again)) race();
      for (const wire of s.wires) if (s.wires.includes(wire) && past(wire.due)) overdue(wire);
      const wire = live();
      if (!wire) return;
      if (past(movesAt(wire))) start(wire.rung, "move");
      if (!s.hidden && past(wire.check)) {
        wire.check = now + min(max(pace.check, (now - wire.proven) / 2), pace.retest_most);
        if (wire.asked === null) order("ask", wire);
      }
      if (past(patienceEnds(wire))) {
        if (wire.asked === null) ask(wire);
        else suspect(wire, "no_answer");
      }
      if (s.state !== "open" || !s.online || s.hidden) return;
      if (s.bad[wire.rung] && past(forgivenAt(wire))) {
        delete s.bad[wire.rung];
        remember();
      }
      for (const rung of couldRise(wire)) if (past(risesAt(rung))) start(rung, "retest");
    },
    connect() { s.online = true; },
    part() { s.online = false; },
    afresh() {
      s.online = true;
      s.rest = "";
      s.rounds = 0;
      s.short = {};
      s.doubt = null;
      s.failed = {};
      if (!fact.same && (Object.keys(s.bad)[0] || s.quiet !== null)) {
        s.bad = {};
        s.quiet = null;
        s.quiet_until = 0;
        remember();
      }
      const wire = live();
      if (wire) {
        ask(wire);
        if (!fact.same) for (const rung of couldRise(wire)) start(rung, "retest");
      } else {
        s.state = trying();
        s.again = s.wanted;
        if (s.wanted > now) s.delay = s.wanted - now;
        else {
          dropAll();
          race();
        }
      }
    },
    lie_low() {
      s.online = false;
      s.rest = reason;
      for (const wire of s.wires) if (fact.let_go || wire !== using()) drop(wire);
      if (!live()) pause(pace.backoff_most);
    },
    veil() { s.hidden = true; },
    unveil() { s.hidden = false; },
    wake() {
      s.hidden = false;
      const wire = using();
      if (wire && now - wire.heard > pace.slack) {
        wire.heard = now;
        ask(wire);
      }
      rules.hurry();
    },
    hurry() {
      if (s.again === null || s.wanted !== null || (!s.rounds && s.online)) return;
      s.delay = max(0, min(s.again - now, luck * pace.at_once));
      s.again = now + s.delay;
    },
    wonder() { askOnce(using()); },
    wish() {
      const { rung } = fact;
      if (!s.rungs.includes(rung) || using()?.rung === rung || !s.online || s.wanted !== null) return;
      for (const other of s.wires) if (other.why === "wish" && other !== using() && other.rung !== rung) drop(other);
      const wire = s.wires.find((each) => each.rung === rung) ?? plan(rung, now, "wish");
      wire.why = "wish";
      if (wire.phase === "waiting") open(wire);
      else if (wire.phase === "proven") takeOver(wire);
    },
    reach(wire) {
      if (wire.phase !== "opening") return;
      wire.phase = "opened";
      measure(now - wire.began);
      moreTime(wire);
    },
    hear(wire) {
      if (fact.beat) wire.beat = s.beat = fact.beat;
      const passed = now - wire.heard;
      wire.heard = now;
      if (wire.phase === "proven") {
        wire.gap = wire.gap === null ? passed : 0.8 * wire.gap + 0.2 * passed;
        wire.still = max(wire.still, passed);
        wire.asked = null;
        alive(wire);
      } else if (wire.phase !== "heard") {
        wire.phase = "heard";
        moreTime(wire);
        if (wire.answered) proven(wire);
        else ask(wire);
      }
    },
    settle(wire) {
      const { behind } = fact;
      // Not a number, where nothing was asked: it is neither more nor less than any.
      const waited = now - (wire.asked ?? NaN);
      measure(waited);
      wire.asked = null;
      wire.answered = !behind;
      if (wire.phase === "heard") {
        if (behind) giveUp(wire, "buffered");
        else proven(wire);
      } else if (wire === using()) {
        wire.gap = null;
        if (waited > 4 * pace.answer) wire.heard = now;
        const late = waited >= 0 && now - wire.heard > silence(wire);
        if (behind || late) suspect(wire, s.held.includes(wire.rung) ? "buffered" : "no_answer", behind);
        else alive(wire);
      }
    },
    refuse(wire) {
      const { status } = fact;
      // What an answer says that is no yes of ours: with a code of ours, and without one.
      const ours = () => /40[45]/.test(status) ? "disabled" : "refused";
      const theirs = () => {
        if (/^3|511/.test(status) || (fact.html && status < 300)) return "captive_portal";
        if (status < 300) return "wrong_content_type";
        return /50[2-4]/.test(status) ? "bad_gateway" : "refused_http";
      };
      over(wire, status === 504 && wasSilent(wire) ? "cut_idle" : status === 426 ? "upgrade_stripped" : code ? ours() : theirs());
    },
    lose(wire) {
      over(wire, fact.how || { opening: "unreachable", proven: howItDied(wire) }[wire.phase] || "cut_early");
    },
    move(wire) { wire.leave = now + retry; },
  };

  // ---- how wires begin

  const race = () => {
    clear();
    s.wires = s.wires.filter((wire) => wire.phase !== "waiting" || wire.why === "wish");
    const left = s.rungs.filter((rung) => !s.wires.some((wire) => wire.rung === rung && wire !== using()));
    left.sort((a, b) => doubtful(a) - doubtful(b)).forEach((rung, place) => {
      const wire = plan(rung, now + place * min(max(1.5 * s.rtt, pace.gap), pace.gap_most), "race");
      if (!place) open(wire);
    });
  };

  // It makes another list, as `forget` does: loops over the one before are not disturbed.
  const plan = (rung, due, why) => {
    const wire = {
      number: ++s.numbers, rung, why, phase: "waiting", due, began: 0, heard: 0, proven: 0, still: 0, beat: 15, gap: null,
      answered: false, asked: null, check: null, leave: null, struck: false, spared: false,
    };
    s.wires = [...s.wires, wire];
    return wire;
  };

  const start = (rung, why) => { open(plan(rung, now, why)); };

  const open = (wire) => {
    s.opens = min(pace.opens, s.opens + (now - s.opens_at) * pace.opens_rate);
    s.opens_at = now;
    if (s.opens < 1) {
      wire.due = now + (1 - s.opens) / pace.opens_rate;
      return;
    }
    s.opens -= 1;
    const quiet = s.doubt?.quiet ?? (s.quiet_until > now ? s.quiet : null);
    wire.phase = "opening";
    wire.began = wire.heard = now;
    wire.due = now + proof();
    wire.beat = min(quiet ?? s.beat, s.beat);
    order("open", wire, { rung: wire.rung, quiet });
  };

  const proven = (wire) => {
    wire.phase = "proven";
    wire.proven = now;
    wire.due = wire.asked = null;
    record(wire, wire.began, "ok");
    if (wire.why === "retest" && s.state === "open") wire.due = now + (s.bad[wire.rung]?.verdict === "cut_early" ? pace.short : pace.settle);
    else takeOver(wire);
  };

  const takeOver = (wire) => {
    const { rung } = wire;
    const before = live();
    if (wire.why === "move") wire.why = using()?.why ?? "race";
    else if (before && wire.why !== "wish" && !better(rung, before)) return drop(wire);
    const wished = wire.why === "wish";
    for (const other of s.wires) {
      if (other === wire) continue;
      const promising = other.why === "wish" || (!wished && better(other.rung, wire) && !(other.why === "race" && doubtful(other.rung)));
      if (other === using() || other.phase === "waiting" || !promising) drop(other);
      else if (other.phase !== "proven" && wire.why === "race") other.due = max(other.due, now + 1.5 * (now - wire.began));
    }
    s.using = wire.number;
    s.state = "open";
    s.ever = true;
    s.rise = wished ? null : now + pace.retest * (0.75 + luck / 2);
    wire.due = null;
    wire.check = s.held.includes(rung) ? now + pace.check : null;
    if (s.bad[rung]?.until > 0) {
      s.bad[rung].until = 0;
      remember();
    }
    order("deliver", wire, { rung });
    settleBlame(wire);
    clear();
    s.rounds = 0;
  };

  const settleBlame = (wire) => {
    const doubt = s.doubt;
    s.doubt = null;
    if (doubt && doubt.rung !== wire.rung && s.short[doubt.rung] >= pace.strikes) {
      delete s.failed[doubt.rung];
      blame(doubt.rung, doubt.verdict);
    }
    if (doubt && doubt.quiet !== null) {
      s.quiet = doubt.quiet;
      s.quiet_until = now + pace.memory;
      remember();
    }
    for (const rung in s.failed) {
      const verdict = s.failed[rung];
      if (!better(rung, wire)) continue;
      if (SURE.test(verdict) || s.bad[rung]) blame(rung, verdict);
      else if (wire.why !== "wish" && !tried(rung)) start(rung, "race");
    }
  };

  // ---- how wires end

  const over = (wire, verdict) => {
    const wait = code && retry !== null;
    const beside = (live() || wire) !== wire;
    if (fact.final && beside) gone(wire, "refused");
    else if (fact.final) {
      leave(wire, verdict);
      dropAll();
      s.state = code === 1000 ? "closed" : "failed";
      s.cause = reason;
      s.code = code;
      s.name = name;
    } else if (wait && (using() ?? wire) === wire && !tried("move")) {
      leave(wire, "refused");
      dropAll();
      const seconds = max(retry, 0.01);
      s.cause = reason;
      s.wanted = now + seconds;
      pause(seconds);
    } else if (wait && beside) {
      leave(wire, "refused");
      const at = now + max(pace.retest, retry);
      if (s.bad[wire.rung]) s.bad[wire.rung].retest = at;
      else if (s.rise !== null) s.rise = at;
    } else {
      if (!beside) s.retry = max(s.retry, retry);
      gone(wire, verdict);
    }
  };

  const overdue = (wire) => {
    if (wire.phase === "waiting") open(wire);
    else if (wire.phase === "proven") takeOver(wire);
    else {
      const held = wire.phase === "opened" && s.held.includes(wire.rung);
      giveUp(wire, wire.phase === "opening" ? "timeout_open" : held ? "buffered" : "no_answer");
    }
  };

  const giveUp = (wire, verdict) => {
    order("close", wire);
    gone(wire, verdict);
  };

  const gone = (wire, verdict) => {
    const was = s.state;
    const other = using();
    leave(wire, verdict);
    if (wire === other) {
      holdAgainst(wire, verdict);
      succeed(was);
    } else if (was === "open") {
      if (wire.why === "wish" || !better(wire.rung, other)) return;
      s.failed[wire.rung] = verdict;
      askOnce(other);
    } else if (s.again === null) {
      s.cause = reason;
      s.failed[wire.rung] = verdict;
      bringForward(true);
    }
  };

  const succeed = (was) => {
    const [ready] = s.rungs.flatMap((rung) => s.wires.filter((wire) => wire.phase === "proven" && wire.rung === rung));
    if (ready) {
      s.failed = {};
      takeOver(ready);
    } else if (was === "open") {
      s.cause = reason;
      pause(max(luck * pace.at_once, s.retry));
    } else if (s.again === null) bringForward(false);
  };

  const bringForward = (hasten) => {
    const rest = s.wires.filter((wire) => wire !== using());
    const waiting = hasten && rest.find((wire) => wire.phase === "waiting");
    if (waiting) open(waiting);
    if (rest[0]) return;
    s.doubt = null;
    s.short = {};
    dropAll();
    pause(max(backoff(), s.retry));
  };

  const backoff = () => luck * min(pace.backoff_most, pace.backoff * 2 ** min(s.rounds++, 10));

  const pause = (seconds) => {
    s.state = s.online ? trying() : "offline";
    s.delay = s.online ? seconds : max(seconds, pace.backoff_most);
    s.again = s.rest ? null : max(now + s.delay, s.wanted);
  };

  const holdAgainst = (wire, verdict, sure) => {
    const { rung, struck } = wire;
    if (struck) return;
    wire.struck = true;
    if (wire.leave !== null) return;
    if (sure) s.short[rung] = pace.strikes;
    else if (now - wire.proven < pace.short) s.short[rung] = (s.short[rung] ?? 0) + 1;
    else delete s.short[rung];
    s.doubt = { rung, verdict, quiet: verdict === "cut_idle" ? max(1, min(0.6 * (now - wire.heard), wire.beat)) : null };
  };

  const howItDied = (wire) => {
    if (wire.leave !== null) return "ended";
    if (wasSilent(wire) || now - wire.heard >= max(4, 0.7 * wire.beat)) return "cut_idle";
    return now - wire.proven < pace.short ? "cut_early" : "ended";
  };

  const suspect = (wire, verdict, sure) => {
    if (s.state !== "open") return;
    wire.asked = null;
    record(wire, wire.proven, verdict);
    holdAgainst(wire, verdict, sure);
    s.state = "reconnecting";
    race();
  };

  const alive = (wire) => {
    if (wire !== using()) return;
    if (s.state === "open") {
      const failed = s.failed;
      s.failed = {};
      for (const rung in failed) blame(rung, failed[rung]);
    } else if (!(s.short[wire.rung] >= pace.strikes)) {
      for (const other of s.wires) if (other !== wire && other.why !== "wish") drop(other);
      wire.struck = false;
      s.state = "open";
      s.again = s.doubt = null;
      s.failed = {};
      s.cause = "";
    }
  };

  const slept = () => {
    for (const wire of s.wires) {
      if (wire === using()) {
        if (wire.asked !== null) continue;
        wire.heard = now;
        ask(wire);
      } else if (!/waiting|proven/.test(wire.phase) && !wire.spared) {
        wire.spared = true;
        wire.due = now + pace.proof;
      }
    }
  };

  // ---- the memory

  const blame = (rung, said) => {
    const verdict = said === "timeout_open" && s.held.includes(rung) ? "buffered" : said;
    const delay = s.bad[rung] ? min(s.bad[rung].delay * 2, pace.retest_most) : pace.retest;
    const { status = 0, via = "" } = s.attempts.findLast((each) => each.rung === rung) ?? {};
    const until = now + max(pace.memory, delay);
    s.bad[rung] = { verdict, until, retest: now + delay * (0.75 + luck / 2), delay, status, via };
    delete s.short[rung];
    remember();
  };

  const remember = () => {
    out = [...out.filter((each) => each.do !== "remember"), { do: "remember", bad: s.bad, quiet: s.quiet, quiet_until: s.quiet_until }];
  };

  // ---- small questions

  const using = () => numbered(s.wires, s.using);
  const live = () => s.state === "open" && using();
  const past = (time) => time !== null && time <= now;
  const better = (rung, than) => s.rungs.indexOf(rung) < s.rungs.indexOf(than.rung);
  const tried = (what) => s.wires.some((wire) => wire.rung === what || wire.why === what);
  const movesAt = (wire) => s.online && !tried("move") ? wire.leave : null;
  const couldRise = (wire) =>
    s.rungs.filter((rung) => wire.why !== "wish" && better(rung, wire) && !tried(rung) && !(rung in s.failed));
  const risesAt = (rung) => s.bad[rung]?.retest ?? s.rise;
  const forgivenAt = (wire) => wire.proven + (s.held.includes(wire.rung) ? pace.memory : 3 * pace.short);
  const wasSilent = (wire) => wire.phase === "proven" && now - wire.heard >= max(4, 0.8 * wire.still);
  const doubtful = (rung) => s.short[rung] >= pace.strikes || s.bad[rung]?.until > now;
  const trying = () => s.ever ? "reconnecting" : "connecting";
  const proof = () => max(pace.proof, min(10 * s.rtt, 4 * pace.proof)) * min(1 + 0.5 * s.rounds, 4);
  const silence = (wire) => max(wire.beat + pace.slack + 2 * s.rtt, s.hidden && pace.hidden);
  const patienceEnds = (wire) => {
    if (wire.asked !== null) return wire.asked + min(max(pace.answer, 4 * s.rtt), 4 * pace.answer);
    const flowing = wire.gap !== null && !s.hidden;
    return wire.heard + min(silence(wire), flowing ? max(pace.answer, 4 * wire.gap) : Infinity);
  };
  const nextTick = () => {
    if (/idle|closed|failed/.test(s.state)) return null;
    const times = [s.again, ...s.wires.map((wire) => wire.due)];
    const wire = live();
    if (wire) {
      times.push(patienceEnds(wire), movesAt(wire), s.hidden ? null : wire.check);
      if (s.online && !s.hidden) times.push(...couldRise(wire).map(risesAt), s.bad[wire.rung] ? forgivenAt(wire) : null);
    }
    const least = min(...times.map((time) => time ?? Infinity));
    return least < Infinity ? max(now, least) : null;
  };
  const measure = (seconds) => {
    if (seconds <= 4 * pace.answer) s.rtt = s.rtt === null ? seconds : min(seconds, s.rtt + 0.1 * (seconds - s.rtt));
  };
  const moreTime = (wire) => { wire.due = max(wire.due, now + proof()); };

  // ---- and small deeds

  const clear = () => {
    s.again = s.wanted = null;
    s.retry = 0;
    s.failed = {};
    s.cause = "";
  };
  const order = (what, wire, more) => { out.push({ do: what, wire: wire.number, ...more }); };
  const ask = (wire) => {
    wire.asked = now;
    order("ask", wire);
  };
  // One question at a time.
  const askOnce = (wire) => wire.asked ?? ask(wire);
  const record = ({ rung, why, phase }, since, verdict, { status = 0, via = "", reason = "" } = fact) => {
    s.attempts = [...s.attempts, { rung, why, phase, ms: trunc((now - since) * 1000 + 0.5), verdict, status, via, reason }].slice(-30);
  };
  const leave = (wire, verdict) => {
    record(wire, wire.proven || wire.began, verdict);
    forget(wire);
    const old = wire.why === "move" && live();
    if (old?.leave) old.leave = now + max(backoff(), retry);
  };
  const forget = (wire) => {
    if (wire === using()) s.using = 0;
    s.wires = s.wires.filter((each) => each !== wire);
  };
  const drop = (wire) => {
    if (wire.phase !== "waiting") order("close", wire);
    forget(wire);
  };
  const dropAll = () => {
    s.wires.forEach(drop);
    s.again = null;
  };

  const [, idle, busy, other] = GRID.match(`${fact.fact} .*`)[0].split(" ");
  const rule = { idle, open: other }[s.state] ?? busy;
  const meant = numbered(s.wires, fact.wire);
  if (rule !== "-" && !/closed|failed/.test(s.state) && (meant ? meant.phase !== "waiting" : !("wire" in fact))) rules[rule](meant);
  s.due = nextTick();
  const next = { ...s };
  const sentence = (next.sentence = describe(next));
  if (next.state !== state.state || sentence !== state.sentence) out.push({ do: "announce", state: next.state, sentence });
  return [next, out];
}

// ------------------------------------------------------------------------------------------- what connections are made of

const fired = (signal, more) => signal.aborted || new Promise((done) => signal.addEventListener("abort", done, more));

/** What `work(signal)` gives, if it does before `seconds` are over or `parent` fires; then `signal` fires too. Leaves no timer. */
const within = async (seconds, parent, work) => {
  const cutter = new AbortController();
  const { signal } = cutter;
  const cut = () => cutter.abort();
  const timer = setTimeout(cut, seconds * 1000);
  try {
    return await Promise.race([fired(parent, { signal }), fired(signal), work(signal)]);
  } finally {
    clearTimeout(timer);
    cut();
  }
};

const sleep = (seconds, parent) => seconds > 0 && within(seconds, parent, fired);

// Browsers remember that a URL could not be loaded, and one that nobody waited for any more may hang: the next try has another one.
let again = "";
let misses = 0;

/** A module of ours, one of those that are loaded when they are needed. Throws when it did not come. */
const load = async (name, signal) => {
  const part = await within(10, signal, () => import(`./${name}.js${again}`).catch(() => 0));
  if (part.run) return part;
  again = `?${++misses}`;
  throw broken(`the part ${name}.js could not be loaded`, "unreachable");
};

// A wire was opened while we stood nowhere, and begins behind where another one has put us meanwhile.
const LATER = {};

/** Does `work` with a storage. One that is full, forbidden or not there is only a convenience less: then it gives nothing. */
const perhaps = (work) => {
  try {
    return work();
  } catch {}
};

/** Does `work` with what the page gave, or with what its function gives: in the same turn, if that is no promise. */
const call = (given, work) => {
  const value = given?.call ? given() : given;
  return value?.then ? value.then(work) : work(value);
};

// ---------------------------------------------------------------------------------------------------------- connect

/** Opens a stream of events and keeps it open. See client.d.ts for the options and for what comes back. */
export function connect(mount, options = {}) {
  const { channels, latest, transport = "auto", token, queue: room = 100, random = Math.random, log } = options;
  if (!channels?.map || !channels[0]) throw new TypeError("channels is a list of names");
  const rungs = transport === "auto" ? Object.keys(LABELS) : [transport];
  if (!LABELS[rungs[0]]) throw new TypeError(`no transport named '${transport}'`);
  const { fetch = globalThis.fetch, WebSocket = globalThis.WebSocket } = options;
  // Seconds for the answer to a POST; events that a `for await` loop may be behind.
  const { lag = 10_000, ...pace } = options.pace ?? {};
  const { document: page, navigator, location } = globalThis;
  const root = (url) => new URL(`${url}`.replace(/\/*$/, "/"), location?.href);
  const fixed = mount?.call ? "" : root(mount) && mount;
  const key = `everywire:${fixed}`;
  const wanted = { channels, latest, lag: options.lag };
  const place = `${key}:${channels}${[latest]}${[wanted.lag]}`;
  const memory = () => rungs[1] && (options.memory ?? globalThis.localStorage);

  const listeners = new Set();
  const closing = new AbortController();
  const { signal: closed } = closing;
  const wires = new Map();
  // The queues of the `for await` loops.
  const loops = new Set();
  // Per channel, the position through which its loss has been told.
  const lost = new Map();
  const facts = [];
  // What is published, until it is acknowledged.
  const letters = new Set();
  const before = options.resume && perhaps(() => sessionStorage.getItem(place));
  let position = options.since ?? (parsePosition(before) && before);
  let telling, lagging, asleep, renewed, failure, timer, reported, posting;
  // What the clock on the wall is ahead of the one that never goes back: now, and as we count.
  const ahead = () => Date.now() - performance.now();
  let wall = ahead();
  let skew = wall;
  const clock = () => (performance.now() + skew) / 1000;
  let inCharge = null;
  let refs = 0;

  // Anybody may have written there: only what makes sense is believed.
  const kept = perhaps(() => {
    const { bad, quiet, quiet_until } = JSON.parse(memory().getItem(key));
    for (const rung in bad) {
      const { verdict, until, retest, delay } = bad[rung];
      if (!Object.hasOwn(VERDICTS, verdict) || !(until > clock() && retest + delay > 0)) delete bad[rung];
    }
    return { bad: { ...bad }, ...(quiet > 0 && { quiet, quiet_until }) };
  });
  let state = initial(rungs, { held: ["sse"], pace, ...kept });

  const guard = (fn, detail) => {
    try {
      fn?.(detail);
    } catch (error) {
      // The listener's defect, and none of the stream's.
      (globalThis.reportError ?? console.error)(error);
    }
  };

  const emit = (type, detail) => {
    for (const [each, fn] of [...listeners]) if (each === type) guard(fn, detail);
  };

  /** Nothing is said any more once it is closed, but that. */
  const say = (type, detail) => closed.aborted || emit(type, detail);

  // ---- telling the machine, and doing what it says

  const tell = (fact, more) => {
    note(fact, more);
    drain();
  };

  // The machine has time, the page has none: what comes next is on its way already, and a question now would compete with it.
  // But timers of a hidden page may be late.
  const soon = () => (page?.hidden === false ? setTimeout(drain, 5) : drain());

  const note = (fact, more) => {
    // A clock that never goes back may stand while the device sleeps; the one on the wall does not.
    const jump = ahead() - wall;
    wall += jump;
    if (jump > 2000) {
      skew += jump;
      note("shown");
      if (page?.hidden) note("hidden");
    }
    facts.push([clock(), { fact, ...more }]);
  };

  const drain = () => {
    // What comes up while instructions are carried out waits for its turn.
    if (telling) return;
    telling = true;
    while (facts[0]) turn(facts.shift());
    telling = false;
    clearTimeout(timer);
    if (state.due) timer = setTimeout(tell, min(max((state.due - clock()) * 1000 + 1, 0), 1e9), "tick");
  };

  const turn = ([now, fact]) => {
    const { attempts } = state;
    const luck = random();
    guard(log, { now, luck, fact });
    let orders;
    [state, orders] = step(state, fact, now, luck);
    // How a wire ended, who tells it knows; that one fell silent, only the machine.
    for (const each of state.attempts)
      if (/tick|answered/.test(fact.fact) && each.verdict !== "ok" && !attempts.includes(each))
        say("error", new LiveError({ code: 4408, name: "silent", reason: words(each) }));
    for (const order of orders) DO[order.do](order);
  };

  const DO = {
    open({ wire, rung, quiet }) {
      if (resting()) return rest();
      // What was found out since a wire last worked: only then it is sure that the server was told.
      const { attempts } = state;
      const news = attempts.slice(attempts.indexOf(reported) + 1).filter((each) => each.verdict !== "ok").map((each) => `${each.rung}.${each.verdict}`);
      const tried = news.slice(-5).join() || null;
      read(wire, rung, quiet, { why: numbered(state.wires, wire).why, tried, beat: rung === "longpoll" ? null : quiet });
    },
    close({ wire }) {
      wires.get(wire)?.cutter.abort();
      wires.delete(wire);
    },
    ask({ wire: number }) {
      const wire = wires.get(number);
      // On some nothing can be sent: they are compared with a poll.
      if (!wire?.send) return wire && load("oneway", wire.signal).then((part) => part.compare(wire, lent), () => {});
      wire.replies.set(++refs, () => wire.tell("answered"));
      ping(wire, refs);
    },
    deliver({ rung }) {
      reported = state.attempts.at(-1);
      if (rung !== inCharge) say("transport", { transport: (inCharge = rung) });
    },
    announce({ state: name, sentence }) {
      if (name === "failed") failure = said({ ...state, reason: state.cause, retry: null });
      const last = /closed|failed/.test(name);
      if (last) end();
      (last ? emit : say)("state", { state: name, transport: inCharge, sentence });
    },
    remember(order) {
      perhaps(() => memory().setItem(key, JSON.stringify({ ...order, do: undefined })));
    },
  };

  const ping = (wire, ref) => wire.send(`{"do":"ping","ref":${ref}}`);

  const end = () => {
    closing.abort(failure ?? new LiveError({ code: 1000, name: "closed", retry: null }));
    for (const queue of loops) queue.ring?.();
  };

  // ---- the wires: each reads one connection, `take(items)` for all that comes, until it throws how that ended

  const websocket = (wire) => reach("ws", wire.query, (url, bearer) => new Promise((_, reject) => {
    const { signal } = wire;
    signal.throwIfAborted();
    if (!WebSocket) throw new LiveError({ name: "unsupported", cause: { how: "unsupported" } });
    // No header can be sent with it: the token goes as one more subprotocol, which the server never chooses. As UTF-8, and without what
    // has a meaning there; `unescape` is of old, and everywhere.
    const more = bearer
      ? [`everywire.token.${btoa(unescape(encodeURIComponent(bearer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`]
      : [];
    const socket = new WebSocket(url.replace(/^http/, "ws"), ["everywire.v1.json", ...more]);
    let sent = clock();
    let ours;
    wire.send = (text) => socket.send(text);
    signal.addEventListener("abort", () => {
      socket.close();
      reject();
    });
    socket.onopen = () => {
      ours = true;
      wire.tell("opened");
    };
    socket.onmessage = ({ data }) => {
      try {
        wire.take(known(data));
      } catch (error) {
        return reject(error);
      }
      // The server's own beat is our clock: unlike a timer it is not slowed down in a hidden tab. Half a beat, since an
      // item may come a moment too early for a whole one: we are silent for one and a half at most, of two and a half.
      if (signal.aborted || clock() - sent < state.beat / 2) return;
      sent = clock();
      ping(wire, 0);
    };
    // Node tells of a refusal by an error alone.
    socket.onerror = () => ours || reject(broken());
    // Before it opened, a close says nothing of why. A code of ours without a `bye`: 44xx means "change something", but for three that only
    // mean "later".
    socket.onclose = ({ code, reason }) =>
      reject(
        ours && code >= 4000
          ? new LiveError({ code, name: "closed", reason, retry: /^44(?!08|29|30)/.test(code) ? null : undefined })
          : broken(ours && reason),
      );
  }));

  /** Over SSE or long-polling. What reads them is loaded while the stream is asked for. */
  const oneWay = async (wire) => {
    const stream = wire.rung === "sse" && wire.get("sse", "text/event-stream");
    const [part, response] = await Promise.all([load("oneway", wire.signal), stream]);
    await part.run(wire, lent, response);
  };

  const read = async (number, rung, quiet, query = {}) => {
    const cutter = new AbortController();
    const { signal } = cutter;
    const wire = {
      number, rung, quiet, cutter, signal, since: position, replies: new Map(),
      query: { ...wanted, since: position, ...query },
      tell: (fact, more) => signal.aborted || (note(fact, { wire: number, ...more }), soon()),
      async get(path, type, more) {
        const response = await request(path, { ...wire.query, since: position, ...more }, type, { signal });
        wire.tell("opened");
        // The rest is told once.
        wire.query = wanted;
        return response;
      },
      poll: async (more) => known(await (await wire.get("poll", "application/json", more)).text()),
      take: (items) => take(wire, items),
    };
    wires.set(number, wire);
    try {
      // Tabs share what HTTP/1.x is short of: a browser opens six connections to a server, but many more WebSockets.
      if (rung === "websocket") await websocket(wire);
      else if (options.share) await (await load("tabs", signal)).run(wire, lent, oneWay, place, await call(mount, root));
      else await oneWay(wire);
      throw broken();
    } catch (error) {
      cutter.abort();
      if (error === LATER) read(number, rung, quiet);
      else over(wire, error instanceof LiveError ? error : broken());
    }
  };

  /** Does `work(url, bearer)` for a path of ours. Some caches do not know `no-store`: no URL is asked for twice. */
  const reach = (path, query, work) => call(mount, (base) => {
      const url = new URL(path, root(base));
      for (const name in query) if (query[name] != null) url.searchParams.set(name, query[name]);
      url.searchParams.set("_", Math.random());
      return call(token, (bearer) => work(url.href, bearer));
    });

  /** An answer of ours. A way that leads elsewhere is not followed: it leads to a login page. */
  const request = (path, query, type, init) => reach(path, query, async (url, bearer) => {
      const headers = bearer ? { Authorization: `Bearer ${bearer}` } : {};
      const response = await fetch(url, { cache: "no-store", redirect: "manual", headers, ...init });
      if (!response.ok || !response.headers.get("content-type")?.startsWith(type)) throw pardon(await refusal(response, init.signal));
      return response;
    });

  /** A refusal in our words, or whatever a proxy on the way had to say. A login page may stand before the part that reads it, too. */
  const refusal = async (response, signal) => {
    const part = await load("oneway", signal).catch(() => 0);
    return part ? part.refusal(response, lent) : foreign("the answer", { fact: "refused", status: response.status || 302, html: 1 });
  };

  /** The token may just be too old: one more try at once, with another, before it is the last word. */
  const pardon = (error) => {
    if (error.code === 4401 && error.retry === null && token?.call && !renewed) {
      renewed = true;
      error.retry = 0;
    }
    return error;
  };

  const over = (wire, error) => {
    if (!wires.delete(wire.number)) return;
    wire.cutter.abort();
    const { code, name, message: reason, retry = null, cause } = pardon(error);
    say("error", error);
    tell("closed", { wire: wire.number, ...(code && { code, name, reason }), retry, final: error.retry === null, ...cause });
  };

  /**
   * All that comes, by whichever wire. Each is complete behind the position at which it was opened. So the items of all of them,
   * less the repeats, are complete behind ours, in whatever way they are mixed.
   */
  const take = (wire, items) => {
    let beat = 0;
    for (const item of items) {
      if (wire.signal.aborted) return;
      if (item.type === "reply") continue;
      handle(item, wire);
      wire.last = item.id ?? wire.last;
      if (item.beat >= 0.05 && item.beat <= 86_400) beat = item.beat;
    }
    wire.moved?.();
    // The machine wants to know that something comes, not of everything.
    const now = clock();
    if (items[0] && (beat || !(now - wire.heard < min(1, state.beat / 2)))) {
      wire.heard = now;
      wire.tell("item", { beat });
    }
    // What came back has come down before: an item behind its answer would look as if more were on the way.
    for (const item of items) wire.replies.get(item.ref)?.(item);
  };

  /** Whether we have had it. */
  const repeated = (id) => passed(id, position);

  /** What each item means to the position, and who is told. Throws when the wire, if it came by one, is of no more use. */
  const handle = (item, wire) => {
    const { type, id, channel, reason, after, through } = item;
    if (type === "bye") {
      const bye = said(item);
      if (!(item.stays > 0) || bye.retry === null) throw bye;
      const leave = () => wire.tell("leaving", { retry: bye.retry });
      // What was shown expires. Where something can be said, something newer is shown there, and nobody has to leave.
      if (bye.code === 4401 && wire.send && token?.call)
        return load("outbox", wire.signal).then((part) => part.renew(wire, lent, bye, item.stays)).catch(leave);
      return leave();
    }
    if (!parsePosition(id)) throw foreign("what came");
    const repeat = repeated(id);
    if (type === "hello") {
      // Our position got lost on the way: reading on would be a gap that nobody declares.
      if (position !== null && item.resumed === "fresh" && !repeat)
        throw wire.since === null ? LATER : foreign("another stream");
      position ??= id;
      renewed = false;
    } else if (type === "lost") {
      // From another life of the log, or ahead of it, we go to where the server says, backwards too; once, if several wires
      // say so. What is gone there another wire may have brought; and another wire may have said so, and we have gone back already.
      const gone = reason === "evicted";
      if (gone ? repeated(through) : reason === "future" && !repeated(after)) return;
      if (!repeat || (!gone && passed(after, position))) {
        const before = epoch(position);
        position = id;
        // Wires that were opened in the log's former life may still bring items of it: they must not.
        const anew = "the log began anew";
        if (before && before !== epoch(id))
          for (const other of wires.values()) {
            const beside = state.state === "open" && other.number !== state.using;
            const why = beside ? new LiveError({ code: 1001, reason: anew, retry: 0 }) : broken(anew, "ended");
            if (other !== wire) over(other, why);
          }
      }
      // One who came back before the end of a loss is told of it again: only what is new goes on to the page.
      const told = reason === "future" ? null : lost.get(channel);
      if (passed(through, told)) return;
      lost.set(channel, through);
      say("lost", passed(after, told) ? { ...item, after: told } : item);
    } else if (type === "skipped") {
      if (!repeated(through)) say(type, item);
    } else if (!repeat) {
      if (position !== null && epoch(id) !== epoch(position)) throw foreign("another stream");
      position = id;
      if (type === "beat") return;
      for (const queue of loops) {
        queue.push(item);
        queue.ring?.();
        lagging ||= queue.length >= lag;
      }
      say("event", item);
      if (lagging) rest();
    }
  };

  // ---- rest, for a reason of the page's own

  const resting = () => {
    if (asleep) return "this page is put to sleep";
    return lagging && "this page is behind; going on when it has caught up";
  };
  const rest = () => tell("offline", { let_go: true, reason: resting() });
  const goOn = () => tell("online", { same: true });

  const hear = (target, type, fn) => target?.addEventListener?.(type, fn, { signal: closed });
  const save = () => position && options.resume && perhaps(() => sessionStorage.setItem(place, position));

  // ---- what the page has of it

  const live = {
    get state() { return state.state; },
    get transport() { return inCharge; },
    get position() { return position; },
    get sentence() { return state.sentence; },
    get evidence() {
      return structuredClone({ ...state, transport: inCharge, position });
    },

    on(...listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    async *[Symbol.asyncIterator]() {
      const queue = [];
      loops.add(queue);
      const caughtUp = () => {
        if (!lagging || [...loops].some((each) => each.length > lag >> 1)) return;
        lagging = false;
        goOn();
      };
      try {
        for (;;) {
          while (queue[0]) {
            yield queue.shift();
            caughtUp();
          }
          if (failure) throw failure;
          if (closed.aborted) return;
          await new Promise((done) => { queue.ring = done; });
        }
      } finally {
        loops.delete(queue);
        caughtUp();
      }
    },

    // It waits here, and outbox.js takes it up.
    async publish(channel, data, { key, about, timeout = 100 } = {}) {
      closed.throwIfAborted();
      if (letters.size >= room) throw new LiveError({ name: "queue_full", reason: `${room} wait already` });
      const letter = { channel, data: JSON.stringify(data), key, about, deadline: clock() + timeout };
      letters.add(letter);
      await within(timeout, closed, () => new Promise((done) => {
        letter.done = done;
        post();
      }));
      letters.delete(letter);
      if (letter.id) return letter.id;
      throw closed.reason ?? letter.error ?? broken("the server could not be reached");
    },

    switch(rung) {
      tell("prefer", { rung });
    },

    /** For demonstrations: lets every wire drop without a word, as a broken network would, and stays away for `seconds`. */
    cut(retry = 0) {
      for (const wire of wires.values()) over(wire, new LiveError({ code: 1, name: "cut", reason: "the wire was cut", retry }));
    },

    close() {
      if (closed.aborted) return;
      end();
      tell("stop");
    },
  };

  /** Has outbox.js send what waits. Until that could be loaded, it waits. */
  const post = async () => {
    if (posting) return;
    posting = true;
    for (let pause = 0; letters.size; )
      try {
        await (await load("outbox", closed)).run(lent);
      } catch (error) {
        for (const letter of letters) letter.error = error;
        say("error", error);
        await sleep(++pause, closed);
      }
    posting = false;
  };

  // What the parts work with.
  const lent = {
    letters, live, options, closed, wires, clock, within, sleep, request, known, said, foreign, broken, tell, handle, passed,
    machine: () => state,
  };

  // After the caller's own line: its listeners hear everything.
  (async () => {
    await null;
    if (page?.hidden) tell("hidden");
    if (navigator?.onLine === false) tell("offline");
    tell("start");
    hear(globalThis, "online", () => tell("online"));
    hear(globalThis, "offline", () => tell("offline"));
    hear(globalThis, "pagehide", () => ((asleep = true), save(), rest()));
    hear(globalThis, "pageshow", ({ persisted }) => persisted && ((asleep = false), goOn()));
    hear(page, "visibilitychange", () => (save(), tell(page.hidden ? "hidden" : "shown")));
  })();
  return live;
}

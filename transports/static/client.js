/**
 * everywire in the browser and in Node: one ordered event stream over WebSocket, Server-Sent Events or long-polling.
 *
 *   const live = connect("/live", { channels: ["clock"] });
 *   live.on("state", (s) => (note.textContent = s.sentence));
 *   for await (const event of live) show(event.data);
 *
 * Four rooms. Readers turn bytes into items. The machine decides which wire to open, to trust and to close, and touches
 * nothing. Wires carry one connection each and know nothing of the others. `connect` owns what is real: the wires, one timer,
 * the position. It tells the machine what happened, and does what the machine says. A resume, a poll, a reconnect and a change
 * of wire are the same act: "read on from this position".
 *
 * The wire protocol is docs/reference/protocol.md; the types are in client.d.ts. The server leaves lines that are comments out.
 */

/** What went wrong, in the words of the protocol. `retry`: seconds to wait, null: do not come back, undefined: not said. */
export class LiveError extends Error {
  // `fact`: what the machine is to be told besides.
  constructor({ code = 0, name = "unreachable", reason, retry, fact }) {
    super(reason || name);
    Object.assign(this, { code, name, retry, fact });
  }
}

const broken = () => new LiveError({ reason: "the connection broke" });
const foreign = (what) => new LiveError({ name: "not_everywire", reason: `${what} is not everywire`, fact: { how: "not_ours" } });

// ---------------------------------------------------------------------------------------------------------- readers

const TYPES = ["hello", "event", "beat", "lost", "reply", "bye"];

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw foreign("what came");
  }
}

/** The items that we know. Other types are of a later version; what is no item at all is not ours. */
function known(batch) {
  if (!Array.isArray(batch) || batch.some((item) => typeof item?.type !== "string")) throw foreign("what came");
  return batch.filter((item) => TYPES.includes(item.type));
}

/**
 * A reader of one event stream (WHATWG HTML 9.2.6): bytes -> items, however the bytes are cut. The fields `event`, `id`
 * and `retry` are for a plain EventSource: our items say the same in their JSON.
 */
export function sseReader() {
  // It drops a leading byte order mark, and keeps characters whole over borders.
  const utf8 = new TextDecoder();
  let line = "";
  let data = null;
  let afterCr = false;
  return (bytes) => {
    let text = utf8.decode(bytes, { stream: true });
    // Less than a character.
    if (text === "") return [];
    // CRLF over a border: the line ended at the CR.
    if (afterCr) text = text.replace(/^\n/, "");
    afterCr = text.endsWith("\r");
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = line + lines[0];
    line = lines.pop();
    const items = [];
    for (const each of lines) {
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(each);
      if (each === "") {
        if (data !== null) items.push(...known([parse(data)]));
        data = null;
      } else if (field === "data") data = data === null ? value : `${data}\n${value}`;
    }
    return items;
  };
}

/** "k3f9.1042" -> { epoch: "k3f9", offset: 1042 }, or null for what is no position. */
export function parsePosition(text) {
  const [, epoch, digits] = /^([A-Za-z0-9]{1,16})\.(0|[1-9][0-9]{0,15})$/.exec(text) ?? [];
  return Number.isSafeInteger(+digits) ? { epoch, offset: +digits } : null;
}

/** Whether a reader standing at `position` already has what `id` names. Only offsets of one epoch can be compared. */
function passed(id, position) {
  const [a, b] = [parsePosition(id), parsePosition(position)];
  return a !== null && b !== null && a.epoch === b.epoch && a.offset <= b.offset;
}

// ---------------------------------------------------------------------------------------------------------- machine
//
// The negotiator, rule for rule as in transports/negotiator.py, where each is explained: facts in, instructions out, and
// neither a clock nor chance nor the network in between. Logs of one are replayed by the other, so the arithmetic is the same
// down to the order of its terms. Facts, instructions and state are plain objects, described in transports/facts.py.

/** Which rule answers which fact in which state. `-`: decided, and nothing changes. */
export const GRID = `
            idle    connecting open    reconnecting offline closed failed
start       begin   -          -       -            -       -      -
stop        finish  finish     finish  finish       finish  -      -
opened      -       reach      reach   reach        reach   -      -
item        -       hear       hear    hear         hear    -      -
answered    -       settle     settle  settle       settle  -      -
refused     -       refuse     refuse  refuse       refuse  -      -
closed      -       lose       lose    lose         lose    -      -
http_ok     -       hurry      -       hurry        hurry   -      -
http_failed -       -          wonder  -            -       -      -
tick        -       look       look    look         look    -      -
online      connect afresh     afresh  afresh       afresh  -      -
offline     part    lie_low    lie_low lie_low      lie_low -      -
hidden      veil    veil       veil    veil         veil    -      -
shown       unveil  wake       wake    wake         wake    -      -
prefer      -       wish       wish    wish         wish    -      -
`;

const [STATES, ...ROWS] = GRID.trim().split("\n").map((line) => line.split(/ +/));

// Every number that the negotiator goes by, in seconds; see `Pace` in facts.py.
const PACE = {
  gap: 0.2, gap_most: 2, proof: 5, answer: 3, slack: 1, hidden: 70, short: 20, strikes: 2, settle: 2, retest: 30,
  retest_most: 600, memory: 600, at_once: 0.1, backoff: 0.5, backoff_most: 20, opens: 20, opens_rate: 1,
};

const LABELS = { websocket: "WebSocket", sse: "SSE", longpoll: "long-polling" };

// Every verdict there is, and what is said of it.
const VERDICTS = {
  ok: "{label} works",
  bad_gateway: "{label} was answered with {status}{via}: no server behind it",
  refused_http: "{label} was refused with {status}{via}",
  upgrade_stripped: "{label} lost its upgrade on the way",
  captive_portal: "a login page answered instead of the server",
  wrong_content_type: "{label} was answered with something that is not ours",
  not_ours: "{label} brought something that is not ours",
  disabled: "{label} is not served there",
  unsupported: "{label} does not exist here",
  unreachable: "{label} could not be opened",
  tls_error: "{label} found no certificate that it trusts",
  timeout_open: "{label} was not answered",
  no_answer: "{label} fell silent",
  buffered: "{label} is held back on the way",
  cut_early: "{label} is cut off early",
  cut_idle: "{label} is cut off when nothing comes",
  ended: "{label} ended",
  refused: "{label} was refused by the server",
  remembered_bad: "{label} did not work here before",
};

// Verdicts that may only mean that the server was just starting: they are looked at once more before they count.
const SOFT = ["unreachable", "bad_gateway", "tls_error", "timeout_open", "no_answer", "buffered", "cut_early", "not_ours"];

const label = (rung) => LABELS[rung] ?? rung;
const capital = (text) => text.replace(/^./u, (first) => first.toUpperCase());
const int = (value) => Math.trunc(value + 0.5);

/** What a verdict says of a rung. */
function words({ rung, verdict, status, via }) {
  const values = { label: label(rung), status, via: via && ` by ${via}` };
  return VERDICTS[verdict].replace(/{(\w+)}/g, (_, key) => values[key]);
}

/** How things stand, in one sentence. */
function describe(s) {
  if (s.state === "idle") return "Not connected yet.";
  if (s.state === "open") {
    const { rung } = s.wires.find((wire) => wire.number === s.using);
    const bad = s.rungs.slice(0, s.rungs.indexOf(rung)).find((better) => s.bad[better]);
    return `Live over ${label(rung)}${bad ? `: ${words({ rung: bad, ...s.bad[bad] })}` : ""}.`;
  }
  if (s.state === "offline") return s.rest ? `${capital(s.rest)}.` : "This device is offline; going on when it is back.";
  if (s.state === "closed") return s.code ? "Closed by the server." : "Closed.";
  if (s.state === "failed") return `Refused: ${s.cause} (${s.code} ${s.name}).`;
  const tenths = int(s.delay * 10);
  if (s.again !== null) return `${capital(cause(s))}; trying again in ${Math.floor(tenths / 10)}.${(tenths + 1e6) % 10} s.`;
  const trying = s.wires.filter((wire) => wire.phase !== "waiting" && wire.number !== s.using).map((wire) => label(wire.rung));
  const over = [...new Set(trying)].join(" and ");
  return `${s.ever ? "Reconnecting" : "Connecting"}${over && ` over ${over}`}.`;
}

/** Why nothing works. */
function cause(s) {
  const failed = Object.values(s.failed);
  if (failed.includes("captive_portal")) return VERDICTS.captive_portal;
  if (s.cause) return s.cause;
  if (failed[0] && failed.every((verdict) => verdict === "unreachable")) return "the server could not be reached";
  return s.attempts[0] ? words(s.attempts.at(-1)) : "nothing works yet";
}

/** A state in which nothing has happened yet. `more`: `held`, `pace`, and what is remembered of this network. */
export function initial(rungs, more = {}) {
  const own = Object.fromEntries(Object.entries(more.pace ?? {}).filter(([name]) => name in PACE));
  return {
    rungs, held: [], bad: {}, quiet: null, quiet_until: 0, state: "idle", sentence: "Not connected yet.", wires: [], using: 0,
    numbers: 0, due: null, again: null, delay: 0, retry: 0, told: false, rise: null, failed: {}, rounds: 0, short: {},
    doubt: null, rtt: null, beat: 15, opens: 0, opens_at: 0, online: true, hidden: false, ever: false, cause: "", rest: "",
    code: 0, name: "", attempts: [], ...more, pace: { ...PACE, ...own },
  };
}

/** What follows from `fact` -> [state, instructions]. `now`: seconds since 1970; `luck`: from 0 to below 1. */
export function step(state, told, now, luck) {
  const none = { wire: 0, beat: 0, behind: false, status: 0, via: "", how: "", code: 0, name: "", reason: "", retry: null };
  const fact = { ...none, ...told };
  const s = { ...structuredClone(state), attempts: state.attempts };
  const { pace } = s;
  let out = [];

  const rules = {
    begin() {
      Object.assign(s, { state: "connecting", opens: pace.opens, opens_at: now });
      s.bad = Object.fromEntries(Object.entries(s.bad).filter(([rung]) => s.rungs.includes(rung)));
      for (const [rung, bad] of Object.entries(s.bad)) {
        if (bad.until <= now) continue;
        bad.retest = Math.max(bad.retest, now + pace.retest * (0.5 + luck / 2));
        record({ rung, why: "memory", phase: "waiting" }, 0, "remembered_bad", bad, bad.verdict);
      }
      race();
    },
    finish() {
      dropAll();
      s.state = "closed";
    },
    look() {
      if (s.due !== null && now - s.due > 5) slept();
      if (s.again !== null && s.again <= now) race();
      for (const { number } of [...s.wires]) {
        const wire = find(number);
        if (wire && wire.due !== null && wire.due <= now) overdue(wire);
      }
      const using = find(s.using);
      if (!using || s.state !== "open") return;
      listen(using);
      if (s.online && !s.hidden) retest(using);
    },
    connect() { s.online = true; },
    part() { s.online = false; },
    afresh() {
      Object.assign(s, { online: true, rest: "", rounds: 0, short: {}, doubt: null });
      if (!fact.same && (Object.keys(s.bad)[0] || s.quiet !== null)) {
        Object.assign(s, { bad: {}, quiet: null, quiet_until: 0 });
        remember();
      }
      const using = find(s.using);
      if (using && s.state === "open") {
        ask(using);
        if (!fact.same) for (const rung of couldRise(using)) open(plan(rung, now, "retest"));
        return;
      }
      const wait = s.told && s.again !== null;
      if (!wait) dropAll();
      s.state = trying();
      if (!wait) race();
    },
    lie_low() {
      Object.assign(s, { online: false, rest: fact.reason });
      for (const wire of s.wires) if (fact.let_go || wire.number !== s.using) drop(wire);
      const left = s.told && s.again !== null ? s.again - now : 0;
      if (!s.using || s.state !== "open") pause(Math.max(pace.backoff_most, left));
    },
    veil() { s.hidden = true; },
    unveil() { s.hidden = false; },
    wake() {
      s.hidden = false;
      const using = find(s.using);
      if (using && now - using.heard > pace.slack) {
        using.heard = now;
        ask(using);
      }
      rules.hurry();
    },
    hurry() {
      if (s.again === null || s.told || (!s.rounds && s.online)) return;
      s.delay = Math.min(s.again - now, luck * pace.at_once);
      s.again = now + s.delay;
    },
    wonder() {
      const using = find(s.using);
      if (using?.asked === null) ask(using);
    },
    wish() {
      const { rung } = fact;
      if (!s.rungs.includes(rung) || find(s.using)?.rung === rung) return;
      const wire = s.wires.find((each) => each.rung === rung) ?? plan(rung, now, "wish");
      wire.why = "wish";
      if (wire.phase === "waiting") open(wire);
      else if (wire.phase === "proven") takeOver(wire);
    },
    reach() {
      const wire = meant();
      if (wire?.phase !== "opening") return;
      wire.phase = "opened";
      measure(now - wire.began);
      moreTime(wire);
    },
    hear() {
      const wire = meant();
      if (!wire) return;
      if (fact.beat) wire.beat = s.beat = fact.beat;
      const passed = now - wire.heard;
      wire.heard = now;
      if (wire.phase === "proven") {
        wire.gap = wire.gap === null ? passed : 0.8 * wire.gap + 0.2 * passed;
        wire.asked = null;
        alive(wire);
      } else if (wire.phase !== "heard") {
        wire.phase = "heard";
        moreTime(wire);
        if (wire.answered) proven(wire);
        else ask(wire);
      }
    },
    settle() {
      const wire = meant();
      if (!wire) return;
      if (wire.asked !== null) measure(now - wire.asked);
      [wire.asked, wire.answered] = [null, !fact.behind];
      if (wire.phase === "heard") {
        if (fact.behind) giveUp(wire, "buffered");
        else proven(wire);
      } else if (wire.number === s.using) {
        wire.gap = null;
        if (fact.behind || now - wire.heard > silence(wire)) suspect(wire, "buffered");
        else alive(wire);
      }
    },
    refuse() {
      const { status, code } = fact;
      let verdict = "refused_http";
      if (code) verdict = { 404: "disabled", 405: "disabled", 426: "upgrade_stripped" }[status] ?? "refused";
      else if ((status >= 300 && status < 400) || status === 511 || (fact.html && status < 300)) verdict = "captive_portal";
      else if (status < 300) verdict = "wrong_content_type";
      else verdict = { 426: "upgrade_stripped", 502: "bad_gateway", 503: "bad_gateway", 504: "bad_gateway" }[status] ?? verdict;
      over(meant(), verdict);
    },
    lose() {
      const wire = meant();
      const early = wire?.phase === "opening" ? "unreachable" : "cut_early";
      over(wire, fact.how || (wire?.phase === "proven" ? howItDied(wire) : early));
    },
  };

  // ---- how wires begin

  function race() {
    Object.assign(s, { again: null, told: false, retry: 0, failed: {}, cause: "" });
    s.wires = s.wires.filter((wire) => wire.phase !== "waiting" || wire.why === "wish");
    const underWay = s.wires.filter((wire) => wire.number !== s.using).map((wire) => wire.rung);
    const order = [...s.rungs.filter((rung) => !doubtful(rung)), ...s.rungs.filter(doubtful)];
    for (const [place, rung] of order.filter((each) => !underWay.includes(each)).entries()) {
      const gap = s.rtt === null ? pace.gap : Math.min(Math.max(1.5 * s.rtt, pace.gap), pace.gap_most);
      const wire = plan(rung, now + place * gap, "race");
      if (!place) open(wire);
    }
  }

  function plan(rung, due, why) {
    const wire = {
      number: ++s.numbers, rung, why, phase: "waiting", due, began: 0, heard: 0, proven: 0, beat: 15, gap: null,
      answered: false, asked: null, struck: false, spared: false,
    };
    s.wires.push(wire);
    return wire;
  }

  function open(wire) {
    s.opens = Math.min(pace.opens, s.opens + (now - s.opens_at) * pace.opens_rate);
    s.opens_at = now;
    if (s.opens < 1) {
      wire.due = now + (1 - s.opens) / pace.opens_rate;
      return;
    }
    s.opens -= 1;
    const quiet = s.doubt?.quiet ?? (s.quiet_until > now ? s.quiet : null);
    Object.assign(wire, { phase: "opening", began: now, heard: now, due: now + proof() });
    wire.beat = Math.min(quiet ?? s.beat, s.beat);
    out.push({ do: "open", wire: wire.number, rung: wire.rung, ...(quiet !== null && { quiet }) });
  }

  function proven(wire) {
    Object.assign(wire, { phase: "proven", proven: now, due: null, asked: null });
    record(wire, now - wire.began, "ok");
    if (wire.why === "retest" && s.state === "open") wire.due = now + pace.settle;
    else takeOver(wire);
  }

  function takeOver(wire) {
    const using = find(s.using);
    const wished = wire.why === "wish";
    if (using && s.state === "open" && !wished && !better(wire.rung, using.rung)) return drop(wire);
    for (const other of s.wires) {
      if (other === wire) continue;
      const promising = other.why === "wish" || (!wished && better(other.rung, wire.rung));
      if (other.number === s.using || other.phase === "waiting" || !promising) drop(other);
      else if (other.phase !== "proven" && wire.why === "race" && other.due !== null)
        other.due = Math.max(other.due, now + 1.5 * (now - wire.began));
    }
    const rise = wished ? null : now + pace.retest * (0.75 + luck / 2);
    Object.assign(s, { using: wire.number, state: "open", ever: true, rise });
    wire.due = null;
    if (s.bad[wire.rung]?.until > 0) {
      s.bad[wire.rung].until = 0;
      remember();
    }
    out.push({ do: "deliver", wire: wire.number, rung: wire.rung });
    settleBlame(wire);
    Object.assign(s, { rounds: 0, again: null, cause: "", failed: {} });
  }

  function settleBlame(wire) {
    const { doubt } = s;
    s.doubt = null;
    if (doubt) {
      if (doubt.rung !== wire.rung && s.short[doubt.rung] >= pace.strikes) {
        delete s.failed[doubt.rung];
        blame(doubt.rung, doubt.verdict);
      }
      if (doubt.quiet !== null) {
        Object.assign(s, { quiet: doubt.quiet, quiet_until: now + pace.memory });
        remember();
      }
    }
    for (const [rung, verdict] of Object.entries(s.failed)) {
      if (!better(rung, wire.rung)) continue;
      if (!SOFT.includes(verdict) || s.bad[rung]) blame(rung, verdict);
      else if (wire.why !== "wish") open(plan(rung, now, "race"));
    }
  }

  function retest(using) {
    if (s.bad[using.rung] && forgivenAt(using) <= now) {
      delete s.bad[using.rung];
      remember();
    }
    for (const [rung, at] of rises(using)) if (at <= now) open(plan(rung, now, "retest"));
  }

  // ---- how wires end

  function over(wire, verdict) {
    if (!wire) return;
    const { retry, code } = fact;
    if (fact.final) {
      leave(wire, verdict, fact);
      dropAll();
      Object.assign(s, { state: code === 1000 ? "closed" : "failed", cause: fact.reason, code, name: fact.name });
    } else if (retry !== null && code && [0, wire.number].includes(s.using)) {
      leave(wire, "refused", fact);
      dropAll();
      Object.assign(s, { cause: fact.reason, told: true });
      pause(Math.max(retry, 0.01));
    } else {
      s.retry = Math.max(s.retry, retry ?? 0);
      gone(wire, verdict, fact);
    }
  }

  function overdue(wire) {
    if (wire.phase === "waiting") open(wire);
    else if (wire.phase === "proven") takeOver(wire);
    else {
      const held = wire.phase === "opened" && s.held.includes(wire.rung);
      giveUp(wire, wire.phase === "opening" ? "timeout_open" : held ? "buffered" : "no_answer");
    }
  }

  function giveUp(wire, verdict) {
    out.push({ do: "close", wire: wire.number });
    gone(wire, verdict);
  }

  function gone(wire, verdict, end) {
    const { using, state: was } = s;
    const why = end?.reason ?? "";
    leave(wire, verdict, end);
    if (wire.number === using) {
      holdAgainst(wire, verdict);
      succeed(was, why);
    } else if (was === "open") {
      const other = find(using);
      if (!other || wire.why === "wish" || !better(wire.rung, other.rung)) return;
      s.failed[wire.rung] = verdict;
      ask(other);
    } else if (s.again === null) {
      s.cause = why;
      s.failed[wire.rung] = verdict;
      bringForward(true);
    }
  }

  function succeed(was, why) {
    const ready = s.rungs.map((rung) => s.wires.find((wire) => wire.phase === "proven" && wire.rung === rung)).find(Boolean);
    if (ready) takeOver(ready);
    else if (was === "open") {
      s.cause = why;
      pause(Math.max(luck * pace.at_once, s.retry));
    } else if (s.again === null) bringForward(false);
  }

  function bringForward(hasten) {
    const rest = s.wires.filter((wire) => wire.number !== s.using);
    const waiting = rest.find((wire) => wire.phase === "waiting");
    if (waiting && hasten) open(waiting);
    if (rest[0]) return;
    s.rounds += 1;
    Object.assign(s, { doubt: null, short: {} });
    dropAll();
    const most = Math.min(pace.backoff_most, pace.backoff * 2 ** Math.min(s.rounds - 1, 10));
    pause(Math.max(luck * most, s.retry));
  }

  function pause(seconds) {
    s.state = s.online ? trying() : "offline";
    s.delay = s.online ? seconds : Math.max(seconds, pace.backoff_most);
    s.again = s.rest ? null : now + s.delay;
  }

  function holdAgainst(wire, verdict) {
    const { rung, heard, proven: since, beat, struck } = wire;
    if (struck) return;
    wire.struck = true;
    if (verdict === "buffered") s.short[rung] = pace.strikes;
    else if (now - since < pace.short) s.short[rung] = (s.short[rung] ?? 0) + 1;
    else delete s.short[rung];
    s.doubt = { rung, verdict, quiet: verdict === "cut_idle" ? Math.max(1, Math.min(0.6 * (now - heard), beat)) : null };
  }

  function howItDied(wire) {
    const [idle, lived] = [now - wire.heard, now - wire.proven];
    if (idle >= 2 && (idle >= 0.7 * wire.beat || idle >= lived - 1)) return "cut_idle";
    return lived < pace.short ? "cut_early" : "ended";
  }

  function listen(using) {
    if (patienceEnds(using) > now) return;
    if (using.asked === null) ask(using);
    else suspect(using, "no_answer");
  }

  function suspect(wire, verdict) {
    if (s.state !== "open") return;
    wire.asked = null;
    record(wire, now - wire.proven, verdict);
    holdAgainst(wire, verdict);
    s.state = "reconnecting";
    race();
  }

  function alive(wire) {
    if (wire.number !== s.using) return;
    if (s.state === "open") {
      const { failed } = s;
      s.failed = {};
      for (const [rung, verdict] of Object.entries(failed)) blame(rung, verdict);
    } else if (!(s.short[wire.rung] >= pace.strikes)) {
      for (const other of s.wires) if (other !== wire) drop(other);
      wire.struck = false;
      Object.assign(s, { state: "open", again: null, doubt: null, failed: {}, cause: "" });
    }
  }

  function slept() {
    for (const wire of s.wires) {
      if (wire.number === s.using) {
        if (wire.asked !== null) continue;
        wire.heard = now;
        ask(wire);
      } else if (["opening", "opened", "heard"].includes(wire.phase) && !wire.spared) {
        Object.assign(wire, { spared: true, due: now + pace.proof });
      }
    }
  }

  // ---- the memory

  function blame(rung, said) {
    const verdict = said === "timeout_open" && s.held.includes(rung) ? "buffered" : said;
    const delay = s.bad[rung] ? Math.min(s.bad[rung].delay * 2, pace.retest_most) : pace.retest;
    const { status, via } = s.attempts.findLast((each) => each.rung === rung) ?? { status: 0, via: "" };
    const until = now + Math.max(pace.memory, delay);
    s.bad[rung] = { verdict, until, retest: now + delay * (0.75 + luck / 2), delay, status, via };
    delete s.short[rung];
    remember();
  }

  function remember() {
    const kept = { do: "remember", bad: structuredClone(s.bad), ...(s.quiet !== null && { quiet: s.quiet }) };
    if (s.quiet_until) kept.quiet_until = s.quiet_until;
    out = [...out.filter((each) => each.do !== "remember"), kept];
  }

  // ---- small questions

  function find(number) { return s.wires.find((wire) => wire.number === number); }
  function meant() { return s.wires.find((wire) => wire.number === fact.wire && wire.phase !== "waiting"); }
  function better(rung, than) { return s.rungs.indexOf(rung) < s.rungs.indexOf(than); }
  function couldRise(using) {
    const tried = s.wires.map((wire) => wire.rung);
    return s.rungs.filter((rung) => better(rung, using.rung) && !tried.includes(rung));
  }
  function rises(using) {
    const times = couldRise(using).map((rung) => [rung, s.bad[rung]?.retest ?? s.rise]);
    return times.filter(([, at]) => at !== null);
  }
  function forgivenAt(using) { return using.proven + 3 * pace.short; }
  function doubtful(rung) { return s.short[rung] >= pace.strikes || s.bad[rung]?.until > now; }
  function trying() { return s.ever ? "reconnecting" : "connecting"; }
  function proof() {
    return Math.max(pace.proof, Math.min(10 * (s.rtt ?? 0), 4 * pace.proof)) * Math.min(1 + 0.5 * s.rounds, 4);
  }
  function silence(wire) {
    const limit = wire.beat + pace.slack + 2 * (s.rtt ?? 0);
    return s.hidden ? Math.max(limit, pace.hidden) : limit;
  }
  function patienceEnds(wire) {
    if (wire.asked !== null) return wire.asked + Math.max(pace.answer, 4 * (s.rtt ?? 0));
    const limit = silence(wire);
    const flowing = wire.gap !== null && !s.hidden;
    return wire.heard + (flowing ? Math.min(limit, Math.max(pace.answer, 4 * wire.gap)) : limit);
  }
  function nextTick() {
    if (["idle", "closed", "failed"].includes(s.state)) return null;
    const times = [s.again, ...s.wires.map((wire) => wire.due)];
    const using = find(s.using);
    if (using && s.state === "open") {
      times.push(patienceEnds(using));
      if (s.online && !s.hidden) times.push(...rises(using).map(([, at]) => at), s.bad[using.rung] ? forgivenAt(using) : null);
    }
    const least = Math.min(...times.filter((time) => time !== null));
    return least < Infinity ? least : null;
  }
  function measure(seconds) {
    if (seconds <= 4 * pace.answer) s.rtt = s.rtt === null ? seconds : Math.min(seconds, s.rtt + 0.1 * (seconds - s.rtt));
  }
  function moreTime(wire) {
    if (wire.due !== null) wire.due = Math.max(wire.due, now + proof());
  }
  function ask(wire) {
    wire.asked = now;
    out.push({ do: "ask", wire: wire.number });
  }
  function record({ rung, why, phase }, seconds, verdict, { status = 0, via = "" } = {}, reason = "") {
    s.attempts = [...s.attempts, { rung, why, phase, ms: int(seconds * 1000), verdict, status, via, reason }].slice(-30);
  }
  function leave(wire, verdict, end) {
    record(wire, now - (wire.phase === "proven" ? wire.proven : wire.began), verdict, end, end?.reason);
    forget(wire);
  }
  // It makes another list: loops over the one before are not disturbed.
  function forget(wire) {
    s.wires = s.wires.filter((each) => each !== wire);
    if (wire.number === s.using) s.using = 0;
  }
  function drop(wire) {
    if (wire.phase !== "waiting") out.push({ do: "close", wire: wire.number });
    forget(wire);
  }
  function dropAll() {
    for (const wire of s.wires) drop(wire);
    s.again = null;
  }

  const rule = ROWS.find(([kind]) => kind === fact.fact)[STATES.indexOf(s.state) + 1];
  if (rule !== "-") rules[rule]();
  Object.assign(s, { sentence: describe(s), due: nextTick() });
  const { state: name, sentence } = s;
  if (name !== state.state || sentence !== state.sentence) out.push({ do: "announce", state: name, sentence });
  return [s, out];
}

// ------------------------------------------------------------------------------------------------------------ wires

/**
 * Each reads one connection: `take(items)` for all that comes, until it throws how that ended; a plain return is an end
 * without a word. When `signal` fires it lets go at once.
 *
 *   wire = { url(path, query), get(path, type, query), poll(query), take(items), tell(fact), beat(), wait(), token(), signal }
 */
const WIRES = {
  async websocket(wire) {
    if (!wire.WebSocket) throw new LiveError({ name: "unsupported", fact: { how: "unsupported" } });
    const url = (await wire.url("ws")).replace(/^http/, "ws");
    const token = await wire.token();
    // No header can be sent with it: the token goes as one more subprotocol, which the server never chooses.
    const more = token ? [`everywire.token.${base64url(token)}`] : [];
    return new Promise((_, reject) => {
      wire.signal.throwIfAborted();
      const socket = new wire.WebSocket(url, ["everywire.v1.json", ...more]);
      let sent = performance.now();
      let ours = false;
      wire.send = (text) => socket.send(text);
      wire.signal.addEventListener("abort", () => {
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
        reject(wire.signal.reason);
      });
      socket.onopen = () => {
        ours = true;
        wire.tell("opened");
      };
      socket.onmessage = ({ data }) => {
        try {
          wire.take(known(parse(data)));
        } catch (error) {
          return reject(error);
        }
        // The server's own beat is our clock: unlike a timer it is not slowed down in a hidden tab. Half a beat, since an
        // item may come a moment too early for a whole one: we are silent for one and a half at most, of two and a half.
        if (wire.signal.aborted || performance.now() - sent < wire.beat() * 500) return;
        sent = performance.now();
        wire.send('{"do":"ping","ref":0}');
      };
      // Before it opened, a close says nothing of why.
      socket.onclose = ({ code, reason }) => reject(ours ? ended(code, reason) : broken());
    });
  },

  async sse(wire) {
    const body = (await wire.get("sse", "text/event-stream")).body.getReader();
    const read = sseReader();
    for (let part; !(part = await body.read()).done; ) wire.take(read(part.value));
  },

  async longpoll(wire) {
    // The first poll does not wait: its answer proves the wire. After that a poll is silent for a beat, as any wire is.
    // `spare`: polls that may be made in a row; then it is 20 a second.
    for (let wait = 0, spare = 100, last = 0; ; wait = wire.wait()) {
      const asked = performance.now();
      spare = Math.min(100, spare + (asked - last) / 50) - 1;
      last = asked;
      const items = await wire.poll({ wait });
      wire.tell("answered");
      wire.take(items);
      // Nothing, and sooner than asked for: without a pause a server that cannot wait would have us spin.
      const early = wait && items.every((item) => item.type === "beat") ? Math.min(wait, 1) : 0;
      await sleep(Math.max(early, -spare / 20) - (performance.now() - asked) / 1000, wire.signal);
    }
  },
};

const base64url = (text) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text))).replace(/[+/=]/g, (sign) => ({ "+": "-", "/": "_" })[sign] ?? "");

/** A close code without a `bye`: 44xx means "change something", but for three that only mean "later". */
function ended(code, reason) {
  // These say that there was no code.
  if (code === 1005 || code === 1006) return broken();
  const final = code >= 4400 && code < 4500 && ![4408, 4429, 4430].includes(code);
  return new LiveError({ code, name: "closed", reason: reason || "the connection was closed", retry: final ? null : undefined });
}

/** A refusal in our words, or whatever a proxy on the way had to say. */
async function refusal(response) {
  const { ok, headers } = response;
  const fact = { fact: "refused", status: response.status || 302, via: headers.get("server") ?? headers.get("via") ?? "" };
  fact.html = !!headers.get("content-type")?.startsWith("text/html");
  if (ok) return Object.assign(foreign("the answer"), { fact });
  const body = await response.json().catch(() => null);
  if (typeof body?.code === "number") {
    // The status of a path that is not served there is not the one of its code: no final word, another wire may do.
    const elsewhere = body.code === 4400 && fact.status !== 400;
    return new LiveError({ ...body, retry: elsewhere ? undefined : body.retry ?? null, fact });
  }
  const retry = Number(headers.get("retry-after")) || undefined;
  return new LiveError({ reason: `the way to the server answered ${fact.status}`, retry, fact });
}

/** Does `work(signal)`, whose signal fires after `seconds` or together with `parent`. Leaves no timer behind. */
async function within(seconds, parent, work) {
  const cutter = new AbortController();
  const cut = () => cutter.abort(parent.reason);
  const timer = setTimeout(cut, seconds * 1000);
  parent.addEventListener("abort", cut);
  if (parent.aborted) cut();
  try {
    return await work(cutter.signal);
  } finally {
    clearTimeout(timer);
    parent.removeEventListener("abort", cut);
  }
}

const sleep = (seconds, parent) =>
  seconds > 0 && !parent.aborted
    ? within(seconds, parent, (signal) => new Promise((resolve) => signal.addEventListener("abort", resolve)))
    : undefined;

// ---------------------------------------------------------------------------------------------------------- connect

// Whether the server said so, and not the network.
const spoke = (error) => error instanceof LiveError && error.code > 0;

// A wire was opened while we stood nowhere, and begins behind where another one has put us meanwhile.
const LATER = {};

const unique = () => [...crypto.getRandomValues(new Uint32Array(3))].map((n) => n.toString(36)).join("");

/** Does `work` with a storage. One that is full, forbidden or not there is only a convenience less. */
function perhaps(work) {
  try {
    return work();
  } catch {
    return null;
  }
}

/** Opens a stream of events and keeps it open. See client.d.ts for the options and for what comes back. */
export function connect(mount, options = {}) {
  const { channels = [], transport = "auto", token, queue: room = 100, random = Math.random, log } = options;
  if (!Array.isArray(channels) || !channels.length) throw new TypeError("channels is a list of names");
  if (transport !== "auto" && !WIRES[transport]) throw new TypeError(`no transport named '${transport}'`);
  const { fetch = globalThis.fetch, WebSocket = globalThis.WebSocket } = options;
  // Seconds for the answer to a POST; events that a `for await` loop may be behind.
  const { post = 10, lag = 10_000 } = options.pace ?? {};
  const page = globalThis.document;
  const call = (given) => (typeof given === "function" ? given() : given);
  const root = (url) => new URL(String(url).replace(/\/*$/, "/"), globalThis.location?.href);
  if (typeof mount !== "function") root(mount);
  const key = `everywire:${typeof mount === "function" ? "" : mount}`;
  const place = `${key}:${channels}`;
  const memory = () => transport === "auto" && (options.memory ?? globalThis.localStorage);

  const listeners = { state: new Set(), event: new Set(), lost: new Set(), transport: new Set(), error: new Set() };
  const closing = new AbortController();
  const wires = new Map();
  // The queues of the `for await` loops.
  const loops = new Set();
  // Per channel, the position through which its loss has been told.
  const lost = new Map();
  const facts = [];
  let position = options.since ?? (options.resume ? perhaps(() => sessionStorage.getItem(place)) : null);
  let [retired, tried, outbox, rouser] = [[], [], [], new AbortController()];
  let [telling, flushing, lagging, asleep, renewed] = [false, false, false, false, false];
  let [inCharge, failure, timer, refs, skew, wall] = [null, null, 0, 0, 0, Date.now() - performance.now()];
  const clock = () => (performance.timeOrigin + performance.now() + skew) / 1000;

  const { bad = {}, quiet = null, quiet_until = 0 } = perhaps(() => JSON.parse(memory().getItem(key))) ?? {};
  let state = initial(transport === "auto" ? Object.keys(WIRES) : [transport], {
    held: ["sse"],
    pace: options.pace,
    bad: Object.fromEntries(Object.entries(bad).filter(([, each]) => VERDICTS[each.verdict] && each.until > clock())),
    ...(quiet_until > clock() && { quiet, quiet_until }),
  });

  function emit(type, detail) {
    for (const fn of [...listeners[type]]) {
      try {
        fn(detail);
      } catch (error) {
        // The listener's defect, and none of the stream's.
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }

  /** Nothing is said any more once it is closed, but that. */
  const say = (type, detail) => closing.signal.aborted || emit(type, detail);

  // ---- telling the machine, and doing what it says

  function tell(fact) {
    // A clock that never goes back may stand while the device sleeps; the one on the wall does not.
    const jump = Date.now() - performance.now() - wall;
    wall += jump;
    if (Math.abs(jump) > 2000) {
      skew += Math.max(jump, 0);
      facts.push({ fact: "shown" }, ...(page?.hidden ? [{ fact: "hidden" }] : []));
    }
    facts.push(fact);
    // What comes up while instructions are carried out waits for its turn.
    if (telling) return;
    telling = true;
    while (facts[0]) turn(facts.shift());
    telling = false;
    clearTimeout(timer);
    const wait = Math.ceil((state.due - clock()) * 1000);
    if (state.due !== null) timer = setTimeout(tell, Math.min(Math.max(wait, 0), 2 ** 31 - 1), { fact: "tick" });
  }

  function turn(fact) {
    const [{ attempts }, now, luck] = [state, clock(), random()];
    if (log) log({ now, luck, fact });
    const [next, instructions] = step(state, fact, now, luck);
    state = next;
    const fresh = state.attempts.filter((each) => !attempts.includes(each) && each.verdict !== "ok");
    // What the server is to be told of what was tried.
    if (fact.fact === "opened") tried = tried.filter((each) => !wires.get(fact.wire)?.tried.includes(each));
    tried = [...tried, ...fresh].slice(-5);
    // How a wire ended, who tells it knows; that one fell silent, only the machine.
    if (["tick", "answered"].includes(fact.fact))
      for (const each of fresh) say("error", new LiveError({ code: 4408, name: "silent", reason: words(each) }));
    for (const instruction of instructions) DO[instruction.do](instruction);
  }

  const DO = {
    open({ wire: number, rung, quiet: beat }) {
      if (resting()) return rest();
      const { why } = state.wires.find((each) => each.number === number);
      const query = { why, beat: rung === "longpoll" ? null : beat };
      if (tried[0]) query.tried = tried.map((each) => `${each.rung}.${each.verdict}`).join();
      const wire = { number, rung, tried, query, quiet: beat ?? 60, last: null, heard: 0, replies: new Map() };
      wires.set(number, wire);
      read(wire);
    },
    close({ wire }) {
      wires.get(wire)?.cutter.abort();
      wires.delete(wire);
    },
    ask({ wire: number }) {
      const wire = wires.get(number);
      if (!wire?.send) return wire && check(wire);
      wire.replies.set(++refs, () => (wire.tell("item"), wire.tell("answered")));
      wire.send(`{"do":"ping","ref":${refs}}`);
    },
    deliver({ rung }) {
      if (rung !== inCharge) say("transport", { transport: (inCharge = rung) });
    },
    announce({ state: name, sentence }) {
      if (name === "open") rouser.abort();
      const change = { state: name, transport: inCharge, sentence };
      if (name !== "closed" && name !== "failed") return say("state", change);
      if (name === "failed") failure = new LiveError({ code: state.code, name: state.name, reason: state.cause, retry: null });
      end();
      emit("state", change);
    },
    remember(kept) {
      perhaps(() => memory().setItem(key, JSON.stringify(kept)));
    },
  };

  function end() {
    closing.abort(failure ?? new LiveError({ code: 1000, name: "closed", retry: null }));
    rouser.abort();
    for (const queue of loops) queue.wake?.();
  }

  // ---- the wires

  async function read(wire) {
    const { number, rung } = wire;
    const { signal } = (wire.cutter = new AbortController());
    Object.assign(wire, {
      signal, WebSocket, repeated, since: position,
      beat: () => state.beat,
      wait: () => Math.min(wire.quiet, state.beat, 60),
      token: () => call(token),
      tell: (fact, more) => signal.aborted || tell({ fact, wire: number, ...more }),
      url: (path, query) => locate(path, { channels, since: position, ...wire.query, ...query }),
      async get(path, type, query) {
        const response = await request(await wire.url(path, query), type, { signal });
        if (!wire.opened) wire.tell("opened");
        [wire.opened, wire.query] = [true, null];
        return response;
      },
      poll: async (query) => known(parse(await (await wire.get("poll", "application/json", query)).text())),
      take: (items) => take(wire, items),
    });
    try {
      await ((await shared(rung)) ?? WIRES[rung])(wire, WIRES[rung], place);
      throw broken();
    } catch (error) {
      wire.cutter.abort();
      if (error === LATER) read(wire);
      else over(wire, error instanceof LiveError ? error : broken());
    }
  }

  /** Tabs share what HTTP/1.x is short of: a browser opens six connections to a server, but many more WebSockets. */
  async function shared(rung) {
    if (!options.share || rung === "websocket" || !globalThis.navigator?.locks || !globalThis.BroadcastChannel) return null;
    const { origin } = root(await call(mount));
    const entry = performance.getEntries().findLast(({ name, nextHopProtocol }) => nextHopProtocol && name.startsWith(origin));
    return /^h[23]/.test(entry?.nextHopProtocol) ? null : (await import("./tabs.js")).shared;
  }

  async function locate(path, query) {
    const url = new URL(path, root(await call(mount)));
    // Some caches do not know `no-store`: no URL is asked for twice.
    for (const [name, value] of Object.entries({ ...query, _: unique() })) if (value != null) url.searchParams.set(name, value);
    return url.href;
  }

  /** An answer of ours. A way that leads elsewhere is not followed: it leads to a login page. */
  async function request(url, type, init) {
    const bearer = await call(token);
    const headers = { ...init.headers, ...(bearer && { Authorization: `Bearer ${bearer}` }) };
    const response = await fetch(url, { cache: "no-store", redirect: "manual", ...init, headers });
    if (!response.ok || !response.headers.get("content-type")?.startsWith(type)) throw await refusal(response);
    return response;
  }

  /** The token may just be too old: one more try at once, with another, before it is the last word. */
  function pardon(error) {
    if (error.code !== 4401 || error.retry !== null || typeof token !== "function" || renewed) return error;
    renewed = true;
    return Object.assign(error, { retry: 0 });
  }

  function over(wire, error) {
    if (!wires.delete(wire.number)) return;
    wire.cutter.abort();
    const { code, name, message: reason, retry = null, fact } = pardon(error);
    say("error", error);
    tell({ fact: "closed", wire: wire.number, ...(code && { code, name, reason }), retry, final: error.retry === null, ...fact });
  }

  /**
   * All that comes, by whichever wire. Each is complete behind the position at which it was opened. So the items of all of them,
   * less the repeats, are complete behind ours, in whatever way they are mixed.
   */
  function take(wire, items) {
    let beat = 0;
    for (const item of items) {
      if (wire.signal.aborted) return;
      if (item.type === "reply") wire.replies.get(item.ref)?.(item);
      else {
        handle(item, wire);
        wire.last = item.id;
        if (item.beat > 0) beat = item.beat;
      }
    }
    wire.moved?.();
    // The machine wants to know that something comes, not of everything.
    const now = clock();
    if (!items[0] || (!beat && now - wire.heard < Math.min(1, state.beat / 2))) return;
    wire.heard = now;
    wire.tell("item", { beat });
  }

  /** The question for a wire on which nothing can be sent: has it brought all that there is? A poll beside it knows. */
  async function check(wire) {
    let target;
    const behind = () => !!target && !passed(target, wire.last);
    try {
      const items = await wire.poll({ wait: 0, since: wire.last ?? position });
      for (const item of items) if (!wire.signal.aborted) handle(item, wire);
      target = items.findLast(({ type }) => type === "event" || type === "lost")?.id;
      // It has a while to bring it too.
      await within(Math.max(1, 4 * state.rtt), wire.signal, (signal) => new Promise((done) => {
        signal.addEventListener("abort", done);
        wire.moved = () => behind() || done();
        wire.moved();
      }));
    } catch (error) {
      // Whatever our server says is an answer; from the network's troubles nothing follows.
      if (!spoke(error)) return;
    }
    wire.tell("answered", { behind: behind() });
  }

  /** Whether we have had it, or it comes late, from a life of the log that is over. */
  function repeated(id) {
    return retired.includes(parsePosition(id)?.epoch) || passed(id, position);
  }

  /** What each item means to the position, and who is told. Throws when the wire is of no more use. */
  function handle(item, wire) {
    const { type, id, reason, channel } = item;
    const repeat = repeated(id);
    if (type === "bye") throw new LiveError({ ...item, retry: item.retry ?? null });
    if (type === "hello") {
      // Our position got lost on the way: reading on would be a gap that nobody declares.
      const elsewhere = position !== null && item.resumed === "fresh" && !repeat;
      if (elsewhere) throw wire.since === null ? LATER : foreign("a stream that begins elsewhere");
      position ??= id;
      renewed = false;
    } else if (type === "beat") {
      if (!repeat) position = id;
    } else if (type === "lost") {
      // From another life of the log, or ahead of it, we go to where the server says, backwards too; once, if several wires
      // say so.
      if (!repeat || (reason !== "evicted" && passed(item.after, position))) {
        const { epoch } = parsePosition(id);
        retired = [...retired, parsePosition(position)?.epoch].filter((each) => each !== epoch).slice(-8);
        position = id;
      }
      // One who came back before the end of a loss is told of it again: only what is new goes on to the page.
      const told = reason === "future" ? null : lost.get(channel);
      if (passed(item.through, told)) return;
      lost.set(channel, item.through);
      say("lost", passed(item.after, told) ? { ...item, after: told } : item);
    } else if (!repeat) {
      position = id;
      for (const queue of loops) {
        queue.push(item);
        queue.wake?.();
        lagging ||= queue.length >= lag;
      }
      say("event", item);
      if (lagging) rest();
    }
  }

  // ---- rest, for a reason of the page's own

  const behind = () => lagging && "this reader is too far behind; going on when it has caught up";
  const resting = () => (asleep ? "this page is put to sleep" : behind());
  const rest = () => tell({ fact: "offline", let_go: true, reason: resting() });
  const goOn = () => tell({ fact: "online", same: true });

  const hear = (target, type, fn) => target?.addEventListener?.(type, fn, { signal: closing.signal });
  const save = () => options.resume && perhaps(() => sessionStorage.setItem(place, position));
  hear(globalThis, "online", () => (rouser.abort(), tell({ fact: "online" })));
  hear(globalThis, "offline", () => tell({ fact: "offline" }));
  hear(globalThis, "pagehide", () => ((asleep = true), save(), rest()));
  hear(globalThis, "pageshow", ({ persisted }) => persisted && ((asleep = false), goOn()));
  hear(page, "visibilitychange", () => (save(), tell({ fact: page.hidden ? "hidden" : "shown" })));

  // ---- publishing

  /** Sends what waits, in order, one request at a time, until it is acknowledged; the key makes a second try harmless. */
  async function flush() {
    if (flushing) return;
    flushing = true;
    // What is published in one turn goes up in one request.
    await null;
    for (let [failures, most] = [0, 50]; outbox[0] && !closing.signal.aborted; ) {
      let [wait, error] = [1, new LiveError({ name: "offline", reason: "this device is offline" })];
      if (globalThis.navigator?.onLine !== false || state.state === "open") {
        let [count, size] = [1, outbox[0].text.length];
        while (count < most && (size += outbox[count]?.text.length) < 32_000) count++;
        const batch = outbox.slice(0, count);
        error = null;
        try {
          // After a POST that did not come through it is a WebSocket's turn, if one works.
          for (const [i, reply] of (await send(batch, failures % 2 ? wires.get(state.using) : null)).entries()) {
            const refused = reply.ok ? null : new LiveError({ ...reply, retry: reply.retry ?? null });
            if (typeof refused?.retry === "number") error = refused;
            else settle(batch[i], refused, reply.id);
          }
          [failures, most] = [0, 50];
        } catch (thrown) {
          error = spoke(thrown) ? pardon(thrown) : new LiveError({ reason: "the server could not be reached" });
          // Of several, perhaps not all are refused.
          if (error.retry === null && count > 1) most = 1;
          else if (error.retry === null) settle(batch[0], error);
        }
        if (!error || error.retry === null) continue;
        wait = Math.max(error.retry ?? random() * Math.min(state.pace.backoff_most, state.pace.backoff * 2 ** failures++), 0.01);
      }
      for (const each of outbox) if (clock() + wait > each.deadline) settle(each, error);
      await sleep(wait, (rouser = new AbortController()).signal);
    }
    for (const each of outbox) settle(each, closing.signal.reason);
    flushing = false;
  }

  function settle(letter, error, id) {
    outbox = outbox.filter((each) => each !== letter);
    if (error) letter.reject(error);
    else letter.resolve(id);
  }

  /** Sends commands -> their replies in order. */
  async function send(batch, wire) {
    const body = `[${batch.map(({ text }) => text)}]`;
    const seconds = Math.max(0, Math.min(post, batch[0].deadline - clock()));
    if (wire?.send)
      return within(seconds, wire.signal, (signal) => new Promise((resolve, reject) => {
        signal.addEventListener("abort", reject);
        Promise.all(batch.map(({ ref }) => new Promise((done) => wire.replies.set(ref, done)))).then(resolve);
        wire.send(body);
      }));
    const init = { method: "POST", headers: { "Content-Type": "application/json" }, body };
    try {
      const replies = await within(seconds, closing.signal, async (signal) =>
        known(await (await request(await locate("commands"), "application/json", { ...init, signal })).json()));
      if (replies.length !== batch.length) throw foreign("the answer");
      tell({ fact: "http_ok" });
      return replies;
    } catch (error) {
      tell({ fact: spoke(error) ? "http_ok" : "http_failed" });
      throw error;
    }
  }

  // ---- what the page has of it

  const live = {
    get state() { return state.state; },
    get transport() { return inCharge; },
    get position() { return position; },
    get sentence() { return state.sentence; },
    get evidence() {
      const { state: name, sentence, rtt, quiet: silence, attempts, bad: against } = state;
      return structuredClone({ state: name, transport: inCharge, sentence, position, rtt, quiet: silence, attempts, bad: against });
    },

    on(type, fn) {
      listeners[type].add(fn);
      return () => listeners[type].delete(fn);
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
          while (queue.length) {
            yield queue.shift();
            caughtUp();
          }
          if (failure) throw failure;
          if (closing.signal.aborted) return;
          await new Promise((resolve) => { queue.wake = resolve; });
        }
      } finally {
        loops.delete(queue);
        caughtUp();
      }
    },

    async publish(channel, data, { key: name = unique(), timeout = 100 } = {}) {
      closing.signal.throwIfAborted();
      if (outbox.length >= room) throw new LiveError({ name: "queue_full", reason: `${room} publishes wait already` });
      const ref = ++refs;
      const text = JSON.stringify({ do: "publish", ref, channel, data, key: name });
      return new Promise((resolve, reject) => {
        outbox.push({ ref, text, deadline: clock() + timeout, resolve, reject });
        flush();
      });
    },

    switch(rung) {
      tell({ fact: "prefer", rung });
    },

    /** For demonstrations: lets every wire drop without a word, as a broken network would, and stays away for `seconds`. */
    cut(seconds = 0) {
      const wire = wires.get(state.using) ?? [...wires.values()][0];
      if (wire) over(wire, new LiveError({ code: 1, name: "cut", reason: "the wire was cut", retry: seconds }));
    },

    close() {
      if (closing.signal.aborted) return;
      end();
      tell({ fact: "stop" });
    },
  };

  // After the caller's own line: its listeners hear everything.
  queueMicrotask(() => {
    if (page?.hidden) tell({ fact: "hidden" });
    if (globalThis.navigator?.onLine === false) tell({ fact: "offline" });
    tell({ fact: "start" });
  });
  return live;
}

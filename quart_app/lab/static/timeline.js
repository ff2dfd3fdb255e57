/**
 * What the negotiator decided, and on what evidence: a sentence for each try, each change and each rung that is not tried, the newest
 * first. What happens again soon is told as one, with how often. Above them stands what comes next.
 */

import { el, put } from "./dom.js";
import { network, verdict } from "./lanes.js";
import { milliseconds, number, time, word } from "./words.js";

const KEPT = 60;
const SOON = 30; // seconds
const now = () => (performance.timeOrigin + performance.now()) / 1000;
const called = (rung) => word(`rung.${rung}`);

export class Timeline {
  #known = []; // the tries that have been told, as JSON
  #entries = []; // the newest first
  #drawn = null;
  #stands = null; // what was told of how it stands
  #rests = new Map(); // rung -> when it is tried again, as it was told
  #network = null;

  constructor(list, next, lab) {
    this.list = list;
    this.next = next;
    this.live = lab.lane("auto").live;
    for (const change of ["state", "transport"]) this.live.on(change, () => this.#look());
    lab.onState(({ lanes }) => this.#lies(network(lanes.auto)));
  }

  draw() {
    put(this.next, coming(this.#look()));
    if (this.#drawn === this.#entries[0]) return;
    this.#drawn = this.#entries[0];
    this.list.replaceChildren(...this.#entries.map(({ at, since, times, kind, mood, text }) => {
      const often = times > 1 ? word("timeline.often", { count: number(times), time: milliseconds(1000 * (at - since)) }) : "";
      return el("li", { class: `${kind} ${mood}` }, el("time", {}, time(at)), el("span", {}, often ? `${text} (${often})` : text));
    }));
  }

  /** Tells what is new in the evidence, and returns that. */
  #look() {
    const found = this.live.evidence;
    this.#tries(found.attempts);
    this.#turn(found);
    const rests = new Map(resting(found).map((each) => [each.rung, each]));
    for (const [rung, { at, bad }] of rests) {
      if (Math.abs(at - this.#rests.get(rung)) < 0.5) continue;
      const text = word(`timeline.${bad ? "rests" : "later"}`, { rung: called(rung), time: time(at), verdict: bad && verdict(bad) });
      this.#tell("rest", "", `rest ${rung} ${bad?.verdict}`, text);
    }
    this.#rests = new Map([...rests].map(([rung, { at }]) => [rung, at]));
    return found;
  }

  /** Tells the tries that are new. The client keeps the last ones: what it still has in common with those told is old. */
  #tries(attempts) {
    const found = attempts.map((each) => JSON.stringify(each));
    let common = Math.min(found.length, this.#known.length);
    while (common && this.#known.slice(-common).join() !== found.slice(0, common).join()) common -= 1;
    for (const attempt of attempts.slice(common)) {
      const { rung, why, verdict: name, status } = attempt;
      this.#tell("try", name === "ok" ? "good" : "bad", `try ${rung} ${why} ${outcome(attempt)} ${name} ${status}`, sentence(attempt));
    }
    this.#known = found;
  }

  #turn({ state, wires, using, rungs }) {
    const wire = wires.find(({ number: each }) => each === using);
    const stands = state === "open" ? `${state} ${wire.rung} ${wire.why === "wish"}` : state;
    const before = this.#stands;
    if (state === "idle" || stands === before) return;
    this.#stands = stands;
    const open = () => (wire.why === "wish" ? "wish" : wire.rung === rungs[0] ? "best" : "next");
    const again = () => (wire ? "doubt" : before === "offline" ? "online" : "gone");
    const how = { open, reconnecting: again }[state]?.() ?? state;
    this.#tell("turn", state, `turn ${stands} ${how}`, word(`turn.${how}`, { rung: wire && called(wire.rung) }));
  }

  /** What lies between: nobody tells the negotiator. */
  #lies(between) {
    if (this.#network !== null && this.#network !== between) this.#tell("turn", "", `lies ${between}`, word("timeline.network", { network: between }));
    this.#network = between;
  }

  #tell(kind, mood, key, text) {
    const at = now();
    const place = this.#entries.findIndex((each) => each.key === key && at - each.at < SOON);
    const { since, times } = place < 0 ? { since: at, times: 0 } : this.#entries.splice(place, 1)[0];
    this.#entries.unshift({ key, at, since, times: kind === "rest" ? 1 : times + 1, kind, mood, text });
    this.#entries.length = Math.min(this.#entries.length, KEPT);
  }
}

/** The better rungs that are not tried now: when they are, and what speaks against them. */
function resting({ state, wires, using, rungs, bad, rise, failed }) {
  const wire = wires.find(({ number: each }) => each === using);
  if (state !== "open" || wire.why === "wish") return [];
  const idle = rungs.slice(0, rungs.indexOf(wire.rung)).filter((rung) => !(rung in failed) && wires.every((each) => each.rung !== rung));
  return idle.map((rung) => ({ rung, at: bad[rung]?.retest ?? rise, bad: bad[rung]?.until ? bad[rung] : null })).filter(({ at }) => at !== null);
}

/** What is done next, and when. */
function coming(found) {
  const { state, wires, using, again } = found;
  const seconds = (at) => number(Math.max(1, Math.ceil(at - now())));
  const tried = wires.filter(({ phase, number: each }) => phase !== "waiting" && each !== using).map(({ rung }) => word("next.tried", { rung: called(rung) }));
  const what = [...tried, ...resting(found).map(({ rung, at }) => word("next.rests", { rung: called(rung), seconds: seconds(at) }))];
  if (what.length) return word("next.what", { what: what.join(", ") });
  if (state === "open") return word("next.nothing");
  return again === null ? "" : word("next.again", { seconds: seconds(again) });
}

/** What became of a try; of one that worked, how it ended. */
const outcome = ({ verdict: name, phase }) => ({ ok: "works", remembered_bad: "last" })[name] ?? (phase === "proven" ? "ended" : "fails");

function sentence(attempt) {
  const { rung, why, ms } = attempt;
  const values = { rung: called(rung), why: word(`why.${why}`), verdict: verdict(attempt), time: milliseconds(ms) };
  return word(`timeline.${outcome(attempt)}`, values);
}

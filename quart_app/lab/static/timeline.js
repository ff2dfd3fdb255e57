/** What the negotiator decided, and on what evidence: one sentence for each try and each change, the newest first. */

import { el } from "./dom.js";
import { verdict } from "./lanes.js";
import { milliseconds, time, word } from "./words.js";

const KEPT = 60;

export class Timeline {
  #known = []; // the tries that have been told, as JSON
  #entries = []; // the newest first
  #drawn = null;

  constructor(list, live) {
    this.list = list;
    this.live = live;
    live.on("state", ({ state, transport }) => {
      this.look();
      const rung = transport ? word(`rung.${transport}`) : "";
      this.#tell("turn", state, word(`turn.${state}`, { rung }));
    });
    live.on("transport", ({ transport }) => {
      this.look();
      this.#tell("turn", "open", word("turn.transport", { rung: word(`rung.${transport}`) }));
    });
  }

  /** Tells the tries that are new. The client keeps the last ones: what it still has in common with those told is old. */
  look() {
    const { attempts } = this.live.evidence;
    const found = attempts.map((each) => JSON.stringify(each));
    let common = Math.min(found.length, this.#known.length);
    while (common && this.#known.slice(-common).join() !== found.slice(0, common).join()) common -= 1;
    for (const attempt of attempts.slice(common)) this.#tell("try", attempt.verdict === "ok" ? "good" : "bad", sentence(attempt));
    this.#known = found;
  }

  draw() {
    this.look();
    if (this.#drawn === this.#entries[0]) return;
    this.#drawn = this.#entries[0];
    this.list.replaceChildren(...this.#entries.map(({ at, kind, mood, text }) =>
      el("li", { class: `${kind} ${mood}` }, el("time", {}, time(at)), el("span", {}, text))));
  }

  #tell(kind, mood, text) {
    if (kind === "turn" && this.#entries[0]?.text === text) return;
    this.#entries.unshift({ at: Date.now() / 1000, kind, mood, text });
    this.#entries.length = Math.min(this.#entries.length, KEPT);
  }
}

function sentence(attempt) {
  const { rung, why, ms } = attempt;
  return word("timeline.try", {
    rung: word(`rung.${rung}`), why: word(`why.${why}`), verdict: verdict(attempt), time: milliseconds(ms),
  });
}

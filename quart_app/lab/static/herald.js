/**
 * What is said aloud: in one place of the page, and only that a lane, or the server, stands otherwise than before. What changes
 * within a moment is said together.
 */

import { word } from "./words.js";

const MOMENT = 1000; // milliseconds, from the first change on

export class Herald {
  #said = new Map(); // who -> the state that was said last
  #fresh = new Map(); // who -> the states since then

  constructor(place) {
    this.place = place;
  }

  /** From now on `who` (a name for people) stands at `state`. */
  stands(who, state) {
    const since = this.#fresh.get(who) ?? [];
    if (state === (since.at(-1) ?? this.#said.get(who))) return;
    if (!this.#fresh.size) setTimeout(() => this.#say(), MOMENT);
    // Where it came back to is said once, at its end.
    this.#fresh.set(who, [...since.filter((each) => each !== state), state]);
  }

  #say() {
    const together = new Map(); // what became of somebody -> of whom
    for (const [who, states] of this.#fresh) {
      this.#said.set(who, states.at(-1));
      const what = states.map((state) => word(`aloud.${state}`)).join(word("aloud.then"));
      together.set(what, [...(together.get(what) ?? []), who]);
    }
    this.#fresh.clear();
    // Another node even for the same words: only that is heard.
    this.place.replaceChildren([...together].map(([what, who]) => `${who.join(", ")}: ${what}.`).join(" "));
  }
}

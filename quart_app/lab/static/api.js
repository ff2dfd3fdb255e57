/**
 * What the page knows of the lab, and what it may ask of it. The lab tells how things stand and what passed on a stream of its own,
 * which our own client reads.
 */

import { has, word } from "./words.js";

const RECORDS = 400; // of each lane, the newest

/** The lab did not do it. `refused`: the name of its number (`bad_command`), or what went wrong before there was one. */
export class Refused extends Error {
  constructor(refused, reason = refused) {
    super(reason);
    this.refused = refused;
  }
}

/** Why something was not done, in the page's language. What the lab itself says of it is for developers. */
export function why(error) {
  console.warn(error);
  const key = `refusal.${error.refused}`;
  return word(has(key) ? key : "refusal.other");
}

export class Lab {
  state = null; // as `GET /lab/state` answers
  playing = false; // an experiment does what nobody pressed a button for
  lanes = new Map(); // name -> Lane; the page puts them here
  #records = new Map();
  #sums = new Map();
  #paused = false;
  #held = false; // the state is another than what was told
  #listeners = { state: new Set(), wire: new Set() };

  constructor(connect, mount) {
    // As a WebSocket it is none of the six connections that a browser allows itself to one server; the lanes need them.
    this.live = connect(mount, { channels: ["state", "wire"] });
    this.live.on("event", ({ channel, data }) => (channel === "state" ? this.#stands(data) : this.#passed(data)));
    // After a gap only the whole is sure.
    this.live.on("state", ({ state }) => state === "open" && this.refresh().catch(() => {}));
  }

  /** Resolves when it is told what passes, or after a while: the lanes do not need it. */
  ready() {
    return this.until(() => this.live.state === "open", 3).catch(() => {});
  }

  async refresh() {
    const answer = await fetch("/lab/state");
    if (answer.ok) this.#stands(await answer.json());
  }

  /** While it is paused, only what somebody asked for on this page is told; the rest when it goes on. */
  pause(paused) {
    this.#paused = paused;
    if (!paused && this.#held) this.#tell();
  }

  /** Switches the networks of `lanes` (names, or "all"). What is not said of `settings` is none. */
  network(lanes, network, settings = {}) { return this.#ask("network", { lanes, network, ...settings }); }
  cut(lanes, how = "reset") { return this.#ask("cut", { lanes, how }); }
  server(what) { return this.#ask("server", { do: what }); }
  publisher(settings) { return this.#ask("publisher", settings); }

  url(lane) { return this.state?.lanes[lane].url ?? `/lab/lanes/${lane}/live`; }
  lane(name) { return this.lanes.get(name); }
  wire(lane) { return this.#records.get(lane) ?? []; }
  sums(lane) { return this.#sums.get(lane) ?? { up: 0, down: 0, requests: 0, connections: 0, open: 0 }; }

  /** Calls `fn` for each state, also for the one that there is. */
  onState(fn) {
    if (this.state) fn(this.state);
    return this.#on("state", fn);
  }

  onWire(fn) { return this.#on("wire", fn); }

  /** Resolves when `question()` is truthy, with its answer. Rejects after `seconds`. */
  async until(question, seconds = 20) {
    const end = performance.now() + 1000 * seconds;
    for (;;) {
      const answer = await question();
      if (answer) return answer;
      if (performance.now() > end) throw new Error(`not within ${seconds} s`);
      await new Promise((done) => setTimeout(done, 30));
    }
  }

  async #ask(what, body) {
    const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(`/lab/${what}`, asked).catch((error) => { throw new Refused("away", error.message); });
    const said = await answer.json();
    if (!answer.ok) throw new Refused(said.name, said.reason);
    if (said.lanes) this.#stands(said, !this.playing);
    return said;
  }

  #on(what, fn) {
    this.#listeners[what].add(fn);
    return () => this.#listeners[what].delete(fn);
  }

  #stands(state, wanted = false) {
    this.state = state;
    if (this.#paused && !wanted) this.#held = true;
    else this.#tell();
  }

  #tell() {
    this.#held = false;
    for (const fn of this.#listeners.state) fn(this.state);
  }

  #passed(told) {
    const kept = this.#records.get(told.lane) ?? [];
    kept.push(...told.records);
    if (kept.length > RECORDS) kept.splice(0, kept.length - RECORDS);
    this.#records.set(told.lane, kept);
    this.#sums.set(told.lane, told.sums);
    for (const fn of this.#listeners.wire) fn(told);
  }
}

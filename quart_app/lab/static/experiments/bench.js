/** What an experiment has in hand: the lab, a channel of its own, and all that it opened, which ends with it. */

import { Refused } from "../api.js";
import { poller, socket, source, stream, wait, within } from "./wires.js";

export class Bench {
  #open = [];
  #changed = new Set();
  #records = [];
  #doing = new Set(); // what was asked of the lab and is not answered yet
  #over = false;

  constructor(lab) {
    this.lab = lab;
    this.channel = `try.${Math.random().toString(36).slice(2, 10)}`;
    this.#open.push(lab.onWire(({ lane, records }) => this.#records.push(...records.map((each) => ({ lane, ...each })))));
  }

  /** Starts the server and opens the lanes that are not so in `state`, the lab's: a learner may have broken them. */
  async begin(state) {
    if (state.server.state !== "running") await this.lab.server("start");
    for (const [lane, { network, settings }] of Object.entries(state.lanes)) {
      if (network !== "open" || Object.values(settings).some(Boolean)) await this.network(lane, "open");
    }
  }

  /** Makes the network of `lane` another, until the experiment is over. */
  async network(lane, name, settings) {
    this.#changed.add(lane);
    await this.#do(() => this.lab.network([lane], name, settings));
  }

  /** Stops, starts or restarts the server. */
  async server(what) {
    await this.#do(() => this.lab.server(what));
  }

  /** Ends all connections of `lane`; how many there were. */
  async cut(lane, how) {
    return (await this.#do(() => this.lab.cut([lane], how))).cut?.[lane] ?? 0;
  }

  /** Where `wire` (`ws`, `sse`, `poll`) of `lane` is; `more` goes into the query. No two are alike. */
  url(lane, wire, more = {}) {
    const query = new URLSearchParams({ channels: this.channel, x: Math.random().toString(36).slice(2), ...more });
    const url = new URL(`${this.lab.url(lane)}/${wire}?${query}`, location.href);
    if (wire === "ws") url.protocol = url.protocol.replace("http", "ws");
    return url.href;
  }

  source(lane, init) { return this.#keep(source(this.url(lane, "sse"), init)); }
  socket(lane, more) { return this.#keep(socket(this.url(lane, "ws", more))); }
  stream(lane, more, init) { return this.#keep(stream(this.url(lane, "sse", more), init)); }
  poller(lane, how) { return this.#keep(poller((more) => this.url(lane, "poll", more), how)); }
  keep(it) { return this.#keep(it); }

  /** Publishes `count` events in one request, past all networks. */
  async publish(count, { from = 1, pad = "" } = {}) {
    const sent = performance.now();
    const commands = Array.from({ length: count }, (_, i) => (
      { do: "publish", ref: i, channel: this.channel, data: { n: from + i, sent, pad } }
    ));
    const answer = await this.#do(() => fetch("/live/commands", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(commands),
    }));
    if (!answer.ok) throw new Refused("events", `the server took no events: ${answer.status}`);
  }

  /** Publishes `count` events, one each `every` milliseconds; `meanwhile(n)` comes before each. */
  async publishEach(count, every, { pad = "", meanwhile = () => {} } = {}) {
    const began = performance.now();
    for (let n = 1; n <= count; n += 1) {
      await wait(began + (n - 1) * every - performance.now());
      await meanwhile(n);
      await this.publish(1, { from: n, pad });
    }
  }

  /** What passed in `lane` of the connection on which `url` was asked for, from that request on. */
  wire(lane, url) {
    const [first] = this.#requests(lane, url);
    if (first === undefined) return [];
    return this.#records.slice(this.#records.indexOf(first)).filter((each) => each.lane === lane && each.connection === first.connection);
  }

  /**
   * The head of the request for `url` as it passed through `lane`, or of the last of at least `count`: names (in small letters) and
   * values. Null if it was not seen.
   */
  async request(lane, url, count = 1) {
    await within(3000, () => this.#requests(lane, url).length >= count);
    const head = this.#requests(lane, url).at(-1);
    return head ? new Map(head.shown.headers.map(([name, value]) => [name.toLowerCase(), value])) : null;
  }

  #requests(lane, url) {
    const mark = `x=${new URL(url).searchParams.get("x")}`;
    return this.#records.filter((each) => (
      each.lane === lane && each.up && each.kind === "head" && each.shown.start?.includes(mark)
    ));
  }

  /**
   * Ends what was opened, and makes the networks what they were in `before`, a state of the lab. An experiment that was stopped may
   * still want something: from now on it does not get it.
   */
  async end(before) {
    this.#over = true;
    for (const each of this.#open) (each.close ?? each)();
    await Promise.allSettled(this.#doing);
    for (const lane of this.#changed) await this.lab.network([lane], before.lanes[lane].network, before.lanes[lane].settings);
  }

  #keep(it) {
    this.#open.push(it);
    if (this.#over) {
      (it.close ?? it)();
      throw new Refused("stopped");
    }
    return it;
  }

  async #do(what) {
    if (this.#over) throw new Refused("stopped");
    const doing = what();
    this.#doing.add(doing);
    try {
      return await doing;
    } finally {
      this.#doing.delete(doing);
    }
  }
}

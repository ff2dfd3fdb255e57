/**
 * A lane: a client of its own on a network of its own, what it delivered, and how long each event took. What arrives is noted at
 * once and drawn by the page's clock: drawing does not grow with the rate of events.
 */

import { Tally } from "./checks.js";
import { put } from "./dom.js";
import { bytes, called, language, milliseconds, number, word } from "./words.js";

const WINDOW = 60_000; // milliseconds on the strip
const now = () => performance.timeOrigin + performance.now(); // Date.now() in finer grain

export class Lane {
  tally = new Tally();
  last = null;
  #before = null; // what passed here before this page, or before it was counted anew
  #delays = []; // { at, ms }: when an event came, and how long after its publishing
  #aways = []; // { from, to }: while the lane was not open
  #paused = false;

  constructor(section, lab, { connect, parsePosition }) {
    this.section = section;
    this.name = section.dataset.lane;
    this.lab = lab;
    this.parse = parsePosition;
    this.live = connect(lab.url(this.name), { channels: ["lab"], transport: this.name, memory: forgetful() });
    this.live.on("state", (change) => this.#state(change));
    this.live.on("event", (event) => this.#event(event));
    this.live.on("lost", (lost) => this.#lost(lost));
    this.figure = Object.fromEntries([...section.querySelectorAll("[data-figure]")].map((each) => [each.dataset.figure, each]));
    this.strip = new Strip(section.querySelector("canvas"));
    lab.onWire((told) => told.lane === this.name && (this.#before ??= earlier(told)));
    section.querySelector(".cut").addEventListener("click", () => lab.cut([this.name]).catch(() => {}));
  }

  get evidence() { return this.live.evidence; }

  /** Whether it waits before it tries again. */
  get waits() { return this.live.state !== "open" && this.evidence.again !== null; }

  /** Counts anew from here on. */
  reset() {
    this.tally = new Tally();
    this.#delays = [];
    this.#before = this.lab.sums(this.name);
  }

  figures() {
    const { delivered, lost, doubled, disordered } = this.tally;
    const { state, transport, sentence, position } = this.live;
    const sums = this.lab.sums(this.name);
    const [requests, up, down] = ["requests", "up", "down"].map((name) => sums[name] - (this.#before?.[name] ?? 0));
    const sorted = this.#delays.map(({ ms }) => ms).sort((a, b) => a - b);
    return {
      state, transport, sentence, position, delivered, lost, doubled, disordered, requests, up, down,
      last: this.last, median: sorted[sorted.length >> 1] ?? null, longest: sorted.at(-1) ?? null,
    };
  }

  #state({ state }) {
    const away = this.#aways.at(-1);
    if (state === "open") {
      if (away) away.to ??= now();
    } else if (!away || away.to) this.#aways.push({ from: now(), to: null });
    if (!this.#paused) this.#say();
  }

  /** How it stands, at once: that is waited for. While it is paused, later. */
  #say() {
    const { state, transport, sentence, evidence } = this.live;
    this.section.dataset.state = state;
    this.lab.herald.stands(word(`rung.${this.name}`), state);
    put(this.section.querySelector(".sentence"), unheard(evidence, this.lab.wire(this.name)) ?? saying(state, transport, sentence, evidence));
  }

  pause(paused) {
    this.#paused = paused;
    if (!paused) this.#say();
  }

  #event(event) {
    const at = now();
    const position = this.parse(event.id);
    this.tally.event(position);
    this.lab.same.event(this.name, position, performance.now());
    this.#delays.push({ at, ms: at - event.at * 1000 });
    const n = event.data?.n;
    this.last = { n: Number.isInteger(n) ? n : null, at, id: event.id }; // anybody may publish anything
  }

  #lost({ reason, id, through }) {
    this.tally.lost += 1;
    this.lab.same.lost(this.name, this.parse(reason === "evicted" ? through : id));
  }

  draw(state) {
    const since = now() - WINDOW;
    while (this.#delays[0]?.at < since) this.#delays.shift();
    while (this.#aways[0]?.to && this.#aways[0].to < since) this.#aways.shift();
    const figures = this.figures();
    if (figures.state !== "open") this.#say(); // what passed is told later than what became of it
    const texts = {
      delivered: number(figures.delivered),
      lost: number(figures.lost),
      doubled: number(figures.doubled),
      disordered: number(figures.disordered),
      requests: number(figures.requests),
      up: bytes(figures.up),
      down: bytes(figures.down),
      last: figures.last ? `#${figures.last.n ?? "?"}` : "–",
      position: figures.position ?? "–",
      transport: figures.state === "open" ? word(`rung.${figures.transport}`) : "–",
      spread: figures.median === null ? "" : word("lane.spread", { median: milliseconds(figures.median), longest: milliseconds(figures.longest) }),
      network: network(state?.lanes[this.name]),
    };
    for (const [name, text] of Object.entries(texts)) {
      if (this.figure[name]) put(this.figure[name], text);
    }
    for (const name of ["lost", "doubled", "disordered"]) this.figure[name].classList.toggle("bad", figures[name] > 0);
    this.section.classList.toggle("disturbed", Boolean(state) && !calm(state.lanes[this.name]));
    this.strip.draw(this.#delays, this.#aways, since, now());
  }
}

/** The sums before what is told of now: the lab counts from its start on, for all pages. */
function earlier({ sums, records }) {
  const bytes = (way) => records.reduce((sum, each) => sum + (each.up === way && each.kind !== "lost" ? each.bytes : 0), 0);
  const heads = records.filter(({ kind, up }) => up && kind === "head").length;
  return { requests: sums.requests - heads, up: sums.up - bytes(true), down: sums.down - bytes(false) };
}

/** What a lane learnt is its own, and is gone with the page: each lesson begins from nothing. */
function forgetful() {
  const kept = new Map();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
}

/** Whether nothing is done to what passes in a lane. */
export const calm = ({ network, settings }) => network === "open" && !Object.values(settings).some(Boolean);

/** A network and its settings, in short. */
export function network(lane) {
  if (!lane) return "–";
  const { delay_ms: delay, jitter_ms: jitter, bytes_per_second: rate } = lane.settings;
  const more = [delay && `+${number(delay)} ms`, jitter && `±${number(jitter)} ms`, rate && `${bytes(rate)}/s`];
  return [called(lane.network), ...more.filter(Boolean)].join(" ");
}

/** How a lane stands, in the page's language: the client itself speaks English. */
function saying(state, transport, sentence, evidence) {
  if (language === "en") return sentence;
  const rung = transport ? word(`rung.${transport}`) : "";
  if (state !== "open") return word(`state.${state}`, { rung });
  const better = evidence.rungs?.find((each) => each === transport || evidence.bad[each]);
  const why = better && better !== transport ? evidence.bad[better] : null;
  const live = word("state.open", { rung });
  return why ? `${live} ${word(`rung.${better}`)}: ${verdict(why)}.` : live;
}

/** With what a WebSocket was refused, where nothing else is known: a page is told of no answer but yes, and the lab has seen it. Or null. */
function unheard({ online, again, delay, failed }, records) {
  const unreachable = Object.values(failed).every((verdict) => verdict === "unreachable");
  if (!online || again === null || !failed.websocket || !unreachable) return null;
  const asked = records.findLastIndex(({ kind, up }) => up && kind === "head");
  const answer = records.slice(asked + 1).find(({ kind, up, connection }) => !up && kind === "head" && connection === records[asked]?.connection);
  const [, said] = /^HTTP\/\S+ ([^1].*)/.exec(answer?.shown.start) ?? [];
  return said ? word("lane.unheard", { answer: said, time: milliseconds(1000 * delay) }) : null;
}

/** What became of a try. */
export const verdict = ({ verdict: name, status, via }) => word(`verdict.${name}`, { status: via ? `${status} (${via})` : status });

/** The delays of the last minute: one bar for each event on a logarithmic scale, 1 ms to 10 s; a band while the lane was away. */
class Strip {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    const measure = () => {
      const { width, height } = canvas.getBoundingClientRect();
      const scale = Math.min(devicePixelRatio, 2);
      [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
      this.scale = scale;
    };
    new ResizeObserver(measure).observe(canvas);
    measure();
    const colour = () => {
      const style = getComputedStyle(canvas);
      this.colours = Object.fromEntries(["lane", "band", "line"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colour);
    colour();
  }

  draw(delays, aways, since, until) {
    const { canvas: { width, height }, context, scale, colours } = this;
    const x = (at) => Math.max(0, ((at - since) / WINDOW) * width);
    context.clearRect(0, 0, width, height);
    context.fillStyle = colours.band;
    for (const { from, to } of aways) context.fillRect(x(from), 0, Math.max(scale, x(to ?? until) - x(from)), height);
    context.fillStyle = colours.line;
    for (const part of [0.25, 0.5, 0.75]) context.fillRect(0, Math.round(part * height), width, 1);
    context.fillStyle = colours.lane;
    let column = -1;
    let top = 0; // bars that fall on one column are one, the longest
    const flush = () => column >= 0 && context.fillRect(column, height - top, 1.5 * scale, top);
    for (const { at, ms } of delays) {
      const here = Math.round(x(at) / scale) * scale;
      const tall = (Math.log10(Math.min(Math.max(ms, 1.3), 10_000)) / 4) * height;
      if (here !== column) {
        flush();
        column = here;
        top = 0;
      }
      top = Math.max(top, tall);
    }
    flush();
  }
}

/**
 * The wire view: what really passed through the network of each lane, and one event under the glass, as it looks on all of them.
 * The newest that passed everywhere is shown, until one is picked.
 */

import { $, el, put } from "./dom.js";
import { bytes, milliseconds, number, word } from "./words.js";

const ROWS = 10; // of each lane
const EVENTS = 300; // that can be found again
const LOOK = 1000; // milliseconds that an event stays under the glass at the least: who reads needs some
const AROUND = 160; // characters before and after an event

export class WireView {
  #events = new Map(); // id -> Map(lane -> { record, item })
  #left = new Map(); // lane -> records that were left out
  #fresh = new Set(); // lanes whose list is to be drawn
  #picked = null; // { id } or { lane, record }
  #shown = null;
  #since = 0; // when that was
  #lists = new Map();

  constructor(section, lab, names) {
    this.lab = lab;
    this.names = names;
    for (const list of section.querySelectorAll(".records")) this.#list(list);
    $("follow").addEventListener("click", () => this.#pick(null));
    lab.onWire((told) => this.#passed(told));
  }

  #passed({ lane, records, left_out: left }) {
    this.#fresh.add(lane);
    this.#left.set(lane, (this.#left.get(lane) ?? 0) + left);
    for (const record of records) {
      for (const item of record.items) {
        if (item.type !== "event" || item.channel !== "lab" || record.up) continue;
        if (!this.#events.has(item.id)) this.#events.set(item.id, new Map());
        this.#events.get(item.id).set(lane, { record, item });
        if (this.#events.size > EVENTS) this.#events.delete(this.#events.keys().next().value);
      }
    }
  }

  // ---- the lists. One is held still while it is pointed at or has the focus: nobody can hit what moves.

  #list(list) {
    const { lane } = list.dataset;
    this.#lists.set(lane, list);
    list.addEventListener("click", ({ target }) => {
      const row = target.closest("button");
      if (row) this.#choose(lane, row.record);
    });
    list.addEventListener("keydown", (event) => {
      const rows = [...list.querySelectorAll("button")];
      const at = rows.indexOf(document.activeElement);
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      rows[Math.min(Math.max(to, 0), rows.length - 1)].focus();
    });
    list.addEventListener("focusin", ({ target }) => {
      for (const row of list.querySelectorAll("button")) row.tabIndex = row === target ? 0 : -1;
    });
  }

  #choose(lane, record) {
    const item = record.items.find(({ type, channel }) => type === "event" && channel === "lab");
    this.#pick(item && this.#events.has(item.id) ? { id: item.id } : { lane, record });
  }

  #pick(picked) {
    this.#picked = picked;
    $("follow").ariaPressed = String(picked === null);
    this.draw(true);
  }

  draw(must = false) {
    for (const lane of this.names) this.drawList(lane);
    this.drawGlass(must);
  }

  drawList(lane) {
    if (!this.#fresh.has(lane)) return;
    const list = this.#lists.get(lane);
    const held = list.matches(":hover") || list.contains(document.activeElement);
    list.classList.toggle("held", held);
    if (held) return;
    this.#fresh.delete(lane);
    this.#rows(lane, list);
    this.#mark(list);
  }

  drawGlass(must = false) {
    if (!must && (this.#picked || performance.now() - this.#since < LOOK)) return;
    const found = this.#picked ?? this.#newest();
    if (!found || (!must && found.id === this.#shown)) return;
    this.#shown = found.id ?? null;
    this.#since = performance.now();
    this.#glass(found);
    for (const list of this.#lists.values()) this.#mark(list);
  }

  /** Puts the new ones above and takes away those below; what stays is not touched. */
  #rows(lane, list) {
    const records = this.lab.wire(lane).slice(-ROWS).reverse();
    const place = records.indexOf(list.querySelector("button")?.record);
    const fresh = place < 0 ? records : records.slice(0, place);
    list.prepend(...fresh.map((record) => el("li", {}, row(record))));
    while (list.childElementCount > ROWS) list.lastChild.remove();
    for (const [at, { firstChild }] of [...list.children].entries()) firstChild.tabIndex = at ? -1 : 0;
    const left = this.#left.get(lane);
    put($(`left-${lane}`), left ? word("wire.left", { count: number(left) }) : "");
  }

  #mark(list) {
    const { id, record } = this.#picked ?? { id: this.#shown };
    for (const button of list.querySelectorAll("button")) {
      const meant = id ? button.record.items.some((item) => item.type === "event" && item.id === id) : button.record === record;
      if (button.ariaPressed !== String(meant)) button.ariaPressed = String(meant);
    }
  }

  /** The newest event that passed in as many lanes as any of the last ones did. */
  #newest() {
    const last = [...this.#events].slice(-80).reverse();
    const most = Math.max(0, ...last.map(([, lanes]) => lanes.size));
    const found = last.find(([, lanes]) => lanes.size === most);
    return found && { id: found[0] };
  }

  // ---- one event under the glass

  #glass({ id, lane, record }) {
    const lanes = id ? this.#events.get(id) : new Map([[lane, { record, item: null }]]);
    if (!lanes) return;
    const found = new Map([...lanes].map(([name, each]) => [name, { ...each, ...this.#cost(name, each) }]));
    const n = [...lanes.values()][0].item?.n;
    put($("glass-title"), id ? word("wire.event", { n: n ?? "?", id }) : word("wire.record"));
    const widest = Math.max(...[...found.values()].map(({ share, around }) => share + around), 1);
    for (const name of this.names) $(`glass-${name}`).replaceChildren(...this.#pane(found.get(name), widest, Boolean(id)));
  }

  #pane(found, widest, whole) {
    if (!found) return [el("p", { class: "quiet" }, word(whole ? "wire.elsewhere" : "wire.other"))];
    const { record, item, share, around, heads, events } = found;
    const nodes = [el("p", { class: "framing" }, framing(record))];
    if (item) nodes.push(bar(share, around, widest), el("p", { class: "cost" }, cost(share, around, events)));
    nodes.push(content(record, item));
    for (const head of heads) nodes.push(headers(head));
    if (record.kind === "head") nodes.push(headers(record, true));
    return nodes;
  }

  /** What one event costs: alone in its frame or its chunk or, where an exchange is made for it, with all that the exchange takes. */
  #cost(name, { record, item }) {
    const exchange = item && record.kind !== "frame" && record.shown.blocks === undefined ? this.#exchange(name, record) : [record];
    const events = exchange.flatMap(({ items, up }) => (up ? [] : items.filter(({ type }) => type === "event")));
    const total = exchange.reduce((sum, each) => sum + each.bytes, 0);
    const inside = events.reduce((sum, each) => sum + each.bytes, 0);
    const count = Math.max(1, events.length);
    return {
      share: item?.bytes ?? 0, around: Math.max(0, total - inside) / count, events: events.length,
      heads: exchange.filter(({ kind }) => kind === "head"),
    };
  }

  #exchange(name, record) {
    const records = this.lab.wire(name).filter(({ connection }) => connection === record.connection);
    const at = records.indexOf(record);
    let from = at;
    while (from > 0 && !(records[from].kind === "head" && records[from].up)) from -= 1;
    let to = at;
    while (to < records.length - 1 && !(records[to + 1].kind === "head" && records[to + 1].up)) to += 1;
    return records.slice(from, to + 1).filter(({ kind }) => kind !== "open" && kind !== "close");
  }
}

// ---------------------------------------------------------------------------------------------------------- in words

function row(record) {
  const { kind, up, items } = record;
  const events = items.filter(({ type }) => type === "event");
  const what = short(record);
  const told = events.length ? `#${events[0].n ?? "?"}${events.length > 1 ? `…${events.at(-1).n ?? "?"}` : ""}` : items[0]?.type ?? "";
  const label = word("wire.row", { direction: word(up ? "wire.up" : "wire.down"), what, told, bytes: bytes(record.bytes) });
  const button = el("button", { type: "button", class: `record ${kind}`, "aria-pressed": "false", "aria-label": label },
    el("i", { class: "way" }, kind === "open" || kind === "close" ? "·" : up ? "↑" : "↓"),
    el("span", { class: "what" }, what), el("span", { class: "told" }, told),
    el("span", { class: "size" }, record.bytes ? bytes(record.bytes) : ""));
  button.record = record;
  return button;
}

/** A record in a few words: what a developer would say of it. */
function short({ kind, up, shown }) {
  if (kind === "head") {
    const [first, second, ...rest] = (shown.start ?? "").split(" ");
    return up ? `${first} ${(second ?? "").split("?")[0].replace(/^.*\/live\//, "…/")}` : `${second} ${rest.join(" ")}`;
  }
  if (kind === "frame") return shown.continues ? word("wire.continues") : `${shown.opcode ?? "?"}${shown.code ? ` ${shown.code}` : ""}`;
  if (kind === "data" || kind === "bytes") return shown.size ? `chunk ${shown.size}` : word("wire.body");
  return word(`wire.${kind}`);
}

function framing(record) {
  const { kind, shown, ms } = record;
  const parts = [];
  if (kind === "frame" && !shown.continues) {
    parts.push(`opcode ${shown.opcode}`, shown.fin ? "FIN" : word("wire.more"), shown.masked ? word("wire.masked") : word("wire.unmasked"));
    parts.push(word("wire.length", { bytes: bytes(shown.length ?? 0) }));
  } else if (kind === "data" && shown.size) parts.push(word("wire.chunk", { size: shown.size, bytes: bytes(parseInt(shown.size, 16)) }));
  else parts.push(short(record));
  if (ms >= 1) parts.push(word("wire.held", { time: milliseconds(ms) }));
  return parts.join(" · ");
}

function cost(share, around, events) {
  const percent = Math.round((100 * around) / Math.max(1, share));
  return word(events > 1 ? "wire.costs" : "wire.cost", { event: bytes(share), around: bytes(Math.round(around)), percent: number(percent), events });
}

/** Event and what is around it, as long as they are; the CSS knows no numbers of ours, so they are set here. */
function bar(share, around, widest) {
  const event = el("i", { class: "of-event" });
  const more = el("i", { class: "of-wire" });
  event.style.width = `${(100 * share) / widest}%`;
  more.style.width = `${(100 * around) / widest}%`;
  return el("div", { class: "bar", "aria-hidden": "true" }, event, more);
}

/** The bytes as text, line ends made visible, the event marked. */
function content({ shown, kind }, item) {
  if (kind === "head") return "";
  if (shown.hex !== undefined) return el("pre", {}, shown.hex.replace(/(..)/g, "$1 "));
  const text = shown.text ?? "";
  if (!text) return "";
  const [from, to] = item ? [item.from, item.to] : [0, 0];
  const begin = Math.max(0, from - AROUND);
  const end = item ? to + AROUND : 600;
  return el("pre", {},
    (begin > 0 ? "…" : "") + visible(text.slice(begin, from)),
    to > from ? el("mark", {}, visible(text.slice(from, to))) : "",
    visible(text.slice(to, end)) + (end < text.length || shown.cut ? "…" : ""));
}

const visible = (text) => text.replaceAll("\r", "\\r").replaceAll("\n", "↵\n");

function headers({ up, bytes: size, shown }, open = false) {
  return el("details", { open },
    el("summary", {}, word(up ? "wire.request" : "wire.answer", { bytes: bytes(size) })),
    el("pre", {}, [shown.start, ...(shown.headers ?? []).map(([name, value]) => `${name}: ${value}`)].join("\n")));
}

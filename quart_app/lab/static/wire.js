/**
 * The wire view: what really passed through the network of each lane, and one event under the glass, as it looks on all of them.
 * The newest that passed everywhere is shown, until one is picked.
 */

import { $, el, put } from "./dom.js";
import { network } from "./lanes.js";
import { bytes, milliseconds, number, word } from "./words.js";

const ROWS = 10; // of each lane, unless somebody looks back
const BEGUN = 200; // connections of each lane whose heads are kept
const EVENTS = 300; // that can be found again
const LOOK = 1000; // milliseconds that an event stays under the glass at the least: who reads needs some
const AROUND = 160; // characters before and after an event

export class WireView {
  #events = new Map(); // id -> Map(lane -> { record, item })
  #left = new Map(); // lane -> records that were left out
  #heads = new Map(); // lane -> Map(connection -> { up, down }): its last heads, which have long scrolled by
  #back = new Set(); // lanes in which somebody looks back
  #fresh = new Set(); // lanes whose list is to be drawn
  #picked = null; // { id } or { lane, record }
  #shown = null;
  #since = 0; // when that was
  #switched = "";
  #lists = new Map();

  constructor(section, lab, names) {
    this.lab = lab;
    this.names = names;
    for (const list of section.querySelectorAll(".records")) this.#list(list);
    for (const button of section.querySelectorAll("[data-back]")) button.addEventListener("click", () => this.#lookBack(button));
    $("follow").addEventListener("click", () => this.#pick(null));
    lab.onWire((told) => this.#passed(told));
    lab.onState(({ lanes }) => {
      const switched = names.map((name) => lanes[name].since).join();
      if (switched !== this.#switched && (this.#picked || this.#shown)) this.#glass(this.#picked ?? { id: this.#shown }); // it says that it is older
      this.#switched = switched;
    });
  }

  #passed({ lane, records, left_out: left }) {
    this.#fresh.add(lane);
    this.#left.set(lane, (this.#left.get(lane) ?? 0) + left);
    const heads = this.#heads.get(lane) ?? new Map();
    this.#heads.set(lane, heads);
    for (const record of records) {
      if (record.kind === "head") {
        const { up } = heads.get(record.connection) ?? {};
        heads.delete(record.connection); // the newest stay longest
        heads.set(record.connection, record.up ? { up: record } : { up, down: record });
      }
      if (heads.size > BEGUN) heads.delete(heads.keys().next().value);
      for (const item of record.items) {
        if (item.type !== "event" || item.channel !== "lab" || record.up) continue;
        if (!this.#events.has(item.id)) this.#events.set(item.id, new Map());
        this.#events.get(item.id).set(lane, { record, item });
        if (this.#events.size > EVENTS) this.#events.delete(this.#events.keys().next().value);
      }
    }
  }

  // ---- the lists. One is held still while it is pointed at, has the focus or is looked back over: nobody can hit what moves.

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

  /** Shows all that is kept of a lane, or the newest again. */
  #lookBack(button) {
    const lane = button.dataset.back;
    const list = this.#lists.get(lane);
    const back = !this.#back.delete(lane);
    if (back) this.#back.add(lane);
    button.ariaPressed = String(back);
    list.classList.toggle("back", back);
    list.replaceChildren();
    this.#rows(lane, list);
    this.#mark(list);
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
    const held = this.#back.has(lane) || list.matches(":hover") || list.contains(document.activeElement);
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
    const most = this.#back.has(lane) ? Infinity : ROWS;
    const records = this.lab.wire(lane).slice(-most).reverse();
    const place = records.indexOf(list.querySelector("button")?.record);
    const fresh = place < 0 ? records : records.slice(0, place);
    list.prepend(...fresh.map((record) => el("li", {}, row(record))));
    while (list.childElementCount > most) list.lastChild.remove();
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
    for (const name of this.names) $(`glass-${name}`).replaceChildren(...this.#pane(name, found.get(name), widest, Boolean(id)));
  }

  #pane(name, found, widest, whole) {
    if (!found) return [el("p", { class: "quiet" }, word(whole ? "wire.elsewhere" : "wire.other"))];
    const { record, item, share, around, heads, events } = found;
    const { shown } = record;
    const nodes = [el("p", { class: "framing" }, framing(record))];
    const lane = this.lab.state?.lanes[name];
    if (record.at < lane?.since) nodes.push(el("p", { class: "older" }, word("wire.older", { network: network(lane) })));
    if (shown.unpacked) nodes.push(el("p", { class: "cost" }, word("wire.unpacked", { packed: bytes(shown.packed), bytes: bytes(shown.unpacked) })));
    else if (item) nodes.push(bar(share, around, widest), el("p", { class: "cost" }, cost(share, around, events)));
    if (shown.head) nodes.push(octets(shown));
    nodes.push(content(record, item));
    for (const head of heads) nodes.push(headers(head, "wire.request", "wire.answer"));
    if (record.kind === "head") nodes.push(headers(record, "wire.request", "wire.answer", true));
    else if (!heads.length) for (const head of this.#began(name, record)) nodes.push(headers(head, "wire.began", "wire.began_answer"));
    return nodes;
  }

  /** The heads with which the stream began that a record is of: a frame has none, and a chunk none of its own. */
  #began(name, { connection, at }) {
    const { up, down } = this.#heads.get(name)?.get(connection) ?? {};
    return [up, down].filter((head) => head && head.at <= at);
  }

  /** What one event costs: alone in its frame or its chunk or, where an exchange is made for it, with all that the exchange takes. */
  #cost(name, { record, item }) {
    const exchange = item && record.kind === "data" && record.shown.blocks === undefined ? this.#exchange(name, record) : [record];
    const events = exchange.flatMap(({ items, up }) => (up ? [] : items.filter(({ type }) => type === "event")));
    const total = exchange.reduce((sum, each) => sum + each.bytes, 0);
    const inside = events.reduce((sum, each) => sum + each.bytes, 0);
    const count = Math.max(1, events.length);
    return {
      share: item?.bytes ?? 0, around: Math.max(0, total - inside) / count, events: events.length,
      heads: exchange.filter((each) => each !== record && each.kind === "head"),
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
  const writes = record.writes > 1 ? word("wire.writes", { writes: number(record.writes) }) : "";
  const told = events.length ? `#${events[0].n ?? "?"}${events.length > 1 ? `…${events.at(-1).n ?? "?"}` : ""}` : items[0]?.type ?? "";
  const label = word("wire.row", { direction: word(up ? "wire.up" : "wire.down"), what, told, bytes: bytes(record.bytes) });
  const button = el("button", { type: "button", class: `record ${kind}`, "aria-pressed": "false", "aria-label": `${label} ${writes}`.trim() },
    el("i", { class: "way" }, kind === "open" || kind === "close" ? "·" : up ? "↑" : "↓"),
    el("span", { class: "what" }, record.writes > 1 ? `${what} ×${number(record.writes)}` : what), el("span", { class: "told" }, told),
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
  const { kind, shown, ms, writes } = record;
  const parts = kind === "lost" ? [word("wire.lost")] : [];
  if (shown.opcode) {
    parts.push(`opcode ${shown.opcode}`, shown.fin ? "FIN" : word("wire.more"), shown.masked ? word("wire.masked") : word("wire.unmasked"));
    parts.push(word("wire.length", { bytes: bytes(shown.length ?? 0) }));
  } else if (kind === "data" && shown.size) parts.push(word("wire.chunk", { size: shown.size, bytes: bytes(parseInt(shown.size, 16)) }));
  else if (kind !== "lost") parts.push(short(record));
  if (writes > 1) parts.push(word("wire.writes", { writes: number(writes) }));
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

/** The head of a frame, byte for byte (RFC 6455 5.2). */
function octets({ head, opcode, fin, masked, length }) {
  const [first, second, ...rest] = head.match(/../g);
  const code = parseInt(first, 16) & 15;
  const size = bytes(length);
  const mask = word(masked ? "wire.masked" : "wire.unmasked");
  const long = rest.length - (masked ? 4 : 0); // bytes of the length, where it is not in the second
  const rows = [
    [first, `${fin ? "FIN" : word("wire.more")} · opcode ${code}: ${opcode}`],
    [second, `${mask} · ${long ? word("wire.longer", { bytes: long }) : word("wire.length", { bytes: size })}`],
    [rest.slice(0, long).join(" "), word("wire.length", { bytes: size })],
    [rest.slice(long).join(" "), word("wire.key")],
  ];
  return el("dl", { class: "octets" }, ...rows.filter(([raw]) => raw).map(([raw, means]) => el("div", {}, el("dt", {}, raw), el("dd", {}, means))));
}

/** The bytes as text: line ends and what frames a chunk made visible, the event marked. Each written by itself stands by itself. */
function content({ shown, kind, writes }, item) {
  if (kind === "head") return "";
  const line = shown.size ? frames(`${shown.size}\r\n`) : "";
  const end = shown.ends ? frames("\r\n") : kind === "end" && shown.size ? frames("\r\n") : "";
  const look = { class: writes > 1 ? "singly" : null };
  if (shown.hex !== undefined) return shown.hex ? el("pre", look, line, shown.hex.replace(/(..)/g, "$1 "), end) : "";
  const text = shown.text ?? "";
  if (!text && !line) return "";
  if (item?.text) return el("pre", look, line, "…", el("mark", {}, ...broken(item.text)), "…", end); // beyond what is on show
  const [from, to] = item ? [item.from, item.to] : [0, 0];
  const begin = Math.max(0, from - AROUND);
  const until = item ? to + AROUND : 600;
  const more = until < text.length || shown.cut;
  return el("pre", look,
    line, begin > 0 ? "…" : "", ...broken(text.slice(begin, from)),
    to > from ? el("mark", {}, ...broken(text.slice(from, to))) : "",
    ...broken(text.slice(to, until)), more ? "…" : "", end);
}

const visible = (text) => text.replaceAll("\r", "\\r").replaceAll("\n", "↵\n");
const frames = (text) => el("i", { class: "frames" }, visible(text));

/** A text whose lines end where a token of JSON does, if they can. */
const broken = (text) => visible(text).split(/(?<=[,:])/).flatMap((token) => [token, el("wbr")]);

function headers({ up, bytes: size, shown }, asked, answered, open = false) {
  return el("details", { open },
    el("summary", {}, word(up ? asked : answered, { bytes: bytes(size) })),
    el("pre", {}, [shown.start, ...(shown.headers ?? []).map(([name, value]) => `${name}: ${value}`)].join("\n")));
}

/**
 * The lab page: three lanes on one stream. What arrives is noted at once and shown by a clock, so that the work of drawing does
 * not grow with the rate of events. Everything that came over a wire is put into the page as text, never as markup.
 */

import { Comparison, Tally } from "./checks.js";

const { mount } = document.body.dataset;
const { connect, parsePosition } = await import(`${mount}/client.js`);

const CHANNELS = ["vitals", "chat"];
const CUT_SECONDS = 2;
const WINDOW_MS = 60_000; // of arrival delays
const SHOWN = 8; // items in a lane's list
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

const $ = (id) => document.getElementById(id);
const now = () => performance.timeOrigin + performance.now(); // Date.now() in finer grain
const comparison = new Comparison(3);

// ---------------------------------------------------------------------------------------------------- words and figures

const count = new Intl.NumberFormat("en");
const percent = (value) => `${value.toFixed(1)} %`;
const milliseconds = (ms) => (ms < 0 ? "< 0 ms" : ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);

function bytes(value) {
  const power = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), 4);
  return `${(value / 1000 ** power).toFixed(power && 1)} ${["B", "kB", "MB", "GB", "TB"][power]}/s`;
}

const VITALS = {
  cpu: (data) => percent(data.cpu),
  memory: (data) => percent(data.memory),
  load: (data) => data.load.map((value) => value.toFixed(2)).join("  "),
  disk: (data) => `${bytes(data.disk.read)}  ${bytes(data.disk.written)}`,
  network: (data) => `${bytes(data.network.received)}  ${bytes(data.network.sent)}`,
};

/** A figure of an event that may have any shape: anybody may publish. */
function vital(name, data) {
  try {
    return VITALS[name](data);
  } catch {
    return "–";
  }
}

const LOST = {
  evicted: (item) => `The server no longer keeps ${item.channel} from ${item.after} to ${item.through}.`,
  epoch: (item) => `A new log began (${item.id.split(".")[0]}): what ${item.channel} had after ${item.after} is gone.`,
  future: (item) => `${item.after} lies ahead of the log of ${item.channel}; going on from the present.`,
};

const put = (element, text) => {
  if (element.textContent !== text) element.textContent = text; // an unchanged text would still be a change to screen readers
};

// -------------------------------------------------------------------------------------------------------------- a lane

class Lane {
  tally = new Tally();
  delays = []; // { at, ms }: the moment of arrival, and how long after its publishing
  aways = []; // { from, to }: while the lane was not open
  items = []; // the newest first
  vitals = null;

  constructor(section) {
    this.section = section;
    this.name = section.dataset.transport;
    this.title = section.querySelector("h2").textContent;
    this.live = connect(mount, { channels: CHANNELS, transport: this.name });
    this.live.on("state", (state) => this.state(state));
    this.live.on("event", (event) => this.event(event));
    this.live.on("lost", (item) => this.lost(item));
    section.querySelector(".cut").addEventListener("click", () => this.live.cut(CUT_SECONDS));
  }

  state({ state, sentence }) {
    const away = this.aways.at(-1);
    if (state === "open") {
      if (away) away.to ??= now();
    } else if (!away || away.to) this.aways.push({ from: now(), to: null });
    this.section.dataset.state = state;
    put(this.section.querySelector(".sentence"), sentence);
  }

  event(event) {
    const position = parsePosition(event.id);
    this.tally.event(position);
    comparison.event(this.name, position);
    this.delays.push({ at: now(), ms: now() - event.at * 1000 });
    if (event.channel === "vitals") this.vitals = event.data;
    this.note(event);
    heard(this, event);
  }

  lost(item) {
    this.tally.lost += 1;
    comparison.lost(this.name, parsePosition(item.reason === "evicted" ? item.through : item.id));
    this.note(item);
  }

  note(item) {
    this.items.unshift(item);
    this.items.length = Math.min(this.items.length, SHOWN);
  }

  draw() {
    const since = now() - WINDOW_MS;
    this.delays = this.delays.filter(({ at }) => at > since);
    this.aways = this.aways.filter(({ to }) => !to || to > since);
    const last = this.delays.at(-1)?.ms;
    const figures = {
      delivered: count.format(this.tally.delivered),
      lost: count.format(this.tally.lost),
      doubled: count.format(this.tally.doubled),
      disordered: count.format(this.tally.disordered),
      position: this.live.position ?? "–",
      delay: last === undefined ? "–" : milliseconds(last),
      spread: this.spread(),
    };
    for (const [name, text] of Object.entries(figures)) {
      const element = this.section.querySelector(`[data-figure=${name}]`);
      put(element, text);
      element.classList.toggle("bad", ["lost", "doubled", "disordered"].includes(name) && text !== "0");
    }
    for (const cell of this.section.querySelectorAll("[data-vital]")) {
      if (this.vitals) put(cell, vital(cell.dataset.vital, this.vitals));
    }
    this.drawStrip(since);
    this.drawItems();
  }

  spread() {
    if (!this.delays.length) return "";
    const sorted = this.delays.map(({ ms }) => ms).sort((a, b) => a - b);
    return `median ${milliseconds(sorted[sorted.length >> 1])}, longest ${milliseconds(sorted.at(-1))}`;
  }

  /** One bar per event, on a logarithmic scale from 1 ms to 10 s; where the lane was away, a band. */
  drawStrip(since) {
    const x = (at) => Math.max(0, ((at - since) / WINDOW_MS) * 600).toFixed(1);
    const y = (ms) => (80 - 20 * Math.log10(Math.min(Math.max(ms, 1.2), 10_000))).toFixed(1);
    const bars = this.delays.map(({ at, ms }) => `M${x(at)} 80V${y(ms)}`);
    const bands = this.aways.map(({ from, to }) => `M${x(from)} 0H${x(to ?? now())}V80H${x(from)}Z`);
    this.section.querySelector(".delays").setAttribute("d", bars.join(""));
    this.section.querySelector(".away").setAttribute("d", bands.join(""));
  }

  drawItems() {
    const list = this.section.querySelector(".items");
    if (list.firstChild?.item === this.items[0]) return;
    list.replaceChildren(
      ...this.items.map((item) => {
        const line = document.createElement("li");
        line.item = item;
        line.className = item.type;
        line.textContent = item.type === "lost" ? `${LOST[item.reason]?.(item) ?? item.reason} ${JSON.stringify(item)}` : JSON.stringify(item);
        return line;
      }),
    );
  }
}

// ------------------------------------------------------------------------------------------------ all lanes together

const VERDICTS = {
  waiting: "Waiting for all three lanes.",
  same: "Yes: every event that all lanes have passed came over each of them.",
  differ: "No: some events did not come over all lanes, and nobody declared them lost.",
};

function drawCheck() {
  const { compared, missing, common } = comparison;
  const verdict = missing ? "differ" : compared ? "same" : "waiting";
  $("check").dataset.verdict = verdict;
  put($("verdict"), VERDICTS[verdict]);
  put($("compared"), count.format(compared));
  put($("missing"), count.format(missing));
  put($("common"), common ?? "–");
}

let said = null; // the last line that was published here: { id, at, heard: Map(lane -> ms) }

function heard(lane, { id, channel, data }) {
  // The event may come before the answer to the POST: it is known by its mark, not by its id.
  if (said === null || channel !== "chat" || data?.mark !== said.mark) return;
  said.heard.set(lane, now() - said.at);
  const times = lanes.filter((each) => said.heard.has(each)).map((each) => `${each.title} after ${milliseconds(said.heard.get(each))}`);
  put($("heard"), `Came back over ${times.join(", ")}.`);
}

$("say").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  const mark = Math.random().toString(36).slice(2);
  said = { mark, at: now(), heard: new Map() };
  put($("published"), "");
  put($("heard"), "");
  try {
    const id = await lanes[0].live.publish("chat", { text, mark }, { key: mark });
    put($("published"), `Published as ${id}.`);
    $("text").value = "";
  } catch (error) {
    put($("published"), `Not published: ${error.message}${error.code ? ` (${error.code})` : ""}.`);
  }
});

// --------------------------------------------------------------------------------------------------------- the clock

let paused = false;

$("pause").addEventListener("click", () => {
  paused = !paused;
  document.body.classList.toggle("paused", paused);
  $("pause").textContent = paused ? "Resume display" : "Pause display";
});

const lanes = [...document.querySelectorAll(".lane")].map((section) => new Lane(section));

(function draw() {
  if (!paused && !document.hidden) {
    for (const lane of lanes) lane.draw();
    drawCheck();
  }
  setTimeout(draw, CALM.matches ? 1000 : 250);
})();

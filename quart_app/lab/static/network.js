/** The network of each lane, really switched; cuts; and the server under test, really stopped. */

import { why } from "./api.js";
import { $, el, put } from "./dom.js";
import { calm, network as inShort } from "./lanes.js";
import { bytes, called, has, number, word } from "./words.js";

const RESTS = 400; // milliseconds behind the last key: who walks through a list wants one of it
const PACKET = 1400; // bytes: how transports.networks narrows
const DONE = { running: ["restart", "stop", "kill"], stopped: ["start"], starting: [] };

export class NetworkPanel {
  #table = new Map();
  #typed = false; // what changes is changed by keys
  #waits = null; // a switch, until they rest

  constructor(form, lab) {
    this.form = form;
    this.lab = lab;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("pointerdown", () => { this.#typed = false; });
    form.addEventListener("keydown", ({ key }) => {
      this.#typed = true;
      if (key === "Enter") this.#now();
    });
    form.addEventListener("focusout", () => this.#now());
    form.addEventListener("change", ({ target }) => this.#changed(target.name));
    form.addEventListener("input", () => this.#tell());
    $("log-in").addEventListener("click", () => {
      form.elements.network.value = "open";
      this.#switch();
      form.elements.network.focus(); // the button is gone
    });
    $("cut-now").addEventListener("click", () => this.#try(() => lab.cut(this.chosen, form.elements.how.value)));
    $("calm").addEventListener("click", () => this.#try(() => lab.network("all", "open").then(() => this.#read())));
    for (const button of document.querySelectorAll("button[data-server]")) {
      button.addEventListener("click", () => button.ariaDisabled === "true" || this.#try(() => lab.server(button.dataset.server)));
    }
    lab.onState((state) => this.#show(state));
  }

  /** The lanes that are meant. */
  get chosen() {
    return [...this.form.querySelectorAll("[name=lane]:checked")].map((box) => box.value);
  }

  async #try(what) {
    try {
      await what();
      put($("network-note"), "");
    } catch (error) {
      put($("network-note"), why(error));
    }
  }

  #changed(name) {
    if (name === "lane") return this.#waits || this.#read();
    if (name === "how") return;
    clearTimeout(this.#waits);
    this.#waits = setTimeout(() => this.#now(), this.#typed ? RESTS : 0);
  }

  #now() {
    if (this.#waits === null) return;
    clearTimeout(this.#waits);
    this.#waits = null;
    this.#switch();
  }

  #switch() {
    this.#tell();
    const { network, delay, jitter, rate } = this.form.elements;
    if (!this.chosen.length) return put($("network-note"), word("network.none"));
    const settings = { delay_ms: delay.valueAsNumber, jitter_ms: jitter.valueAsNumber, bytes_per_second: speed(rate.valueAsNumber) };
    return this.#try(() => this.lab.network(this.chosen, network.value, settings));
  }

  /** Shows what the first of the chosen lanes is. */
  #read() {
    const [first, ...others] = this.chosen;
    const lanes = this.lab.state?.lanes;
    const lane = lanes?.[first];
    if (!lane) return;
    const differ = others.some((other) => inShort(lanes[other]) !== inShort(lane));
    put($("differ"), differ ? word("network.differ", { lane: word(`rung.${first}`) }) : "");
    const { network, delay, jitter, rate } = this.form.elements;
    if (![...network.options].some(({ value }) => value === lane.network)) network.append(el("option", { value: lane.network }, label(lane.network)));
    network.value = lane.network;
    delay.value = lane.settings.delay_ms;
    jitter.value = lane.settings.jitter_ms;
    rate.value = slide(lane.settings.bytes_per_second);
    this.#tell();
  }

  #show(state) {
    if (!this.#table.size) {
      this.#table = new Map(state.networks.map((each) => [each.name, each]));
      const options = (ways) => state.networks.filter(({ way }) => Boolean(way) === ways)
        .map(({ name, way }) => el("option", { value: name, disabled: Boolean(way) }, label(name)));
      this.form.elements.network.replaceChildren(...options(false), el("optgroup", { label: word("network.outside") }, ...options(true)));
      $("outside").append(...state.networks.filter(({ way }) => way).map(outside));
      this.#read();
    } else if (!this.#waits && !this.form.contains(document.activeElement)) this.#read();
    const { server } = state;
    document.body.dataset.server = server.state;
    put($("server-state"), word(`server.${server.state}`, { pid: server.pid, starts: server.starts }));
    // Not `disabled`: who has just pressed one by keyboard would lose the place.
    for (const button of document.querySelectorAll("button[data-server]")) button.ariaDisabled = String(!DONE[server.state].includes(button.dataset.server));
    $("calm").ariaDisabled = String(Object.values(state.lanes).every(calm));
  }

  /** What the form says now, in words: also what a network does that has another number, or is made of several. */
  #tell() {
    const { elements } = this.form;
    const [delay, jitter, rate] = ["delay", "jitter", "rate"].map((name) => elements[name].valueAsNumber);
    const name = elements.network.value;
    const known = this.#table.get(name);
    const held = settings(delay, jitter, speed(rate));
    const own = name === "open" && held;
    const { does } = Object.values(this.lab.state?.lanes ?? {}).find((lane) => lane.network === name) ?? {};
    put($("story"), own ? word("network.own") : told(name, "story", known));
    put($("does"), own ? "" : told(name, "does", known) || does || "");
    put($("held"), held);
    put($("wins"), known ? (known.wins ? word("network.wins", { rung: word(`rung.${known.wins}`) }) : word("network.nobody")) : "");
    $("log-in").hidden = known?.wins !== "";
    put($("how-does"), word(`network.${elements.how.value}_does`));
    const kbit = Math.round(speed(rate) / 125);
    for (const [slider, said] of [
      ["delay", word("network.ms", { ms: delay })],
      ["jitter", word("network.ms", { ms: jitter })],
      ["rate", kbit ? word("network.rate", { kbit }) : word("network.unlimited")],
    ]) {
      put($(`${slider}-said`), said);
      elements[slider].setAttribute("aria-valuetext", said);
    }
  }
}

/** What the sliders do to packets. */
function settings(delay, jitter, rate) {
  return [
    delay && word("network.does_delay", { ms: number(delay / 2) }),
    jitter && word("network.does_jitter", { ms: number(jitter) }),
    rate && word("network.does_rate", { bytes: bytes(rate), packet: number(Math.min(PACKET, rate / 20)) }),
  ].filter(Boolean).join(" ");
}

/** What is told of a network in the page's language, or else as `theirs` has it. */
const told = (name, part, theirs) => (has(`networks.${name}.${part}`) ? word(`networks.${name}.${part}`) : theirs?.[part] ?? "");

/** A network that cannot be set on a lane: what it does, why not here, and what plays it. */
function outside(network) {
  const { name, way } = network;
  const ca = way === "forward" ? "" : " --ca ca.pem";
  return el("li", {}, el("b", {}, label(name)), ` ${told(name, "does", network)} ${word(`network.way_${way}`)} `,
    el("code", {}, ...`everywire proxy --upstream :${location.port || 80} --network ${name}${ca}`.split(/(?<= )(?=--)/).map((part) => el("span", {}, part))));
}

/** The name for machines stays readable: it is the one that `everywire proxy` knows. */
const label = (name) => (called(name) === name ? name : `${called(name)} (${name})`);

// The slider of the bandwidth: 0 is none, then each step doubles it, from 8 kbit/s on.
const speed = (step) => (step ? 1000 * 2 ** (step - 1) : 0);
const slide = (bytes) => (bytes ? Math.max(1, Math.round(Math.log2(bytes / 1000)) + 1) : 0);

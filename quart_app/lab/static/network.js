/** The network of each lane, really switched; cuts; and the server under test, really stopped. */

import { why } from "./api.js";
import { $, el, put } from "./dom.js";
import { calm, network as inShort } from "./lanes.js";
import { called, has, word } from "./words.js";

const DONE = { running: ["restart", "stop", "kill"], stopped: ["start"], starting: [] };

export class NetworkPanel {
  #table = new Map();

  constructor(form, lab) {
    this.form = form;
    this.lab = lab;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", ({ target }) => (target.name === "lane" ? this.#read() : target.name !== "how" && this.#switch()));
    form.addEventListener("input", () => this.#tell());
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

  #switch() {
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
    if (!this.#table.has(lane.network)) network.append(option(lane.network));
    network.value = lane.network;
    delay.value = lane.settings.delay_ms;
    jitter.value = lane.settings.jitter_ms;
    rate.value = slide(lane.settings.bytes_per_second);
    this.#tell();
  }

  #show(state) {
    if (!this.#table.size) {
      this.#table = new Map(state.networks.map((each) => [each.name, each]));
      this.form.elements.network.replaceChildren(...state.networks.map(({ name }) => option(name)));
      this.#read();
    } else if (!this.form.contains(document.activeElement)) this.#read();
    const { server } = state;
    document.body.dataset.server = server.state;
    put($("server-state"), word(`server.${server.state}`, { pid: server.pid, starts: server.starts }));
    // Not `disabled`: who has just pressed one by keyboard would lose the place.
    for (const button of document.querySelectorAll("button[data-server]")) button.ariaDisabled = String(!DONE[server.state].includes(button.dataset.server));
    $("calm").ariaDisabled = String(Object.values(state.lanes).every(calm));
  }

  #tell() {
    const { network, delay, jitter, rate } = this.form.elements;
    const { name, story, does, wins } = this.#table.get(network.value) ?? {};
    const ours = (part, theirs) => (has(`networks.${name}.${part}`) ? word(`networks.${name}.${part}`) : theirs);
    put($("story"), name ? ours("story", story) : "");
    put($("does"), name ? ours("does", does) : "");
    put($("wins"), wins ? word("network.wins", { rung: word(`rung.${wins}`) }) : name ? word("network.nobody") : "");
    put($("delay-said"), word("network.ms", { ms: delay.value }));
    put($("jitter-said"), word("network.ms", { ms: jitter.value }));
    const bytes = speed(rate.valueAsNumber);
    put($("rate-said"), bytes ? word("network.rate", { kbit: Math.round(bytes / 125) }) : word("network.unlimited"));
  }
}

/** The name for machines stays readable: it is the one that `everywire proxy` knows. */
const option = (name) => el("option", { value: name }, called(name) === name ? name : `${called(name)} (${name})`);

// The slider of the bandwidth: 0 is none, then each step doubles it, from 8 kbit/s on.
const speed = (step) => (step ? 1000 * 2 ** (step - 1) : 0);
const slide = (bytes) => (bytes ? Math.max(1, Math.round(Math.log2(bytes / 1000)) + 1) : 0);

/** The experiments' part of the page: predict, do, explain. Which one is shown is in the URL (`#experiment=code-1006`), a choice never. */

import { Refused, why } from "../api.js";
import { el, put } from "../dom.js";
import { language, milliseconds, number, word } from "../words.js";
import { IDS, load } from "./index.js";

const IN_URL = /^#experiment=([a-z0-9-]+)$/;

/** Shows them in `element`, to be played on `lab`. */
export function start(lab, element) {
  const page = new Page(lab, element);
  element.hidden = false;
  addEventListener("hashchange", () => page.follow());
  page.follow();
}

/**
 * Plays one, and leaves the lab as it was. Resolves to what was measured, and to the choice that is right (null: no telling). Rejects
 * when `signal` stops it.
 */
export async function play(experiment, lab, signal) {
  if (lab.state === null) await lab.refresh();
  const { Bench } = await import("./bench.js");
  const before = structuredClone(lab.state), bench = new Bench(lab);
  const stopped = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  lab.playing = true;
  try {
    const measured = await Promise.race([bench.begin(before).then(() => experiment.play(bench)), stopped]);
    return { measured, right: experiment.verdict(measured) };
  } finally {
    await bench.end(before);
    lab.playing = false;
  }
}

/** A text in which `what is typed` stands between backticks, as parts of an element. */
const typed = (text) => text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));

/** A figure as people read it; `name` says what it is. */
function figure(name, value) {
  if (typeof value === "boolean") return say(value ? "yes" : "no");
  if (typeof value === "string") return value || "–";
  if (name.endsWith("_ms")) return milliseconds(value);
  return /^pid_|_code$|_frame$/.test(name) ? String(value) : number(value);
}

const say = (key, values) => word(`experiments.${key}`, values); // what is said in all of them
const title = (id) => say(`titles.${id}`);

/** What is said in the experiment of that id alone. */
async function said(id) {
  return (await fetch(new URL(`../words/experiments/${id}/${language}.json`, import.meta.url))).json();
}

class Page {
  #playing = null; // what stops the one that is played

  constructor(lab, element) {
    this.lab = lab;
    this.links = new Map(IDS.map((id) => [id, el("a", { href: `#experiment=${id}` }, title(id))]));
    this.shown = el("article", { class: "experiment", id: "experiment", tabindex: "-1", hidden: true });
    this.status = el("span", { class: "experiment-status", role: "status" });
    this.stop = el("button", { type: "button", class: "small", hidden: true, onclick: () => this.#playing?.abort(new Refused("stopped")) });
    const list = el("ol", { class: "experiment-list" }, ...[...this.links.values()].map((link) => el("li", {}, link)));
    element.append(el("nav", { "aria-label": say("title") }, list), this.shown, el("div", { class: "experiment-going" }, this.status, this.stop));
  }

  /** Shows what the URL says. */
  async follow() {
    const id = IN_URL.exec(location.hash)?.[1];
    for (const [name, link] of this.links) {
      if (name === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (this.#playing || !this.links.has(id)) return;
    const [experiment, words] = await Promise.all([load(id), said(id)]);
    if (this.#playing || location.hash !== `#experiment=${id}`) return; // another was chosen meanwhile
    this.#show(experiment, words);
    this.shown.focus();
  }

  #show(experiment, said) {
    this.said = said;
    this.result = el("div", { class: "experiment-result" });
    this.go = el("button", { type: "submit", class: "primary" }, say("go"));
    const choices = experiment.choices.map((choice) => el("label", {},
      el("input", { type: "radio", name: "choice", value: choice, required: true }), " ", said.choices[choice]));
    const form = el("form", {
      onsubmit: (submit) => { submit.preventDefault(); this.#play(experiment, new FormData(form).get("choice")); },
    }, el("fieldset", {}, el("legend", {}, say("predict")), ...choices), this.go);
    put(this.status, "");
    this.shown.hidden = false;
    this.shown.dataset.id = experiment.id;
    delete this.shown.dataset.verdict;
    this.shown.replaceChildren(
      el("h3", {}, title(experiment.id)), el("p", { class: "experiment-myth" }, said.myth), el("p", {}, said.question), form, this.result,
    );
  }

  async #play(experiment, choice) {
    if (this.#playing) return;
    this.#playing = new AbortController();
    // Not `disabled`: who has just pressed it by keyboard would lose the place.
    this.go.ariaDisabled = "true";
    this.stop.hidden = false;
    put(this.stop, say("stop"));
    this.result.replaceChildren();
    this.status.classList.remove("unseen");
    put(this.status, say("playing"));
    try {
      this.#explain(experiment, choice, await play(experiment, this.lab, this.#playing.signal));
    } catch (error) {
      const stopped = error.refused === "stopped";
      this.shown.dataset.verdict = stopped ? "stopped" : "failed";
      put(this.status, stopped ? say("stopped") : `${say("failed")} ${why(error)}`);
    } finally {
      this.#playing = null;
      this.go.ariaDisabled = null;
      if (document.activeElement === this.stop) this.go.focus();
      this.stop.hidden = true;
      if (location.hash !== `#experiment=${experiment.id}`) this.follow(); // another was chosen meanwhile
    }
  }

  #explain(experiment, choice, { measured, right }) {
    const { said } = this;
    const verdict = right === null ? "doubt" : right === choice ? "right" : "wrong";
    Object.assign(this.shown.dataset, { verdict, right: right ?? "" });
    this.links.get(experiment.id).dataset.played = verdict;
    const sentence = right === null ? said.doubt : said.because;
    const figures = Object.entries(measured).map(([name, value]) => (
      el("div", {}, el("dt", {}, said.figures[name]), el("dd", { "data-name": name }, figure(name, value)))
    ));
    this.result.dataset.measured = JSON.stringify(measured);
    this.result.replaceChildren(...[
      el("h4", {}, say(verdict)),
      verdict !== "wrong" ? "" : el("p", { class: "experiment-right" }, say("came", { choice: said.choices[right] })),
      el("p", { class: "experiment-because" }, ...this.#filled(sentence, measured)),
      ...(right === null ? [] : [el("p", { class: "experiment-source" }, ...typed(`${say("source")} ${said.source}`))]),
      el("details", {}, el("summary", {}, say("measured")), el("dl", {}, ...figures)),
    ].filter(Boolean));
    this.status.classList.add("unseen"); // it is on show above, and said all the same
    put(this.status, say(verdict));
  }

  /** A sentence with its figures, each in an element that says which it is. */
  #filled(sentence, measured) {
    return sentence.split(/\{(\w+)\}/).map((part, i) => (
      i % 2 ? el("b", { "data-figure": part }, figure(part, measured[part])) : part
    ));
  }
}

/** How events are published: rate, size, burst. */

import { why } from "./api.js";
import { $, put } from "./dom.js";
import { bytes, number, word } from "./words.js";

export class PublisherPanel {
  constructor(form, lab) {
    this.form = form;
    this.lab = lab;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => this.#say());
    lab.onState(({ publisher }) => this.#show(publisher));
  }

  async #say() {
    const { rate, size, burst, running } = this.form.elements;
    const wrong = [rate, size, burst].find((input) => !input.validity.valid);
    if (wrong) return put($("publisher-note"), word("publisher.bounds", { what: word(`publisher.${wrong.name}`), least: number(wrong.min), most: number(wrong.max) }));
    try {
      await this.lab.publisher({
        rate: rate.valueAsNumber, size: size.valueAsNumber, burst: burst.valueAsNumber, running: running.checked,
      });
      put($("publisher-note"), "");
    } catch (error) {
      // Each number is in its bounds: so it is all of them together.
      put($("publisher-note"), error.refused === "bad_command" ? word("publisher.together") : why(error));
    }
  }

  #show(publisher) {
    const { rate, size, burst, running } = this.form.elements;
    for (const [input, value] of [[rate, publisher.rate], [size, publisher.size], [burst, publisher.burst]]) {
      if (document.activeElement !== input) input.value = value;
    }
    running.checked = publisher.running;
    const said = publisher.waiting ? "waiting" : publisher.running ? "going" : "resting";
    put($("publisher-state"), word(`publisher.${said}`, { rate: number(publisher.rate), bytes: bytes(publisher.rate * publisher.size) }));
  }
}

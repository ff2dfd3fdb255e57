/** How events are published: rate, size, burst. */

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
    try {
      await this.lab.publisher({
        rate: rate.valueAsNumber, size: size.valueAsNumber, burst: burst.valueAsNumber, running: running.checked,
      });
      put($("publisher-note"), "");
    } catch (error) {
      put($("publisher-note"), error.message);
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

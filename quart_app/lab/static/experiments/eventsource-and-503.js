/** EventSource and 503: what comes back by itself after a cut does not after a status. */

import { source, wait, within } from "./wires.js";

const AWAY = 1500; // milliseconds
const AFTERWARDS = 4000; // milliseconds in which EventSource could come back, if it would

async function politely(url) {
  const began = performance.now();
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(url, { cache: "no-store" });
    if (answer.ok) return { tries, ms: performance.now() - began };
    await wait(1000 * Number(answer.headers.get("Retry-After") ?? 1));
  }
}

export default {
  id: "eventsource-and-503",
  choices: ["again", "retry-after", "gives-up"],
  async play(bench) {
    const url = `/lab/answers/unavailable?until=${(Date.now() + AWAY) / 1000}`;
    const refused = bench.keep(source(url));
    const polite = await politely(url);
    await wait(AFTERWARDS - polite.ms);
    const cut = bench.source("sse");
    await within(5000, () => cut.opened > 0);
    const began = performance.now();
    await bench.cut("sse");
    const back = await within(10_000, () => cut.opened > 1);
    return {
      refused_state: refused.errors[0] ?? -1, refused_events: refused.events.length,
      polite_tries: polite.tries, polite_ms: polite.ms,
      cuts: cut.errors.length, cut_state: cut.errors[0] ?? -1, back_ms: back ? performance.now() - began : 0,
    };
  },
  verdict: (m) => m.refused_state === 2 && m.refused_events === 0 && m.cut_state === 0 && m.back_ms > 0 ? "gives-up" : null,
};

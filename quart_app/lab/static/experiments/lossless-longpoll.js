/** Lossless long-polling without a position: what comes between two polls. */

import { wait, within } from "./wires.js";

const EVENTS = 30, EVERY = 50, DELAY = 200; // events, milliseconds

export default {
  id: "lossless-longpoll",
  choices: ["all", "some", "none"],
  async play(bench) {
    await bench.network("longpoll", "open", { delay_ms: DELAY });
    const naive = bench.poller("longpoll", { anew: true });
    const careful = bench.poller("longpoll");
    await within(5000, () => naive.position !== null && careful.position !== null);
    await wait(DELAY); // both wait for an event now
    await bench.publishEach(EVENTS, EVERY);
    await within(5000, () => careful.events.length >= EVENTS);
    await wait(4 * DELAY);
    return {
      events: EVENTS, delay_ms: DELAY,
      naive: naive.events.length, naive_lost: EVENTS - naive.events.length, naive_requests: naive.requests,
      careful: careful.events.length, careful_lost: EVENTS - careful.events.length, careful_requests: careful.requests,
      seen_ms: Math.min(...careful.events.map(({ late }) => late), 1e6),
    };
  },
  verdict: (m) => m.naive_lost > 0 && m.naive > 0 && m.careful_lost === 0 && m.seen_ms >= 0.45 * m.delay_ms ? "some" : null,
};

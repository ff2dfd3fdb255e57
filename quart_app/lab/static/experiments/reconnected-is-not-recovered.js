/** Reconnected is not recovered: two that come back equally fast, one of them with a position. */

import { wait, within } from "./wires.js";

const EVENTS = 30, EVERY = 50, CUT_AT = 10, AGAIN = 300; // events, milliseconds, the event before which it is cut, milliseconds

/** Comes back `AGAIN` milliseconds after its end. */
function comingBack(bench, since) {
  const lives = [bench.socket("websocket")];
  lives[0].wire.addEventListener("close", async () => {
    await wait(AGAIN);
    lives.push(bench.socket("websocket", since(lives[0])));
  });
  return lives;
}

export default {
  id: "reconnected-is-not-recovered",
  choices: ["all", "some", "twice"],
  async play(bench) {
    const naive = comingBack(bench, () => ({}));
    const careful = comingBack(bench, ({ position }) => ({ since: position }));
    await within(5000, () => naive[0].messages > 0 && careful[0].messages > 0);
    await bench.publishEach(EVENTS, EVERY, { meanwhile: (n) => n === CUT_AT && bench.cut("websocket") });
    await within(5000, () => different(careful) >= EVENTS);
    await wait(300);
    return {
      events: EVENTS, again_ms: AGAIN,
      naive_back: naive.length > 1, naive: different(naive), naive_lost: EVENTS - different(naive),
      careful_back: careful.length > 1, careful: different(careful), careful_lost: EVENTS - different(careful),
    };
  },
  verdict: (m) => m.naive_back && m.careful_back && m.naive_lost > 0 && m.careful_lost === 0 ? "some" : null,
};

const different = (lives) => new Set(lives.flatMap(({ events }) => events.map(({ n }) => n))).size;

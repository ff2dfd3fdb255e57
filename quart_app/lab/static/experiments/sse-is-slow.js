/** "SSE is slow": the same stream with and without a buffer on its way. */

import { median, wait } from "./wires.js";

const EVENTS = 40, EVERY = 50; // events, milliseconds between two

async function through(bench, network) {
  await bench.network("sse", network);
  const stream = bench.stream("sse");
  await wait(200);
  await bench.publishEach(EVENTS, EVERY, { pad: "x".repeat(150) });
  await wait(500);
  stream.close();
  return { late: stream.events.map(({ late }) => late), lumps: stream.reads.filter((read) => read.includes('"event"')).length };
}

export default {
  id: "sse-is-slow",
  choices: ["bit-later", "lumps", "never"],
  async play(bench) {
    const open = await through(bench, "open");
    const held = await through(bench, "buffering-4k");
    return {
      events: EVENTS,
      open_arrived: open.late.length, open_ms: median(open.late),
      held_arrived: held.late.length, held_ms: Math.max(0, ...held.late), lumps: held.lumps,
      still_held: EVENTS - held.late.length,
    };
  },
  verdict: (m) => m.open_arrived === m.events && m.held_ms > m.open_ms + 200 && m.lumps < m.events / 4 ? "lumps" : null,
};

/** WebSocket is always faster: the same events at the same time on three wires, near and far. */

import { median, wait, within } from "./wires.js";

const EVENTS = 40, EVERY = 50, DELAY = 200; // events, milliseconds
const APART = 10; // milliseconds in the median that nobody notices
const LANES = ["websocket", "sse", "longpoll"];

async function race(bench, delay) {
  for (const lane of LANES) await bench.network(lane, "open", { delay_ms: delay });
  const readers = [bench.socket("websocket"), bench.stream("sse"), bench.poller("longpoll")];
  await within(5000, () => readers[0].messages > 0 && readers[1].reads.length > 0 && readers[2].position !== null);
  await wait(2 * delay);
  await bench.publishEach(EVENTS, EVERY);
  await within(5000, () => readers.every(({ events }) => events.length >= EVENTS));
  for (const each of readers) each.close();
  const late = readers.map(({ events }) => events.map((each) => each.late));
  return {
    medians: late.map(median), least: Math.min(...late.map((all) => all.length)),
    // Event by event: what makes both late makes no difference.
    difference: Math.abs(median(late[0].map((ms, i) => ms - late[1][i]))),
    quickest: Math.min(...late[0], ...late[1], 1e6), // a busy machine makes events late, and none of them early
  };
}

export default {
  id: "websocket-is-always-faster",
  choices: ["websocket", "alike", "sse"],
  async play(bench) {
    const near = await race(bench, 0), far = await race(bench, DELAY);
    return {
      events: EVENTS, delay_ms: DELAY, least: Math.min(near.least, far.least),
      websocket_ms: near.medians[0], sse_ms: near.medians[1], longpoll_ms: near.medians[2],
      difference_ms: near.difference,
      far_websocket_ms: far.medians[0], far_sse_ms: far.medians[1], far_longpoll_ms: far.medians[2],
      far_difference_ms: far.difference, far_quickest_ms: far.quickest,
    };
  },
  verdict: (m) => (
    m.least === m.events && m.far_quickest_ms >= 0.45 * m.delay_ms && m.difference_ms <= APART && m.far_difference_ms <= APART
      ? "alike" : null
  ),
};

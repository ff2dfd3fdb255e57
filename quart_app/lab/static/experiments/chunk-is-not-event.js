/** A chunk is not an event: who takes each read for one event, and who looks for its end. */

import { wait, within } from "./wires.js";

const EVENTS = 10;

/** The events that one would have who takes each read for one. */
const naively = (reads) => reads.filter((read) => {
  try { return JSON.parse(read.slice(read.indexOf("data: ") + 6)).type === "event"; } catch { return false; }
}).length;

async function through(bench, network) {
  await bench.network("sse", network);
  const stream = bench.stream("sse");
  await within(5000, () => stream.reads.join("").includes("\n\n"));
  const before = stream.reads.length;
  await bench.publish(EVENTS, { pad: "x".repeat(40) });
  await within(10_000, () => stream.events.length >= EVENTS);
  await wait(100);
  stream.close();
  const reads = stream.reads.slice(before);
  return { reads: reads.length, naive: naively(reads), careful: stream.events.length };
}

export default {
  id: "chunk-is-not-event",
  choices: ["each-one", "too-few", "too-many"],
  async play(bench) {
    const open = await through(bench, "open"), bytes = await through(bench, "one-byte");
    return {
      events: EVENTS, open_reads: open.reads, open_naive: open.naive, open_careful: open.careful,
      bytes_reads: bytes.reads, bytes_naive: bytes.naive, bytes_careful: bytes.careful,
    };
  },
  verdict: (m) => (
    m.open_careful === m.events && m.bytes_careful === m.events && m.open_naive < m.events && m.bytes_naive < m.events
      && m.bytes_reads > m.open_reads ? "too-few" : null
  ),
};

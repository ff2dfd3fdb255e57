/** Ids on control messages: a reader that is cut before its first event. */

import { wait, within } from "./wires.js";

const EVENTS = 3;

export default {
  id: "ids-on-control-messages",
  choices: ["none", "all", "page"],
  async play(bench) {
    const all = bench.source("sse"); // keeps each id, whatever it is on
    const few = bench.stream("sse"); // keeps those of events
    await within(5000, () => all.hello !== null && few.reads.length > 0);
    await bench.cut("sse");
    const cut = await within(3000, () => all.errors.length > 0 && few.ended);
    await bench.publish(EVENTS);
    const again = bench.stream("sse", few.position === null ? {} : { since: few.position });
    await within(10_000, () => all.events.length >= EVENTS);
    await wait(500);
    const request = await bench.request("sse", all.wire.url, 2);
    return {
      events: EVENTS, cut, hello: all.hello ?? "", sent: request?.get("last-event-id") ?? "", with_ids: all.events.length, without_ids: again.events.length,
      connections: all.opened,
    };
  },
  verdict: (m) => m.cut && m.hello && m.sent === m.hello && m.with_ids === m.events && m.without_ids === 0 ? "all" : null,
};

/** "wss:// always passes": what an inspecting proxy does with it once that it has ended the encryption. */

import { wait, within } from "./wires.js";

const WATCH = 1500; // milliseconds

export default {
  id: "wss-always-passes",
  choices: ["always", "depends", "never"],
  async play(bench) {
    await bench.network("websocket", "no-upgrade");
    const refused = bench.socket("websocket");
    const sse = bench.stream("websocket"); // the same network, plain HTTP
    await within(5000, () => refused.ended && sse.reads.length > 0);
    await bench.network("websocket", "upgrade-swallowed");
    const swallowed = bench.socket("websocket");
    await within(5000, () => swallowed.opened !== null);
    await wait(WATCH);
    return {
      refused_opened: refused.opened !== null, refused_code: refused.ended?.code ?? 0, refused_ms: refused.ended?.after ?? 0,
      sse_reads: sse.reads.length,
      swallowed_opened: swallowed.opened !== null, swallowed_ms: swallowed.opened ?? 0, swallowed_messages: swallowed.messages,
      watched_ms: WATCH,
    };
  },
  verdict: (m) => (
    !m.refused_opened && m.refused_code === 1006 && m.sse_reads > 0 && m.swallowed_opened && m.swallowed_messages === 0
      ? "depends" : null
  ),
};

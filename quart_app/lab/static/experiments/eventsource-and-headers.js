/** EventSource and headers: what was given, and what the wire had. */

import { within } from "./wires.js";

const HEADERS = { Authorization: "Bearer lab" };

export default {
  id: "eventsource-and-headers",
  choices: ["sent", "error", "ignored"],
  async play(bench) {
    const plain = bench.source("sse", { headers: HEADERS });
    const fetched = bench.url("sse", "sse");
    const answer = new AbortController();
    bench.keep(() => answer.abort());
    await within(5000, () => plain.opened > 0);
    await fetch(fetched, { headers: HEADERS, signal: answer.signal });
    const [of_source, of_fetch] = [await bench.request("sse", plain.wire.url), await bench.request("sse", fetched)];
    return {
      opened: plain.opened > 0,
      source_headers: of_source?.size ?? 0, source_has: of_source?.has("authorization") ?? false,
      fetch_headers: of_fetch?.size ?? 0, fetch_has: of_fetch?.has("authorization") ?? false,
    };
  },
  verdict: (m) => m.opened && m.source_headers > 0 && !m.source_has && m.fetch_has ? "ignored" : null,
};

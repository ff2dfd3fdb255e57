/** The sixth connection: over HTTP/1.1 a browser allows itself six to one server, and a stream takes one for as long as it is open. */

import { wait, within } from "./wires.js";

const ASKED = 8;
const PATIENCE = 1500; // milliseconds in which whatever will open has opened

export default {
  id: "sixth-connection",
  choices: ["all", "wait", "refused"],
  async play(bench) {
    const sources = Array.from({ length: ASKED }, () => bench.source("sse"));
    await wait(PATIENCE);
    const opened = sources.filter((each) => each.opened > 0).length;
    const refused = sources.filter((each) => each.errors.length > 0).length;
    const began = performance.now();
    let answered = null;
    const asked = fetch("/lab/state", { cache: "no-store" }).then(() => { answered = performance.now() - began; });
    const blocked = !await within(PATIENCE, () => answered !== null);
    const sockets = Array.from({ length: ASKED }, () => bench.socket("websocket"));
    await within(5000, () => sockets.every((each) => each.opened !== null));
    for (const each of sources) each.close();
    await asked;
    return {
      asked: ASKED, opened, waiting: ASKED - opened - refused, refused, blocked, answered_ms: answered,
      sockets: sockets.filter((each) => each.opened !== null).length,
    };
  },
  verdict: (m) => m.waiting > 0 && m.opened > 0 && m.blocked && m.sockets === m.asked ? "wait" : null,
};

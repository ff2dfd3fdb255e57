/** Code 1006: two ends of a WebSocket, and what of them was on the wire. */

import { within } from "./wires.js";

const ENDS = 5000; // milliseconds for an end to be seen

/** The code in the frame that closes, if the server sent one. */
async function closing(bench, socket) {
  const found = () => bench.wire("websocket", socket.wire.url).find(({ up, shown }) => !up && shown.opcode === "close");
  await within(1000, found);
  return found()?.shown.code ?? 0;
}

export default {
  id: "code-1006",
  choices: ["server", "proxy", "nobody"],
  async play(bench) {
    const cut = bench.socket("websocket");
    await within(ENDS, () => cut.messages > 0);
    await bench.cut("websocket");
    await within(ENDS, () => cut.ended);
    const told = bench.socket("websocket", { v: "99" });
    await within(ENDS, () => told.ended);
    return {
      cut_code: cut.ended?.code ?? 0, cut_frame: await closing(bench, cut),
      told_code: told.ended?.code ?? 0, told_frame: await closing(bench, told),
    };
  },
  verdict: (m) => m.cut_code === 1006 && m.cut_frame === 0 && m.told_code > 0 && m.told_code === m.told_frame ? "nobody" : null,
};

/**
 * DevTools throttling. No page can turn it on, nor see whether it is; what a page can do is to measure a round trip on a WebSocket
 * that is open, and of a request, with and without a network that is really slow.
 */

import { median, within } from "./wires.js";

const TRIES = 5, DELAY = 400; // round trips, milliseconds

async function roundTrips(bench, socket) {
  const sockets = [], requests = [];
  for (let ref = 1; ref <= TRIES; ref += 1) {
    let began = performance.now();
    const replies = socket.replies;
    socket.wire.send(JSON.stringify({ do: "ping", ref }));
    await within(5000, () => socket.replies > replies);
    sockets.push(performance.now() - began);
    began = performance.now();
    await (await fetch(bench.url("websocket", "negotiate"), { cache: "no-store" })).text();
    requests.push(performance.now() - began);
  }
  return { socket: median(sockets), request: median(requests) };
}

export default {
  id: "devtools-throttling",
  choices: ["devtools", "proxy", "nothing"],
  async play(bench) {
    await bench.network("websocket", "open");
    const socket = bench.socket("websocket");
    await within(5000, () => socket.messages > 0);
    const before = await roundTrips(bench, socket);
    await bench.network("websocket", "open", { delay_ms: DELAY });
    const after = await roundTrips(bench, socket);
    return {
      delay_ms: DELAY, socket_ms: before.socket, request_ms: before.request,
      slow_socket_ms: after.socket, slow_request_ms: after.request,
    };
  },
  verdict: (m) => m.slow_socket_ms >= m.socket_ms + 0.75 * m.delay_ms ? "proxy" : null,
};

/**
 * The experiments, in the order in which they teach. Each is a value:
 *
 *   id        in the URL, and its place in words/experiments/<language>.json
 *   choices   what one may predict
 *   play      does it on the lab's real lanes, and resolves to what was measured: names -> figures
 *   verdict   the choice that these figures prove right; null if they prove nothing
 */

import chunk from "./chunk-is-not-event.js";
import code from "./code-1006.js";
import devtools from "./devtools-throttling.js";
import headers from "./eventsource-and-headers.js";
import ids from "./ids-on-control-messages.js";
import longpoll from "./lossless-longpoll.js";
import recovered from "./reconnected-is-not-recovered.js";
import sixth from "./sixth-connection.js";
import slow from "./sse-is-slow.js";
import unavailable from "./eventsource-and-503.js";
import websocket from "./websocket-is-always-faster.js";
import worker from "./works-with-one-worker.js";
import wss from "./wss-always-passes.js";

export const EXPERIMENTS = [
  slow, sixth, unavailable, headers, longpoll, ids, code, wss, recovered, worker, websocket, devtools, chunk,
];

/**
 * The experiments, in the order in which they teach. Each is a value:
 *
 *   id        in the URL, and its place in words/experiments/<id>/<language>.json
 *   choices   what one may predict
 *   play      does it on the lab's real lanes, and resolves to what was measured: names -> figures
 *   verdict   the choice that these figures prove right; null if they prove nothing
 */

export const IDS = [
  "sse-is-slow",
  "sixth-connection",
  "eventsource-and-503",
  "eventsource-and-headers",
  "lossless-longpoll",
  "ids-on-control-messages",
  "code-1006",
  "wss-always-passes",
  "reconnected-is-not-recovered",
  "works-with-one-worker",
  "websocket-is-always-faster",
  "devtools-throttling",
  "chunk-is-not-event",
];

/** The experiment of that id. A page that shows none loads none. */
export async function load(id) {
  return (await import(`./${id}.js`)).default;
}

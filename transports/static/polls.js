/**
 * What is done with polls: long-polling, the last rung, and the question for wires on which nothing can be sent. Loaded by client.js
 * when the first SSE or long-polling wire is opened: where WebSocket works, never.
 */

/**
 * Reads by one poll after the other, until one throws how that ended.
 *
 *   wire: as in client.js; clock() and sleep(seconds, signal): its own; beat(): seconds of silence that are usual now.
 */
export async function run(wire, clock, sleep, beat) {
  // The first poll does not wait: its answer proves the wire. After that a poll is silent for a beat, as any wire is.
  // `spare`: polls that may be made in a row; then it is 20 a second.
  for (let wait = 0, spare = 100, last = 0; ; wait = Math.min(wire.quiet ?? 60, beat(), 60)) {
    const asked = clock();
    spare = Math.min(100, spare + (asked - last) * 20) - 1;
    last = asked;
    const items = await wire.poll({ wait });
    wire.tell("answered");
    wire.take(items);
    // Nothing, and sooner than asked for: without a pause a server that cannot wait would have us spin.
    const early = items.every((item) => item.type === "beat") ? Math.min(wait, 1) : 0;
    await sleep(Math.max(early, -spare / 20) - clock() + asked, wire.signal);
  }
}

/**
 * Has `wire` brought all that there is? A poll beside it knows, and the machine is told.
 *
 *   handle(item): takes an item, whichever wire brought it; passed(id, position): whether what is at `id` is known at `position`;
 *   within(seconds, signal, work): bounds a wait.
 */
export async function compare(wire, handle, passed, within) {
  let target;
  const behind = () => !!target && !passed(target, wire.last);
  try {
    const items = await wire.poll(wire.last ? { wait: 0, since: wire.last } : { wait: 0 });
    const news = items.filter(({ type }) => type === "event" || type === "lost");
    target = news.at(-1)?.id;
    // What is gone there may be on its way here: the wire will tell.
    if (news.every(({ type }) => type === "event")) for (const item of news) if (!wire.signal.aborted) handle(item);
    // It has a while to bring it too.
    await within(1, wire.signal, () => new Promise((done) => {
      wire.moved = () => behind() || done();
      wire.moved();
    }));
  } catch (error) {
    // Whatever our server says is an answer, and has a code; from the network's troubles nothing follows.
    if (!error.code) return;
  }
  wire.tell("answered", { behind: behind() });
}

/**
 * The wires on which nothing can be sent, SSE and long-polling, and how it is found out whether they bring all that there is. Loaded
 * by client.js when the first of them is opened, or a request is refused: where WebSocket works, seldom.
 *
 * All that works here is lent by client.js: a `wire` and, in `lent`, what it has itself.
 */

/** Reads the wire until it throws how that ended, or is over. `response`: of the stream; without one it is polled. */
export async function run(wire, lent, response) {
  if (!response) return poll(wire, lent);
  const body = response.body.getReader();
  const read = sseReader(lent.known);
  for (let part; !(part = await body.read()).done; ) wire.take(read(part.value));
}

/**
 * A reader of one event stream (WHATWG HTML 9.2.6): bytes -> items, however the bytes are cut. The fields `event`, `id`
 * and `retry` are for a plain EventSource: our items say the same in their JSON. `known` is that of client.js.
 */
export function sseReader(known) {
  // It drops a leading byte order mark, and keeps characters whole over borders.
  const utf8 = new TextDecoder();
  let rest = "";
  return (bytes) => {
    // A line ends with CR, LF or CRLF, so an empty one shows by two of these characters in a row that are not CRLF. If that was not
    // all of its end, the next block begins with an empty line, which means nothing.
    const blocks = (rest + utf8.decode(bytes, { stream: true })).split(/\r\r|\n[\r\n]/);
    rest = blocks.pop();
    if (rest.length > 2 ** 24) known(); // nothing of ours is so long
    return blocks.flatMap((block) => {
      const data = block.split(/[\r\n]/).flatMap((line) => /^data(?:$|: ?)(.*)/s.exec(line)?.[1] ?? []);
      return data.length ? known(data.join("\n"), true) : [];
    });
  };
}

/** Reads by one poll after the other. */
async function poll(wire, { clock, sleep, machine }) {
  // The first poll does not wait: its answer proves the wire. After that a poll is silent for a beat, as any wire is.
  // `spare`: polls that may be made in a row; then it is 20 a second. `hasty`: the last answer came empty, and sooner than asked for.
  for (let wait = 0, spare = 100, last = 0, hasty = false; ; wait = Math.min(wire.quiet ?? 60, machine().beat, 60)) {
    const asked = clock();
    spare = Math.min(100, spare + (asked - last) * 20) - 1;
    last = asked;
    const items = await wire.poll({ wait });
    wire.tell("answered");
    wire.take(items);
    // Without a pause a server that cannot wait would have us spin; one that goes answers early once.
    const least = items.every((item) => item.type === "beat") ? Math.min(wait, 1) : 0;
    const early = clock() - asked < least;
    await sleep(Math.max(hasty ? least : 0, -spare / 20) - clock() + asked, wire.signal);
    hasty = early;
  }
}

/** A refusal in our words, or whatever a proxy on the way had to say: the error that an answer is, which is no yes of ours. */
export async function refusal(response, { said, foreign, broken }) {
  const { ok, headers } = response;
  const status = response.status || 302;
  const html = !!headers.get("content-type")?.startsWith("text/html");
  const cause = { fact: "refused", status, via: headers.get("server") ?? headers.get("via") ?? "", html };
  if (ok) return foreign("the answer", cause);
  try {
    const body = await response.json();
    const error = said(body, cause);
    // The status of a path that is not served there is not the one of its code: no final word, another wire may do.
    if (body.code === 4400 && status !== 400) error.retry = undefined;
    return error;
  } catch {
    // No JSON, or somebody else's.
    const retry = Math.min(headers.get("retry-after"), 600) || undefined;
    return Object.assign(broken(`the way answered ${status}`), { retry, cause });
  }
}

/**
 * Has `wire` brought all that there is? A poll beside it knows, and the machine is told.
 *
 *   handle(item): takes an item, whichever wire brought it; passed(id, position): whether what is at `id` is known at `position`;
 *   within(seconds, signal, work): bounds a wait.
 */
export async function compare(wire, { handle, passed, within }) {
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

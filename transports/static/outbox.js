/**
 * What goes up. What is published: in order, each acknowledged, sent again under the same key until it is. And a newer token, over a
 * WebSocket that is open. Loaded by client.js with the first `publish`, or when what was shown expires; transports/outbox.py is the
 * first of it in Python.
 *
 * Letters wait in client.js, also before this is loaded. It ends them when their time is over or the stream is closed.
 */

// Commands in one request or frame, at the most; and characters of them: each may be three bytes of the server's 64 KiB.
const TOGETHER = 50;
const FRAME = 20_000;

const RETRY_LEAST = 0.1; // seconds; whatever a server says, we do not spin

const RATE_LIMITED = 4429;

const JSON_TYPE = "application/json";

// What commands are numbered from, apart from the questions of client.js.
let refs = 1e6 * Math.ceil(Math.random() * 1e9); // this part may be loaded twice: no ref is given twice

/**
 * Sends what waits until nothing does.
 *
 *   lent: as in client.js. Its `letters` are a Set of { channel, data, key, about, deadline, done }, where `data` is JSON, `deadline` is the
 *   time at which it is given up, and `done` is called when it has an `id`, or an `error` and no hope.
 */
export async function run(lent) {
  const { letters, live, options, closed, clock, within, wires, machine } = lent;
  const { random = Math.random } = options;
  const { backoff = 0.5, backoff_most = 20 } = options.pace ?? {};

  /** Ends those who cannot wait for so many seconds. */
  const giveUp = (seconds) => {
    for (const letter of letters) if (clock() + seconds > letter.deadline) end(letters, letter);
  };

  /** Waits, but no longer than until there is a connection again; if too much was said, that changes nothing. */
  const rest = async (seconds) => {
    giveUp(seconds);
    let off;
    await within(seconds, closed, (signal) => new Promise((done) => {
      if ([...letters].some(({ error }) => error?.code === RATE_LIMITED)) return;
      off = live.on("state", ({ state }) => state === "open" && done());
      globalThis.addEventListener?.("online", done, { signal });
    }));
    off?.();
  };

  for (let failures = 0; ; ) {
    giveUp(0);
    if (!letters.size || closed.aborted) break;
    try {
      // After a POST that did not come through it is a WebSocket's turn, if one works.
      const pause = await send(lent, bundle(letters), failures % 2 ? wires.get(machine().using) : null);
      failures = 0;
      if (pause) await rest(pause);
    } catch (error) {
      for (const letter of letters) letter.error = spoke(error) ? error : null;
      await rest(Math.max(error?.retry ?? random() * Math.min(backoff_most, backoff * 2 ** failures++), RETRY_LEAST));
    }
  }
}

/**
 * Shows on `wire` what the page has to show by now, in place of what expires. Throws when that does not hold, whyever: another connection
 * may do better, which shows cookies and all else besides.
 *
 *   bye: what the server told, that the time is near; what it has as `retry` has passed when this fails.
 *   stays: seconds that the server leaves.
 */
export async function renew(wire, { options, sleep, within }, bye, stays) {
  // As many as came together are told together: each has a while of its own to wait.
  await sleep(bye.retry, wire.signal);
  wire.signal.throwIfAborted();
  // Its turn has come: who has to leave after all need not wait once more.
  bye.retry = 0;
  const ref = ++refs;
  // In a third of the time that there is. Another connection takes some, too.
  const reply = await within(stays / 3, wire.signal, async (signal) => {
    const token = await options.token();
    return signal.aborted || wire.signal.aborted || new Promise((done) => {
      wire.replies.set(ref, done);
      wire.send(JSON.stringify({ do: "auth", ref, token }));
    });
  });
  if (!reply?.ok) throw new Error("not renewed");
}

/** Whether the server said so, and not the network: its refusals have a code, and a `retry` or null. */
const spoke = (error) => error?.retry !== undefined;

/** What goes together: the oldest, as many as fit. For a frame that is too large the server ends the wire. */
function bundle(letters) {
  let size = 0;
  const some = [];
  for (const letter of letters) {
    letter.text ??= written(letter);
    size += letter.text.length;
    if (some[0] && (some.length === TOGETHER || size > FRAME)) break;
    some.push(letter);
  }
  return some;
}

/** The command of a letter. Its data is JSON already: what the page does with it after its call changes nothing. */
function written(letter) {
  const { channel, data, about, key = crypto.getRandomValues(new Uint32Array(3)).join("") } = letter;
  letter.ref = ++refs;
  const command = JSON.stringify({ do: "publish", ref: letter.ref, channel, key, about });
  return data === undefined ? command : `${command.slice(0, -1)},"data":${data}}`;
}

/** Takes a letter out, with what became of it. */
function end(letters, letter, more) {
  letters.delete(letter);
  Object.assign(letter, more);
  letter.done();
}

/**
 * Sends some, and ends those that are answered for good -> seconds until the server wants the others again, 0 if there are none.
 * Throws what else went wrong: they may have been published.
 */
async function send(lent, some, wire) {
  const { letters, closed, clock, within, request, said, tell, options } = lent;
  const body = `[${some.map(({ text }) => text)}]`;
  const up = wire?.send && body.length < 1.1 * FRAME;

  const upTheWire = () => {
    const replies = some.map(({ ref }) => new Promise((done) => wire.replies.set(ref, done)));
    wire.send(body);
    return Promise.all(replies);
  };
  const byPost = async (signal) => {
    const init = { method: "POST", body: new Blob([body], { type: JSON_TYPE }), signal };
    return (await request("commands", {}, JSON_TYPE, init)).json();
  };

  let pause = 0;
  try {
    const seconds = Math.min(options.pace?.post ?? 10, some[0].deadline - clock());
    const replies = await (up ? within(seconds, wire.signal, upTheWire) : within(seconds, closed, byPost));
    if (replies.length !== some.length) throw new Error("not one reply to each command");
    if (!up) tell("http_ok");
    replies.forEach((reply, i) => {
      const error = reply.ok ? null : said(reply);
      if (typeof error?.retry === "number") {
        some[i].error = error;
        pause = Math.max(pause, error.retry, RETRY_LEAST);
      } else end(letters, some[i], error ? { error } : { id: reply.id });
    });
  } catch (error) {
    if (!up) tell(spoke(error) ? "http_ok" : "http_failed");
    if (error?.retry !== null) throw error;
    // Of several, perhaps not all are refused.
    if (some[1]) for (const letter of some) pause = Math.max(pause, letters.has(letter) && (await send(lent, [letter], wire)));
    else end(letters, some[0], { error });
  }
  return pause;
}

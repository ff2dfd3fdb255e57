/**
 * everywire in the browser and in Node: one ordered event stream over WebSocket, Server-Sent Events or long-polling.
 *
 *   const live = connect("/live", { channels: ["clock"] });
 *   live.on("state", (s) => (note.textContent = s.sentence));
 *   for await (const event of live) show(event.data);
 *
 * Three rooms. Readers turn bytes into items. Wires carry one connection each and know nothing of the others. `connect`
 * keeps the position, judges what a wire brings, and opens the next one from there. A resume, a poll, a reconnect and a
 * change of wire are the same act: "read on from this position".
 *
 * The wire protocol is docs/reference/protocol.md; the types are in client.d.ts.
 */

/** What went wrong, in the words of the protocol. `retry`: seconds to wait, null: do not come back, undefined: not said. */
export class LiveError extends Error {
  constructor({ code = 0, name = "unreachable", reason, retry }) {
    super(reason || name);
    Object.assign(this, { code, name, retry });
  }
}

const BROKE = "the connection broke";
const foreign = (what) => new LiveError({ name: "not_everywire", reason: `${what} is not everywire` });

// ---------------------------------------------------------------------------------------------------------- readers

const TYPES = ["hello", "event", "beat", "lost", "reply", "bye"];

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw foreign("what came");
  }
}

/** The items that we know. Other types are of a later version; what is no item at all is not ours. */
function known(batch) {
  if (!Array.isArray(batch) || batch.some((item) => typeof item?.type !== "string")) throw foreign("what came");
  return batch.filter((item) => TYPES.includes(item.type));
}

/**
 * A reader of one event stream (WHATWG HTML 9.2.6): bytes -> items, however the bytes are cut. The fields `event`, `id`
 * and `retry` are for a plain EventSource: our items say the same in their JSON.
 */
export function sseReader() {
  const utf8 = new TextDecoder(); // drops a leading byte order mark, and keeps characters whole over borders
  let line = "";
  let data = null;
  let afterCr = false;
  return (bytes) => {
    let text = utf8.decode(bytes, { stream: true });
    if (text === "") return []; // less than a character
    if (afterCr) text = text.replace(/^\n/, ""); // CRLF over a border: the line ended at the CR
    afterCr = text.endsWith("\r");
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = line + lines[0];
    line = lines.pop();
    const items = [];
    for (const each of lines) {
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(each);
      if (each === "") {
        if (data !== null) items.push(...known([parse(data)]));
        data = null;
      } else if (field === "data") data = data === null ? value : `${data}\n${value}`;
    }
    return items;
  };
}

/** "k3f9.1042" -> { epoch: "k3f9", offset: 1042 }, or null for what is no position. */
export function parsePosition(text) {
  const [, epoch, digits] = /^([A-Za-z0-9]{1,16})\.(0|[1-9][0-9]{0,15})$/.exec(text) ?? [];
  return Number.isSafeInteger(+digits) ? { epoch, offset: +digits } : null;
}

/** Whether a reader standing at `position` already has what `id` names. Only offsets of one epoch can be compared. */
function passed(id, position) {
  const [a, b] = [parsePosition(id), parsePosition(position)];
  return a !== null && b !== null && a.epoch === b.epoch && a.offset <= b.offset;
}

// ------------------------------------------------------------------------------------------------------------ wires

/**
 * A wire reads one connection: `take(items)` for all that comes, until it throws how that ended; a plain return is an end
 * without a word. When `signal` fires it lets go at once.
 *
 *   link = { url(path, extra), get(path, extra), take(items), beat(), signal, WebSocket }
 */
const WIRES = {
  websocket(link) {
    return new Promise((resolve, reject) => {
      const socket = new link.WebSocket(link.url("ws").replace(/^http/, "ws"), ["everywire.v1.json"]);
      let sent = performance.now();
      link.signal.addEventListener("abort", () => {
        socket.onmessage = socket.onclose = null;
        socket.close();
        reject(link.signal.reason);
      });
      socket.onmessage = ({ data }) => {
        try {
          link.take(known(parse(data)));
        } catch (error) {
          return reject(error);
        }
        // The server's own beat is our clock: unlike a timer it is not slowed down in a hidden tab. Half a beat, since an
        // item may come a moment too early for a whole one: we are silent for one and a half at most, of two and a half.
        if (performance.now() - sent < link.beat() * 500) return;
        sent = performance.now();
        socket.send('{"do":"ping","ref":0}');
      };
      socket.onclose = ({ code, reason }) => reject(ended(code, reason));
    });
  },

  async sse(link) {
    const response = await link.get("sse");
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) throw foreign("the answer");
    const body = response.body.getReader();
    const read = sseReader();
    for (let part; !(part = await body.read()).done; ) link.take(read(part.value));
  },

  async longpoll(link) {
    // The first poll does not wait: its answer proves the wire. After that a poll is silent for a beat, as any wire is.
    for (let wait = 0; ; wait = Math.min(link.beat(), 60)) {
      const asked = performance.now();
      const response = await link.get("poll", { wait });
      const items = known(parse(await response.text()));
      link.take(items);
      // Nothing, and sooner than asked for: without a pause a server that cannot wait would have us spin.
      const early = wait && items.every((item) => item.type === "beat") ? Math.min(wait, 1) : 0;
      await sleep(early - (performance.now() - asked) / 1000, link.signal);
    }
  },
};

/** A close code without a `bye`: 44xx means "change something", but for three that only mean "later". */
function ended(code, reason) {
  const final = code >= 4400 && code < 4500 && ![4408, 4429, 4430].includes(code);
  return new LiveError({ code, name: "closed", reason: reason || BROKE, retry: final ? null : undefined });
}

/** A refusal in our words, or whatever a proxy on the way had to say. */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  // The status of a path that is not served there is not the one of its code: no final word, another wire may do.
  if (typeof body?.code === "number" && !(body.code === 4400 && response.status !== 400)) return new LiveError({ retry: null, ...body });
  const retry = Number(response.headers.get("retry-after")) || undefined;
  return new LiveError({ reason: `the way to the server answered ${response.status}`, retry });
}

/** Does `work(signal)`, whose signal fires after `seconds` or together with `parent`. Leaves no timer behind. */
async function within(seconds, parent, work) {
  const cutter = new AbortController();
  const cut = () => cutter.abort(parent.reason);
  const timer = setTimeout(cut, seconds * 1000);
  parent.addEventListener("abort", cut);
  if (parent.aborted) cut();
  try {
    return await work(cutter.signal);
  } finally {
    clearTimeout(timer);
    parent.removeEventListener("abort", cut);
  }
}

const sleep = (seconds, parent) =>
  seconds > 0 && !parent.aborted
    ? within(seconds, parent, (signal) => new Promise((resolve) => signal.addEventListener("abort", resolve)))
    : undefined;

// ---------------------------------------------------------------------------------------------------------- connect

const LABELS = { websocket: "WebSocket", sse: "SSE", longpoll: "long-polling" };

const PACE = {
  proof: 5, // seconds in which a wire must bring a first item
  least: 0.5, // seconds: the first reconnect comes within this
  most: 20, // seconds: and no later one waits longer
  answer: 10, // seconds for the answer to a published event
  insist: 100, // seconds to go on publishing under one key: the server remembers it for 120
  lag: 10_000, // events that a `for await` loop may be behind
};

/** Opens a stream of events and keeps it open. See client.d.ts for the options and for what comes back. */
export function connect(mount, options = {}) {
  const { channels = [], transport = "auto", since = null, random = Math.random } = options;
  if (!Array.isArray(channels) || !channels.length) throw new TypeError("channels is a list of names");
  if (transport !== "auto" && !WIRES[transport]) throw new TypeError(`no transport named '${transport}'`);
  const fetch = options.fetch ?? globalThis.fetch;
  const pace = { ...PACE, ...options.pace };
  const base = new URL(String(mount).replace(/\/*$/, "/"), globalThis.location?.href);

  const listeners = { state: new Set(), event: new Set(), lost: new Set(), transport: new Set(), error: new Set() };
  const lost = new Map(); // channel -> the position through which its loss has been told
  const loops = new Set(); // the queues of the `for await` loops
  const closing = new AbortController();
  let [state, sentence, proven, position, failure] = ["idle", "Not connected yet.", null, since, null];
  let beat = 15;
  let cutter = null; // ends the wire that is being read
  let rouser = new AbortController(); // ends the wait before the next one

  function emit(type, detail) {
    for (const fn of [...listeners[type]]) {
      try {
        fn(detail);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error); // the listener's defect, and none of the stream's
      }
    }
  }

  function announce(next, words) {
    if (state === "closed" || state === "failed" || (next === state && words === sentence)) return;
    [state, sentence] = [next, words];
    emit("state", { state, transport: proven, sentence });
  }

  function end(next, words, error = null) {
    if (closing.signal.aborted) return;
    failure = error;
    closing.abort(error ?? new LiveError({ code: 1000, name: "closed", reason: "closed", retry: null }));
    cutter?.abort(closing.signal.reason);
    rouse();
    for (const type of ["online", "pageshow"]) globalThis.removeEventListener?.(type, rouse);
    for (const queue of loops) queue.wake?.();
    announce(next, words);
  }

  const rouse = () => rouser.abort();
  const pause = (seconds) => closing.signal.aborted || sleep(seconds, (rouser = new AbortController()).signal);
  const lagging = (least = pace.lag) => [...loops].some((queue) => queue.length >= least);

  /** What each item means to the position, and who is told. Throws when the wire is of no more use. */
  function handle(item) {
    const repeat = passed(item.id, position);
    if (item.type === "bye") throw new LiveError({ retry: null, ...item });
    if (item.type === "hello") {
      if (item.beat > 0) beat = item.beat;
      // Our position got lost on the way: reading on would be a gap that nobody declares.
      if (position !== null && item.resumed === "fresh") throw foreign("a stream that begins elsewhere");
      position ??= item.id;
    } else if (item.type === "beat") {
      if (!repeat) position = item.id;
    } else if (item.type === "lost") {
      // From another life of the log, or ahead of it, we go to where the server says, backwards too.
      if (item.reason !== "evicted" || !repeat) position = item.id;
      // One who came back before the end of a loss is told of it again: only what is new goes on to the page.
      const told = item.reason === "future" ? null : lost.get(item.channel) ?? null;
      if (passed(item.through, told)) return;
      lost.set(item.channel, item.through);
      emit("lost", passed(item.after, told) ? { ...item, after: told } : item);
    } else if (item.type === "event" && !repeat) {
      position = item.id;
      for (const queue of loops) {
        queue.push(item);
        queue.wake?.();
      }
      emit("event", item);
      if (lagging()) throw new LiveError({ name: "lagging", reason: "this reader is too far behind" });
    }
  }

  /** Reads one wire to its end -> { error, opened, progress }. */
  async function attempt(name) {
    const { signal } = (cutter = new AbortController());
    const began = performance.now();
    let [heard, opened, progress, timer] = [began, false, false, 0];

    // A timer that looks at the clock when it fires costs nothing per item, and one that fires late does no harm.
    function watch() {
      clearTimeout(timer);
      const left = heard + (opened ? 2 * beat : pace.proof) * 1000 - performance.now();
      if (left > 0) timer = setTimeout(watch, left);
      else cutter.abort(new LiveError({ code: 4408, name: "silent", reason: opened ? "nothing came any more" : "nothing came" }));
    }
    watch();

    const url = (path, extra) => {
      const target = new URL(path, base);
      const query = { channels: channels.join(","), ...(position !== null && { since: position }), ...extra };
      for (const [key, value] of Object.entries(query)) target.searchParams.set(key, value);
      target.searchParams.set("_", unique()); // some caches do not know `no-store`
      return target.href;
    };
    const link = {
      url,
      signal,
      beat: () => beat,
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      async get(path, extra) {
        const response = await fetch(url(path, extra), { signal, cache: "no-store" });
        if (!response.ok) throw await refusal(response);
        return response;
      },
      take(items) {
        if (signal.aborted) return;
        if (opened || items.length) heard = performance.now();
        const first = !opened;
        for (const item of items) {
          if (!opened && item.type !== "bye") {
            opened = true;
            if (name !== proven) emit("transport", { transport: (proven = name) });
            announce("open", `Live over ${LABELS[name]}.`);
          }
          if (signal.aborted) return; // by a listener
          handle(item);
          progress ||= item.type !== "hello";
        }
        if (first) watch(); // from now on by the server's beat
      },
    };
    let error;
    try {
      await WIRES[name](link);
      error = new LiveError({ reason: "the connection ended" });
    } catch (thrown) {
      const known = signal.aborted ? signal.reason : thrown;
      error = known instanceof LiveError ? known : new LiveError({ reason: BROKE });
    } finally {
      clearTimeout(timer);
      cutter.abort(error); // whatever is left of the wire
    }
    return { error, opened, progress: progress || (opened && performance.now() - began > pace.proof * 1000) };
  }

  /** Which wires to try in this round, best first: the one that worked before, alone, unless it keeps failing. */
  function round(failures) {
    if (transport !== "auto") return [transport];
    if (proven && failures < 3) return [proven];
    return [...new Set([proven ?? "websocket", ...Object.keys(WIRES)])];
  }

  async function run() {
    let last;
    for (let failures = 0; !closing.signal.aborted; failures++) {
      for (const name of round(failures)) {
        announce(proven ? "reconnecting" : "connecting", `${proven ? "Reconnecting" : "Connecting"} over ${LABELS[name]}.`);
        if (closing.signal.aborted) return;
        last = await attempt(name);
        if (!closing.signal.aborted) emit("error", last.error);
        if (closing.signal.aborted) return;
        // It worked, or the server spoke: another wire would know nothing better.
        if (last.opened || last.error.retry !== undefined) break;
      }
      const { error, progress } = last;
      const reason = error.message;
      if (error.retry === null) {
        if (error.code === 1000) return end("closed", "Closed by the server.");
        return end("failed", `Refused: ${reason} (${error.code} ${error.name}).`, error);
      }
      if (progress) failures = 0;
      if (error.name === "lagging") {
        announce("reconnecting", "This reader is too far behind; going on when it has caught up.");
        while (lagging((pace.lag >> 1) + 1) && !closing.signal.aborted) await pause(pace.most);
        continue;
      }
      // Full jitter, so that the clients of a server that restarts do not come back as one crowd.
      const delay = Math.max(error.retry ?? random() * Math.min(pace.most, pace.least * 2 ** failures), 0.01);
      const offline = globalThis.navigator?.onLine === false;
      announce(
        offline ? "offline" : proven ? "reconnecting" : "connecting",
        offline ? "This device is offline; going on when it is back." : `${reason[0].toUpperCase() + reason.slice(1)}; trying again in ${delay.toFixed(1)} s.`,
      );
      await pause(delay);
    }
  }

  const live = {
    get state() { return state; },
    get transport() { return proven; },
    get position() { return position; },

    on(type, fn) {
      listeners[type].add(fn);
      return () => listeners[type].delete(fn);
    },

    async *[Symbol.asyncIterator]() {
      const queue = [];
      loops.add(queue);
      try {
        for (;;) {
          while (queue.length) {
            yield queue.shift();
            if (queue.length === pace.lag >> 1 && cutter.signal.reason?.name === "lagging") rouse();
          }
          if (failure) throw failure;
          if (closing.signal.aborted) return;
          await new Promise((resolve) => { queue.wake = resolve; });
        }
      } finally {
        loops.delete(queue);
      }
    },

    /** Always by POST: it works beside every wire, and the key makes a second try harmless. */
    async publish(channel, data, { key = unique() } = {}) {
      const body = JSON.stringify({ do: "publish", ref: 0, channel, data, key });
      const request = { method: "POST", headers: { "Content-Type": "application/json" }, cache: "no-store", body };
      const deadline = performance.now() + pace.insist * 1000;
      for (let failures = 0, error; !closing.signal.aborted; failures++) {
        try {
          const reply = await within(pace.answer, closing.signal, async (signal) => {
            const response = await fetch(new URL("commands", base).href, { ...request, signal });
            if (!response.ok) throw await refusal(response);
            return (await response.json())[0];
          });
          if (reply.ok) return reply.id;
          throw new LiveError({ retry: null, ...reply });
        } catch (thrown) {
          error = thrown instanceof LiveError && thrown.code ? thrown : new LiveError({ reason: "the server could not be reached" });
          if (error.retry === null) throw error; // the server's last word
        }
        const delay = Math.max(error.retry ?? random() * Math.min(pace.most, pace.least * 2 ** failures), 0.01);
        if (performance.now() + delay * 1000 > deadline) throw error;
        await sleep(delay, closing.signal);
      }
      throw closing.signal.reason;
    },

    /** For demonstrations: lets the wire drop without a word, as a broken network would, and stays away for `seconds`. */
    cut(seconds = 0) {
      cutter?.abort(new LiveError({ name: "cut", reason: "the wire was cut", retry: seconds }));
    },

    close() {
      end("closed", "Closed.");
    },
  };

  for (const type of ["online", "pageshow"]) globalThis.addEventListener?.(type, rouse);
  queueMicrotask(run); // after the caller's own line: its listeners hear everything
  return live;
}

const unique = () => [...crypto.getRandomValues(new Uint32Array(3))].map((n) => n.toString(36)).join("");

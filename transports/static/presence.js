/**
 * Who is there: `present` takes a lease on being in a channel and renews it, `members` follows who is in it. A module of its own,
 * beside client.js; what it needs of a stream is that it has a `position` and calls listeners.
 *
 *   import { connect } from "/live/client.js";
 *   import { members, present } from "/live/presence.js";
 *
 *   const live = connect("/live", { channels: ["lobby", "presence:lobby"] });
 *   const stay = present("/live", "lobby", { as: "ann", data: { mood: "fine" } });
 *   members(live, "/live", "lobby", (list) => show(list.map(({ as }) => as)));
 */

const LASTS = 45; // seconds of a lease, until a server says for how long it was taken
const AGAIN = 1; // seconds, about, until what did not come through is sent again
const LEAST = 0.05; // seconds between two renewals, whatever a server says
const PATIENCE = 10; // seconds for an answer

/** Asks the mount for `path` -> what it says as JSON. Throws a RefusedError, or whatever the network throws. */
async function ask(mount, path, options, init = {}) {
  const { fetch = globalThis.fetch, token } = options;
  const base = typeof mount === "function" ? await mount() : mount;
  const shown = typeof token === "function" ? await token() : token;
  const headers = { ...init.headers, ...(shown && { authorization: `Bearer ${shown}` }) };
  const response = await fetch(`${String(base).replace(/\/+$/, "")}/${path}`, {
    signal: AbortSignal.timeout(PATIENCE * 1000), cache: "no-store", ...init, headers,
  });
  const body = await response.json();
  if (!response.ok) throw refused(body);
  return body;
}

/** What the server says no with; its `retry` is null when it is no use to ask again. */
export class RefusedError extends Error {
  constructor({ code, name, reason, retry }) {
    super(`${code} ${name}: ${reason}`);
    Object.assign(this, { code, name, retry: retry ?? null });
  }
}

const refused = (said) => (typeof said?.code === "number" ? new RefusedError(said) : new Error("not an answer of everywire's"));

/** Whether the server said so for good. */
const final = (error) => error instanceof RefusedError && error.retry === null;

/**
 * Is present in `channel` under the name `as`, until `leave`: the lease is renewed after a third of it, sent again when it does not
 * come through, and given up when the page goes. A page that comes back from the browser's cache takes it anew.
 */
export function present(mount, channel, options) {
  const { as, random = Math.random } = options;
  const lease = Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join("");
  let { data = null } = options;
  let timer;
  let over = false;
  let version = 0; // of what is said: an answer to what was said before it does not count
  let ready;
  let failed;
  const joined = new Promise((resolve, reject) => ([ready, failed] = [resolve, reject]));
  joined.catch(() => {}); // who does not ask is not told

  const send = async (more, init) => {
    const command = { do: "present", ref: 1, channel, as, lease, ...more };
    const headers = { "content-type": "application/json" };
    const [reply] = await ask(mount, "commands", options, { method: "POST", headers, body: JSON.stringify(command), ...init });
    if (!reply?.ok) throw refused(reply);
    return reply.for ?? LASTS;
  };

  async function renew() {
    clearTimeout(timer);
    const mine = ++version;
    let pause;
    try {
      pause = (await send({ data })) / 3;
      ready();
    } catch (error) {
      if (final(error)) {
        if (mine === version) end(error);
        return;
      }
      pause = (error.retry ?? AGAIN) * (0.5 + random());
    }
    if (mine === version && !over) timer = setTimeout(renew, Math.max(pause, LEAST) * 1000);
  }

  const giveUp = () => {
    clearTimeout(timer);
    version++;
    return send({ for: 0 }, { keepalive: true }).catch(() => {}); // the lease ends anyway
  };
  const back = ({ persisted }) => persisted && !over && renew();

  function end(error) {
    over = true;
    clearTimeout(timer);
    globalThis.removeEventListener?.("pagehide", giveUp);
    globalThis.removeEventListener?.("pageshow", back);
    globalThis.removeEventListener?.("online", renew);
    failed(error);
    options.refused?.(error);
  }

  globalThis.addEventListener?.("pagehide", giveUp);
  globalThis.addEventListener?.("pageshow", back);
  globalThis.addEventListener?.("online", renew);
  renew();

  return {
    joined,
    say(said) {
      data = said;
      if (!over) renew();
    },
    async leave() {
      if (over) return;
      over = true;
      globalThis.removeEventListener?.("pagehide", giveUp);
      globalThis.removeEventListener?.("pageshow", back);
      globalThis.removeEventListener?.("online", renew);
      failed(new Error("left"));
      await giveUp();
    },
  };
}

/** `k3f9.1042` -> its epoch and its offset. */
const parts = (id) => [id.slice(0, id.lastIndexOf(".")), Number(id.slice(id.lastIndexOf(".") + 1))];

/** Whether a list at the position `at` knows of the event `id`. */
function knows(at, id) {
  const [epoch, offset] = parts(at);
  const [other, theirs] = parts(id);
  return epoch === other && theirs <= offset;
}

/**
 * Follows who is in `channel`: calls `show` with the members, sorted by `as`, at first and whenever something has changed. `live` reads
 * `presence:<channel>`. Returns a function that ends it.
 */
export function members(live, mount, channel, show, options = {}) {
  const { random = Math.random } = options;
  let known = null; // as -> member; null while it is not known who is there
  let at; // the position at which that is so
  let waiting = []; // events that came meanwhile
  let timer;
  let asked = 0; // which question counts
  let over = false;

  const take = ({ id, data }) => {
    if (knows(at, id)) return false;
    at = id;
    const { change, as, visit } = data;
    if (change !== "left") return known.set(as, { as, at: data.at, data: data.data, visit });
    return known.get(as)?.visit === visit && known.delete(as);
  };
  const tell = () => show([...known.values()].sort((one, other) => (one.as < other.as ? -1 : 1)));

  async function fetchAll() {
    const mine = ++asked;
    clearTimeout(timer);
    known = null;
    waiting = [];
    try {
      const list = new Map();
      let first;
      let page;
      do {
        const query = new URLSearchParams();
        if (live.position) query.set("since", live.position); // not older than what has been read
        if (page) query.set("after", page.next);
        page = await ask(mount, `presence/${encodeURIComponent(channel)}?${query}`, options);
        first ??= page.id;
        for (const member of page.members) list.set(member.as, member);
      } while (page.next && mine === asked);
      if (mine !== asked) return;
      [known, at] = [list, first];
      waiting.forEach(take);
      tell();
    } catch (error) {
      if (mine !== asked) return;
      if (final(error)) options.refused?.(error);
      else timer = setTimeout(fetchAll, (error.retry ?? AGAIN) * (0.5 + random()) * 1000);
    }
  }

  const name = `presence:${channel}`;
  const ends = [
    live.on("event", (event) => {
      if (event.channel !== name) return;
      if (!known) waiting.push(event);
      else if (take(event)) tell();
    }),
    live.on("lost", (lost) => lost.channel === name && fetchAll()),
  ];
  fetchAll();
  return () => {
    if (over) return;
    over = true;
    asked++;
    clearTimeout(timer);
    for (const end of ends) end();
  };
}

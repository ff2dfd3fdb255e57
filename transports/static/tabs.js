/**
 * One connection for all tabs: loaded by client.js for `share: true`, where connections are short.
 *
 * A browser opens six connections to a server over HTTP/1.x, for all its tabs together: with the seventh tab a page would hang.
 * So one tab leads, the one that holds a lock, for as long as its wire lives. It reads the wire and broadcasts what comes,
 * each batch with `prev`, the position of the wire before it. The others follow. They catch up by polls that do not wait, and from
 * then on take the batches that join on to what they have. What does not, or tells of a loss, sends them to catch up again: so it
 * does no harm when a batch gets lost, comes late, or comes twice. When the lock is free, because the leader's tab was closed or
 * its wire has ended, a follower gets it and opens the wire from where it stands. When the leader's wire moves, or is doubted, the
 * new one leads beside it, and the lock stays where it is.
 *
 * The machine is told nothing of all this: a follower's wire looks to it like any other.
 */

// Per client, and per what is read: those of its wires that lead.
const leading = new WeakMap();

/** Whether connections are short: so they are unless the browser says that it reached the server over a later HTTP. */
function short(origin) {
  const entry = performance.getEntries().findLast(({ name, nextHopProtocol }) => nextHopProtocol && name.startsWith(origin));
  return !/^h[23]/.test(entry?.nextHopProtocol);
}

/**
 * Runs `wire`, by `direct` or by what another tab reads, until it throws how that ended.
 *
 *   wire, lent: as in client.js; direct: what opens the connection; place: what is read, the same for all tabs that read the same;
 *   root: the URL of the mount.
 */
export async function run(wire, lent, direct, place, root) {
  if (!globalThis.navigator?.locks || !globalThis.BroadcastChannel || !short(root.origin)) return direct(wire);
  const { signal } = wire;
  const name = `${place} ${wire.rung}`;
  const channel = new BroadcastChannel(name);
  signal.addEventListener("abort", () => channel.close());
  const ours = leading.get(lent) ?? leading.set(lent, new Map()).get(lent);
  const own = ours.get(name) ?? ours.set(name, new Set()).get(name);
  const begin = () => lead(wire, direct, channel, own);
  if (own.size) return begin();

  /** What becomes of `work`, once the lock is ours; false if it is not free. It is kept as long as any of our wires leads. */
  const locked = (options, work) => new Promise((resolve, reject) => {
    const holding = navigator.locks.request(name, options, async (lock) => {
      if (!lock) return resolve(false);
      work().then(() => resolve(true), reject);
      while (own.size) await Promise.allSettled(own);
    });
    holding.catch(reject);
  });

  // No lock was free: somebody leads.
  if (!(await locked({ ifAvailable: true }, begin))) {
    const stop = new AbortController();
    // Whoever waits first is the next to lead. What was read until then is read.
    const turn = locked({ signal }, () => (stop.abort(), begin()));
    await Promise.race([turn, follow(wire, lent, channel, stop.signal)]);
    await turn;
  }
}

/** Reads the wire, and tells the other tabs what comes. */
async function lead(wire, direct, channel, own) {
  if (wire.signal.aborted) return;
  channel.onmessage = null;
  const take = (items) => {
    const prev = wire.last ?? wire.since;
    wire.take(items);
    // A hello and a reply are ours alone. So is a bye: each tab is told by its own connection how things stand.
    const theirs = items.filter(({ type }) => type === "event" || type === "beat" || type === "lost");
    if (theirs.length && prev !== null && !wire.signal.aborted) channel.postMessage({ prev, items: theirs });
  };
  const reading = direct({ ...wire, take });
  own.add(reading);
  try {
    await reading;
  } finally {
    own.delete(reading);
  }
}

/** Takes what the leader brings, until there is none any more. Throws when catching up fails. */
function follow(wire, { passed, live }, channel, stop) {
  let waiting = [];
  let catching = false;

  const joins = ({ prev, items }) => passed(prev, live.position) && items.every((item) => item.type !== "lost");

  return new Promise((resolve, reject) => {
    async function catchUp() {
      if (catching) return;
      catching = true;
      let before;
      let items;
      do {
        // What the leader got before this question is in the log, and so in the answer.
        before = waiting.length;
        items = await wire.poll({ wait: 0 });
        if (stop.aborted) return;
        wire.tell("answered");
        wire.take(items);
        // Under a stream of events there would always be something new: it is enough when the batches join on.
      } while (items.some(({ type }) => type !== "beat") && !(waiting[0] && joins(waiting[0])));
      if (items.every(({ type }) => type === "beat")) waiting = waiting.slice(before);
      catching = false;
      drain();
    }

    const drain = () => {
      try {
        while (!catching && waiting[0] && !stop.aborted) {
          if (!joins(waiting[0])) return void catchUp().catch(reject);
          wire.take(waiting.shift().items);
        }
      } catch (error) {
        reject(error);
      }
    };

    stop.addEventListener("abort", resolve);
    wire.signal.addEventListener("abort", () => reject(wire.signal.reason));
    channel.onmessage = ({ data }) => {
      // Any page of this origin may speak here.
      if (!Array.isArray(data?.items)) return;
      waiting.push(data);
      drain();
    };
    catchUp().catch(reject);
  });
}

/**
 * A random but plausible walk of facts through the browser client's machine: node wander.js SEED COUNT
 *
 * Prints {"state": …} and then, per step, {"now", "luck", "fact", "state", "do"}: a log with what came of it, for the machine in
 * the other language to replay. What it tells of wires is mostly of wires that are open, and ticks come mostly when they are due.
 */

// EVERYWIRE_CLIENT: another module to test, such as what is served.
const { initial, step } = await import(process.env.EVERYWIRE_CLIENT ?? "../../transports/static/client.js");

const [seed, count] = process.argv.slice(2).map(Number);

/** mulberry32: the same walk for the same seed, everywhere. */
let roll = seed >>> 0;
function random() {
  roll = (roll + 0x6d2b79f5) >>> 0;
  let t = Math.imul(roll ^ (roll >>> 15), roll | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

const pick = (list) => list[Math.floor(random() * list.length)];
const chance = (share) => random() < share;
const RUNGS = ["websocket", "sse", "longpoll"];

let now = 1_763_850_000 + Math.floor(random() * 1e6) / 64;
let state = initial(chance(0.8) ? RUNGS : [pick(RUNGS)], {
  held: ["sse"],
  ...(chance(0.3) && {
    bad: { [pick(RUNGS)]: { verdict: "refused_http", until: now + 300, retest: now + 10, delay: 30, status: 403, via: "squid" } },
    quiet: 9,
    quiet_until: now + 100,
  }),
});

const ends = () => ({
  retry: chance(0.3) ? random() * 5 : null,
  final: chance(0.01),
  ...(chance(0.3) && pick([
    { code: 4503, name: "draining", reason: "the server is stopping" },
    { code: 4429, name: "rate_limited", reason: "éclair: too many" },
    { code: 1000, name: "closed", reason: "the end" },
  ])),
});

const OF_A_WIRE = [
  (wire) => ({ fact: "opened", wire }),
  (wire) => ({ fact: "opened", wire }),
  (wire) => ({ fact: "item", wire, ...(chance(0.3) && { beat: 1 + Math.floor(random() * 20) }) }),
  (wire) => ({ fact: "item", wire }),
  (wire) => ({ fact: "item", wire }),
  (wire) => ({ fact: "answered", wire, ...(chance(0.1) && { behind: true }) }),
  (wire) => ({ fact: "answered", wire }),
  (wire) => ({ fact: "answered", wire }),
  (wire) => ({ fact: "leaving", wire, retry: random() * random() * 20 }),
  (wire) => ({ fact: "refused", wire, status: pick([200, 302, 403, 404, 405, 407, 426, 502, 503, 511]), html: chance(0.5), via: pick(["", "squid/6"]), ...ends() }),
  (wire) => ({ fact: "closed", wire, how: pick(["", "", "", "not_ours", "unsupported", "tls_error"]), ...ends() }),
];

const OF_THE_WORLD = [
  () => ({ fact: "http_ok" }),
  () => ({ fact: "http_failed" }),
  () => ({ fact: "online", same: chance(0.5) }),
  () => ({ fact: "online" }),
  () => ({ fact: "offline", ...(chance(0.4) && { let_go: true, reason: pick(["", "ßleep of the page"]) }) }),
  () => ({ fact: "hidden" }),
  () => ({ fact: "shown" }),
  () => ({ fact: "prefer", rung: pick([...RUNGS, "pigeon"]) }),
];

function next(place) {
  if (state.state === "idle" && chance(0.5)) return { fact: "start" };
  if (chance(0.002)) return { fact: "stop" };
  if (chance(0.08)) return pick(OF_THE_WORLD)();
  const wires = state.wires.filter((wire) => wire.phase !== "waiting");
  if (wires.length && chance(0.65)) return pick(OF_A_WIRE)(chance(0.97) ? pick(wires).number : Math.floor(random() * 20));
  // Now and then one that is early, and one that is very late: the process slept.
  if (state.due !== null) now = chance(0.9) ? Math.max(now, state.due) : chance(0.5) ? Math.max(now, state.due + random() * 200) : now;
  return { fact: "tick" };
}

const lines = [JSON.stringify({ state })];
for (let place = 0; place < count; place++) {
  if (chance(0.7)) now += random() * random() * pick([0.2, 2, 20]);
  const fact = next(place);
  const luck = random();
  let todo;
  [state, todo] = step(state, fact, now, luck);
  lines.push(JSON.stringify({ now, luck, fact, state, do: todo }));
  // A walk that has come to its end goes on from another start.
  if (state.state === "closed" || state.state === "failed") state = initial(RUNGS, { held: ["sse"] });
}
process.stdout.write(`${lines.join("\n")}\n`);

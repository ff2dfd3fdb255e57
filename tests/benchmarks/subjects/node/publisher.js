// The publisher inside the subjects that run on Node: the same as `publisher.py`.
import { createInterface } from "node:readline";

const turn = () => new Promise(setImmediate);
const pause = (ms) => new Promise((done) => setTimeout(done, Math.max(1, ms)));
const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");
const now = () => process.hrtime.bigint(); // nanoseconds of CLOCK_MONOTONIC

/** The data of event `n`, due at `due`: `size` bytes, when JSON is made of it. */
export function event(n, due, size) {
  const bare = { n, t: Number(due), pad: "" };
  return { ...bare, pad: "x".repeat(size - JSON.stringify(bare).length) };
}

async function offer({ rate, seconds, size }, publish) {
  const total = Math.round(rate * seconds);
  const began = now();
  const gap = 1e9 / rate;
  let sent = 0;
  while (sent < total) {
    const due = Math.min(total, Math.floor(Number(now() - began) / gap) + 1);
    const late = due > sent;
    for (; sent < due; sent++) publish(event(sent, began + BigInt(Math.floor(sent * gap)), size));
    await (late ? turn() : pause((sent * gap - Number(now() - began)) / 1e6));
  }
  return sent;
}

async function oneByOne({ seconds, size }, publish) {
  const until = now() + BigInt(Math.round(seconds * 1e9));
  let sent = 0;
  for (; now() < until; sent++) {
    publish(event(sent, now(), size));
    await turn();
  }
  return sent;
}

/** Say where the subject listens, then do what standard input says, until it ends. */
export async function obey(publish, port, paths = {}) {
  say({ listening: port, paths });
  for await (const line of createInterface({ input: process.stdin })) {
    const order = { rate: 0, single: false, seconds: 1, size: 100, ...JSON.parse(line) };
    if (order.quit) break;
    const began = now();
    const sent = await (order.single ? oneByOne(order, publish) : offer(order, publish));
    say({ sent, seconds: Number(now() - began) / 1e9 });
  }
  process.exit(0);
}

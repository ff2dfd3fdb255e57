/** Tabs that share a connection: several clients in one process are the tabs, with locks as a browser has them. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, test } from "node:test";

// EVERYWIRE_CLIENT: another module to test, such as what is served.
const { connect } = await import(process.env.EVERYWIRE_CLIENT ?? "../../transports/static/client.js");

/** Web Locks as far as tabs.js wants them. */
const queues = new Map();
const locks = {
  async request(name, { signal, ifAvailable }, work) {
    const queue = queues.get(name) ?? queues.set(name, []).get(name);
    if (ifAvailable && queue.length) return work(null);
    const before = queue.at(-1);
    let free;
    const mine = new Promise((resolve) => { free = resolve; });
    queue.push(mine);
    try {
      if (before) {
        await new Promise((resolve, reject) => {
          before.then(resolve);
          signal?.addEventListener("abort", () => reject(signal.reason));
        });
      }
      return await work({ name });
    } finally {
      (before ?? Promise.resolve()).then(() => {
        queue.splice(queue.indexOf(mine), 1);
        free();
      });
    }
  },
};
Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });

const event = (offset) => ({ type: "event", id: `e.${offset}`, channel: "a", at: 1, data: offset });
const hello = (offset, resumed) => ({ type: "hello", v: 1, id: `e.${offset}`, connection: "c", channels: ["a"], resumed, beat: 15 });
const block = (item) => `${item.type === "event" ? "" : `event: ${item.type}\n`}data: ${JSON.stringify(item)}\n\n`;

const opened = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** A server with a log, an SSE stream and polls. `publish` appends; `streams`: those that are open. */
async function serve() {
  const log = [];
  const streams = new Set();
  const asked = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://server");
    asked.push(url.pathname);
    const since = url.searchParams.get("since");
    const place = since === null ? log.length : +since.split(".")[1];
    if (url.pathname === "/live/sse") {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write([hello(place, since === null ? "fresh" : "exact"), ...log.slice(place)].map(block).join(""));
      streams.add(response);
      response.on("close", () => streams.delete(response));
    } else {
      const items = since === null ? [hello(place, "fresh")] : log.slice(place);
      response.writeHead(200, { "Content-Type": "application/json" });
      response.end(JSON.stringify(items.length ? items : [{ type: "beat", id: `e.${log.length}`, at: 1 }]));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  opened.push(() => (server.closeAllConnections(), new Promise((done) => server.close(done))));
  const publish = (count, heard = true) => {
    for (let i = 0; i < count; i++) {
      log.push(event(log.length + 1));
      if (heard) for (const stream of streams) stream.write(block(log.at(-1)));
    }
  };
  return { mount: `http://127.0.0.1:${server.address().port}/live`, streams, asked, publish };
}

function tab(mount) {
  const live = connect(mount, { channels: ["a"], transport: "sse", share: true, pace: { backoff: 0.01, at_once: 0.01 } });
  opened.push(() => live.close());
  const got = [];
  const states = [];
  const waiting = new Set();
  const keep = (list, pick) => (detail) => {
    list.push(pick(detail));
    for (const check of waiting) check();
  };
  live.on("event", keep(got, ({ data }) => data));
  live.on("state", keep(states, ({ state }) => state));
  const until = (condition) =>
    new Promise((resolve) => {
      const check = () => condition() && (waiting.delete(check), resolve());
      waiting.add(check);
      check();
    });
  return { live, got, states, until };
}

const numbers = (count) => Array.from({ length: count }, (_, i) => i + 1);

test("one connection for three tabs, and each gets everything once, in order", async () => {
  const { mount, streams, asked, publish } = await serve();
  const tabs = [tab(mount), tab(mount), tab(mount)];
  for (const { until, states } of tabs) await until(() => states.includes("open"));
  assert.equal(streams.size, 1);
  const polls = () => asked.filter((path) => path === "/live/poll").length;
  let before;
  for (let count = 1; count <= 20; count++) {
    if (count === 10) before = polls();
    publish(1);
    for (const { got, until } of tabs) await until(() => got.length === count);
  }
  for (const { got } of tabs) assert.deepEqual(got, numbers(20));
  assert.equal(streams.size, 1);
  assert.equal(polls(), before, "who has caught up does not ask");
});

test("when the leader goes, another opens the wire from where it stands, and nobody is told", async () => {
  const { mount, streams, publish } = await serve();
  const first = tab(mount);
  await first.until(() => first.states.includes("open"));
  const rest = [tab(mount), tab(mount)];
  for (const { until, states } of rest) await until(() => states.includes("open"));
  publish(3);
  for (const { got, until } of rest) await until(() => got.length === 3);
  first.live.close();
  publish(3, false); // while nobody reads
  for (const { got, until } of rest) {
    await until(() => got.length === 6);
    assert.deepEqual(got, numbers(6));
  }
  publish(1);
  for (const { got, states, until } of rest) {
    await until(() => got.length === 7);
    assert.deepEqual(states.filter((state) => state !== "connecting"), ["open"]);
  }
  assert.equal(streams.size, 1);
});

test("when the leader's server goes, its tab reads on over another connection beside, and nobody else is told", async () => {
  const { mount, streams, asked, publish } = await serve();
  const tabs = [tab(mount), tab(mount), tab(mount)];
  const [leader, ...rest] = tabs;
  for (const { until, states } of tabs) await until(() => states.includes("open"));
  publish(3);
  const polls = () => asked.filter((path) => path === "/live/poll").length;
  const [old] = streams;
  old.write(block({ type: "bye", code: 4503, name: "draining", reason: "the server is stopping", retry: 0.01, stays: 30 }));
  await leader.until(() => leader.live.evidence.attempts.at(-1).why === "move");
  await once(old, "close");
  publish(3);
  for (const { got, until } of tabs) {
    await until(() => got.length === 6);
    assert.deepEqual(got, numbers(6));
  }
  assert.equal(streams.size, 1);
  assert.equal(asked.filter((path) => path === "/live/sse").length, 2);
  const before = polls();
  publish(1);
  for (const { got, until } of tabs) await until(() => got.length === 7);
  assert.equal(polls(), before, "nobody had to catch up");
  assert.deepEqual(new Set(leader.states), new Set(["connecting", "open"]));
  for (const { live, states } of rest) {
    assert.deepEqual(states.filter((state) => state !== "connecting"), ["open"]);
    assert.deepEqual(live.evidence.attempts.map(({ why }) => why), ["race"]);
  }
  leader.live.close();
  publish(1, false);
  for (const { got, until } of rest) await until(() => got.length === 8);
  assert.equal(streams.size, 1, "another one leads");
});

test("a batch that got lost on the way from tab to tab is caught up", async () => {
  const { mount, publish } = await serve();
  const post = BroadcastChannel.prototype.postMessage;
  opened.push(() => { BroadcastChannel.prototype.postMessage = post; });
  const [first, second] = [tab(mount), tab(mount)];
  for (const { until, states } of [first, second]) await until(() => states.includes("open"));
  BroadcastChannel.prototype.postMessage = () => {};
  publish(2);
  await first.until(() => first.got.length === 2);
  await second.until(() => second.got.length === 0 || second.got.length === 2);
  BroadcastChannel.prototype.postMessage = post;
  publish(2);
  await second.until(() => second.got.length === 4);
  assert.deepEqual(second.got, numbers(4));
});

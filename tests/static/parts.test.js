/** The parts of the browser client that are loaded when they are needed: what happens before they are there, and when they do not come. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { pathToFileURL } from "node:url";

// EVERYWIRE_CLIENT: another module to test, such as what is served.
const CLIENT = new URL(process.env.EVERYWIRE_CLIENT ?? "../../transports/static/client.js", import.meta.url);

const opened = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** A server that publishes, and what came up to it: the data of each command, request by request. `stream`: answers other requests. */
async function serve(stream = (request, response) => response.writeHead(404).end()) {
  const came = [];
  const server = createServer(async (request, response) => {
    if (request.method !== "POST") return stream(request, response);
    const commands = JSON.parse((await request.toArray()).join(""));
    came.push(commands.map(({ data }) => data));
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(commands.map(({ ref, data }) => ({ type: "reply", ref, ok: true, id: `e.${data}` }))));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  opened.push(() => (server.closeAllConnections(), new Promise((done) => server.close(done))));
  return { mount: `http://127.0.0.1:${server.address().port}/live`, came };
}

/** A client of its own, whose parts are not there until `come` is called, and how often it said of each that it is not. */
async function alone(mount, options) {
  const place = mkdtempSync(join(tmpdir(), "everywire-"));
  opened.push(() => rmSync(place, { recursive: true }));
  const copy = (name) => copyFileSync(new URL(name, CLIENT), join(place, name));
  copy("client.js");
  writeFileSync(join(place, "package.json"), '{"type": "module"}');
  const { connect } = await import(pathToFileURL(join(place, "client.js")));
  const live = connect(mount, { channels: ["a"], transport: "sse", ...options });
  opened.push(() => live.close());
  const missed = {};
  live.on("error", ({ name, message }) => {
    const part = /^the part (\w+\.js) could not be loaded$/.exec(message)?.[1];
    if (part && name === "unreachable") missed[part] = (missed[part] ?? 0) + 1;
  });
  return { live, missed, come: copy, half: (name, text) => writeFileSync(join(place, name), text) };
}

const until = async (holds) => {
  for (const end = performance.now() + 20_000; !holds(); await new Promise((done) => { setTimeout(done, 5); }))
    assert.ok(performance.now() < end, "in time");
};

test("publishes wait for a part that could not be loaded, in order, and go up when it can be", async () => {
  const { mount, came } = await serve();
  const { live, missed, come } = await alone(mount);
  const first = live.publish("a", 1);
  await until(() => missed["outbox.js"]);
  const rest = [live.publish("a", 2), live.publish("a", 3)];
  come("outbox.js");
  assert.deepEqual(await Promise.all([first, ...rest]), ["e.1", "e.2", "e.3"]);
  assert.deepEqual(came, [[1, 2, 3]]);
  assert.equal(missed["outbox.js"], 1);
});

test("a part of which only a half came, or something else, is loaded again", async () => {
  const { mount, came } = await serve();
  const { live, missed, come, half } = await alone(mount);
  half("outbox.js", "export async function run(lent) { const {");
  const sent = live.publish("a", 1);
  await until(() => missed["outbox.js"] === 1);
  half("outbox.js", "export const login = 'please';");
  await until(() => missed["outbox.js"] === 2);
  come("outbox.js");
  assert.equal(await sent, "e.1");
  assert.deepEqual(came, [[1]]);
});

test("while it is not there, a publish has its time, the queue its bound, and close its effect", async () => {
  const { mount, came } = await serve();
  const { live } = await alone(mount, { queue: 2 });
  const short = live.publish("a", 1, { timeout: 0.05 });
  const long = live.publish("a", 2);
  await assert.rejects(live.publish("a", 3), { name: "queue_full" });
  await assert.rejects(short, { name: "unreachable", message: "the part outbox.js could not be loaded" });
  const after = live.publish("a", 4);
  live.close();
  await assert.rejects(long, { name: "closed" });
  await assert.rejects(after, { name: "closed" });
  await assert.rejects(live.publish("a", 5), { name: "closed" });
  assert.deepEqual(came, []);
});

test("when nothing waits any more it is not looked for; the next publish looks again", async () => {
  const { mount, came } = await serve();
  const { live, missed, come } = await alone(mount);
  await assert.rejects(live.publish("a", 1, { timeout: 0.05 }), { name: "unreachable" });
  await until(() => missed["outbox.js"]);
  // It would be after a second.
  await new Promise((done) => { setTimeout(done, 1200); });
  assert.equal(missed["outbox.js"], 1);
  come("outbox.js");
  assert.equal(await live.publish("a", 2), "e.2");
  assert.deepEqual(came, [[2]]);
});

for (const transport of ["sse", "longpoll"])
  test(`${transport} without what reads it says so and tries again, and reads when it has come`, async () => {
    const hello = { type: "hello", v: 1, connection: "c1", channels: ["a"], id: "e.0", resumed: "fresh", beat: 15, expires: null };
    const event = { type: "event", id: "e.1", channel: "a", at: 1, data: 1 };
    let open = 0;
    const { mount } = await serve((request, response) => {
      const sse = request.url.startsWith("/live/sse");
      response.writeHead(200, { "Content-Type": sse ? "text/event-stream" : "application/json" });
      if (!sse) return response.end(JSON.stringify(request.url.includes("since=e.") ? [] : [hello, event]));
      open++;
      response.on("close", () => open--);
      response.write(`data: ${JSON.stringify(hello)}\n\ndata: ${JSON.stringify(event)}\n\n`);
    });
    const { live, missed, come } = await alone(mount, { transport, random: () => 0.1 });
    const said = [];
    live.on("state", ({ sentence }) => said.push(sentence));
    await until(() => missed["oneway.js"] >= 2);
    assert.match(said.join(" "), /The part oneway\.js could not be loaded; trying again in 0\.\d s\./);
    const { attempts } = live.evidence;
    assert.ok(attempts.every(({ verdict, reason }) => verdict === "unreachable" && reason === "the part oneway.js could not be loaded"));
    const first = live[Symbol.asyncIterator]().next();
    come("oneway.js");
    assert.equal((await first).value.data, 1);
    await until(() => live.state === "open");
    // What was asked for in vain was let go.
    assert.ok(open <= 1);
  });

test("what is published is what it was at the call, in the order of the calls", async () => {
  const { mount, came } = await serve();
  const { connect } = await import(CLIENT);
  const live = connect(mount, { channels: ["a"], transport: "sse" });
  opened.push(() => live.close());
  const data = { n: 1 };
  const all = [live.publish("a", data)];
  data.n = 2;
  for (let n = 2; n < 20; n++) {
    all.push(live.publish("a", n));
    await null;
  }
  all.push(live.publish("a", undefined));
  await Promise.all(all);
  assert.deepEqual(came.flat(), [{ n: 1 }, ...Array.from({ length: 18 }, (_, i) => i + 2), undefined]);
});

for (const [what, text] of [["did not come", null], ["is of an older version", "export const run = () => {};"]])
  test(`where the part that shows a newer token in place ${what}, it is shown on another connection`, async () => {
    const hello = { type: "hello", v: 1, connection: "c1", channels: ["a"], id: "e.0", resumed: "exact", beat: 15, expires: null };
    const sockets = [];
    class WebSocket {
      constructor(url, protocols) {
        Object.assign(this, { protocols, sent: [] });
        sockets.push(this);
        setImmediate(() => (this.onopen(), this.say(hello)));
      }
      send(message) {
        const { do: command, ref } = JSON.parse(message);
        this.sent.push(command);
        setImmediate(() => this.say({ type: "reply", ref, ok: true }));
      }
      close() {
        this.closed = true;
      }
      say(...items) {
        this.onmessage({ data: JSON.stringify(items) });
      }
    }
    let asked = 0;
    const { live, half } = await alone("https://server.example/live", { transport: "websocket", WebSocket, token: () => `t${++asked}` });
    if (text) half("outbox.js", text);
    await until(() => live.state === "open");
    const [old] = sockets;
    old.say({ type: "bye", code: 4401, name: "unauthorized", reason: "what was shown expires", retry: 0.01, stays: 30 });
    await until(() => old.closed);
    assert.deepEqual(sockets.map(({ protocols }) => atob(protocols[1].replace("everywire.token.", ""))), ["t1", "t2"]);
    assert.ok(!old.sent.includes("auth"));
    assert.equal(live.state, "open");
  });

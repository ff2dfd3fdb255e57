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

/** A server that publishes, and what came up to it: the data of each command, request by request. */
async function serve() {
  const came = [];
  const server = createServer(async (request, response) => {
    if (request.method !== "POST") return response.writeHead(404).end();
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

/** A client of its own, whose parts are not there until `come` is called. */
async function alone(mount, options) {
  const place = mkdtempSync(join(tmpdir(), "everywire-"));
  opened.push(() => rmSync(place, { recursive: true }));
  const copy = (name) => copyFileSync(new URL(name, CLIENT), join(place, name));
  copy("client.js");
  writeFileSync(join(place, "package.json"), '{"type": "module"}');
  const { connect } = await import(pathToFileURL(join(place, "client.js")));
  const live = connect(mount, { channels: ["a"], transport: "sse", ...options });
  opened.push(() => live.close());
  return { live, come: () => copy("outbox.js") };
}

test("publishes wait for a part that could not be loaded, in order, and go up when it can be", async () => {
  const { mount, came } = await serve();
  const { live, come } = await alone(mount);
  const first = live.publish("a", 1);
  assert.equal(await Promise.race([first, new Promise((done) => { setTimeout(done, 200, "waiting"); })]), "waiting");
  const rest = [live.publish("a", 2), live.publish("a", 3)];
  come();
  assert.deepEqual(await Promise.all([first, ...rest]), ["e.1", "e.2", "e.3"]);
  assert.deepEqual(came, [[1, 2, 3]]);
});

test("while it is not there, a publish has its time, the queue its bound, and close its effect", async () => {
  const { mount, came } = await serve();
  const { live } = await alone(mount, { queue: 2 });
  const short = live.publish("a", 1, { timeout: 0.05 });
  const long = live.publish("a", 2);
  await assert.rejects(live.publish("a", 3), { name: "queue_full" });
  await assert.rejects(short, { name: "unreachable", message: "the server could not be reached" });
  const after = live.publish("a", 4);
  live.close();
  await assert.rejects(long, { name: "closed" });
  await assert.rejects(after, { name: "closed" });
  await assert.rejects(live.publish("a", 5), { name: "closed" });
  assert.deepEqual(came, []);
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

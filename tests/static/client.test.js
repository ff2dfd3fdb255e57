/**
 * The browser client under Node: its readers with the shared cases, its wires against small servers in this process.
 *
 *   node --test --test-timeout=60000 tests/static/
 *
 * Nothing here sleeps: a test waits for the thing itself, and the clocks of the protocol are set short.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { afterEach, describe, test } from "node:test";

// EVERYWIRE_CLIENT: another module to test, such as what is served.
const CLIENT = process.env.EVERYWIRE_CLIENT ?? new URL("../../transports/static/client.js", import.meta.url);
const { connect, initial, known, LiveError, parsePosition, step } = await import(CLIENT);
const { sseReader } = await import(new URL("oneway.js", CLIENT));

const cases = (name) => JSON.parse(readFileSync(new URL(`../cases/${name}.json`, import.meta.url)));
const PACE = { proof: 2, backoff: 0.01, backoff_most: 0.05, at_once: 0.01, gap: 0.05 };
const HELLO = { type: "hello", v: 1, connection: "c1", channels: ["a"], resumed: "fresh", beat: 15, expires: null };
const event = (offset, epoch = "e") => ({ type: "event", id: `${epoch}.${offset}`, channel: "a", at: 1, data: offset });
const hello = (offset, more) => ({ ...HELLO, id: `e.${offset}`, ...more });
const block = (item) => `${item.type === "event" ? "" : `event: ${item.type}\n`}data: ${JSON.stringify(item)}\n\n`;

// Everything that a test opens is closed after it, whether it passed or not.
const opened = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** An HTTP server on a free port. `routes`: { "/live/sse": (request, response, url) => … }. Keeps what was asked, in order. */
async function serve(routes) {
  const asked = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://server");
    const route = routes[url.pathname];
    // A stream is proven by a poll beside it: where a test says nothing of polls, there is nothing new.
    const poll = url.pathname.endsWith("/poll") && Object.keys(routes).some((path) => path.endsWith("/sse"));
    if (!route && poll) return json(response, [{ type: "beat", id: url.searchParams.get("since") ?? "e.0", at: 1 }]);
    asked.push(url);
    (route ?? ((_, r) => r.writeHead(404).end("not found")))(request, response, url);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  opened.push(() => (server.closeAllConnections(), new Promise((done) => server.close(done))));
  return { mount: `http://127.0.0.1:${server.address().port}/live`, asked };
}

const stream = (response) => response.writeHead(200, { "Content-Type": "text/event-stream" });
const json = (response, value, status = 200, headers = {}) =>
  response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(value));
const refuse = (code, name, retry) => (_, response) =>
  json(response, { code, name, reason: `because of ${name}`, retry }, code === 4503 ? 503 : 400);
const body = async (request) => JSON.parse((await request.toArray()).join(""));

/** A client that keeps what it says, with `until(condition)`: the moment at which it is true of what was said. */
function follow(mount, options = {}) {
  const live = connect(mount, { channels: ["a"], pace: PACE, ...options, pace: { ...PACE, ...options.pace } });
  opened.push(() => live.close());
  const heard = { states: [], sentences: [], events: [], lost: [], transports: [], errors: [] };
  const waiting = new Set();
  const keep = (list, pick) => (detail) => {
    list.push(pick(detail));
    for (const check of waiting) check();
  };
  live.on("state", keep(heard.states, (s) => s.state));
  live.on("state", keep(heard.sentences, (s) => s.sentence));
  live.on("event", keep(heard.events, (e) => e.id));
  live.on("lost", keep(heard.lost, (l) => l));
  live.on("transport", keep(heard.transports, (t) => t.transport));
  live.on("error", keep(heard.errors, (e) => e));
  const until = (condition) =>
    new Promise((resolve) => {
      const check = () => condition(heard) && (waiting.delete(check), resolve());
      waiting.add(check);
      check();
    });
  return { live, heard, until };
}

/** A WebSocket class that a test plays the other side of: `script(socket, url)` runs when one is opened. */
function fakeWebSocket(script) {
  return class {
    static opened = [];
    constructor(url, protocols) {
      Object.assign(this, { url: new URL(url), protocols, sent: [], closed: false });
      this.constructor.opened.push(this);
      setImmediate(() => (this.onopen?.(), script(this, this.constructor.opened.length)));
    }
    send(text) {
      const command = JSON.parse(text);
      this.sent.push(command);
      if (command.do === "ping" && !this.deaf) setImmediate(() => this.say({ type: "reply", ref: command.ref, ok: true }));
      this.onsent?.(command);
    }
    close() {
      this.closed = true;
      this.onclosed?.();
    }
    say(...items) {
      this.onmessage?.({ data: JSON.stringify(items) });
    }
    drop(code = 1006, reason = "") {
      this.onclose?.({ code, reason });
    }
  };
}

// ---------------------------------------------------------------------------------------------------------- readers

describe("the reader of an event stream", () => {
  const read = (parts) => {
    const reader = sseReader(known);
    return parts.flatMap((part) => reader(part));
  };
  for (const { name, text, items, error } of cases("sse_reader")) {
    test(name, () => {
      const bytes = new TextEncoder().encode(text);
      const pieces = [[...bytes].map((_, at) => bytes.subarray(at, at + 1))];
      for (let at = 0; at <= bytes.length; at++) pieces.push([bytes.subarray(0, at), bytes.subarray(at)]);
      for (const parts of pieces) {
        if (error) assert.throws(() => read(parts), { name: "not_everywire" });
        else {
          // Fields that a reader does not know are no part of the case.
          const got = read(parts);
          const shown = got.map((item, i) => Object.fromEntries(Object.keys(items[i] ?? item).map((key) => [key, item[key]])));
          assert.deepEqual(shown, items);
        }
      }
    });
  }
});

describe("positions", () => {
  const { valid, invalid } = cases("positions");
  for (const { text, epoch, offset } of valid) test(`${text} is one`, () => assert.deepEqual(parsePosition(text), { epoch, offset }));
  for (const text of invalid) test(`${JSON.stringify(text)} is none`, () => assert.equal(parsePosition(text), null));
});

// ------------------------------------------------------------------------------------------------------------ wires

describe("SSE", () => {
  test("a stream cut after any byte is resumed, and nothing is lost or doubled", async () => {
    const whole = [1, 2, 3, 4].map((n) => block(event(n))).join("");
    for (let cut = 0; cut <= whole.length; cut++) {
      let visits = 0;
      const { mount } = await serve({
        "/live/sse": (_, response, url) => {
          const since = +(url.searchParams.get("since") ?? "e.0").split(".")[1];
          const rest = [1, 2, 3, 4].filter((n) => n > since).map((n) => block(event(n))).join("");
          stream(response).write(block(hello(since, { resumed: url.searchParams.has("since") ? "exact" : "fresh" })));
          if (visits++) response.write(rest);
          else response.end(rest.slice(0, cut));
        },
      });
      const { live, heard, until } = follow(mount, { transport: "sse" });
      await until((h) => h.events.length >= 4);
      assert.deepEqual(heard.events, ["e.1", "e.2", "e.3", "e.4"], `cut after byte ${cut}`);
      live.close();
    }
  });

  test("repeats are dropped, and beats move the position", async () => {
    const { mount, asked } = await serve({
      "/live/sse": (_, response, url) => {
        stream(response);
        if (!url.searchParams.has("since"))
          response.end([hello(0), event(1), { type: "beat", id: "e.7", at: 1 }, event(5), event(8)].map(block).join(""));
        else response.write([hello(8, { resumed: "exact" }), event(1), event(8), event(9)].map(block).join(""));
      },
    });
    const { live, heard, until } = follow(mount, { transport: "sse" });
    await until((h) => h.events.includes("e.9"));
    assert.deepEqual(heard.events, ["e.1", "e.8", "e.9"]);
    assert.equal(asked[1].searchParams.get("since"), "e.8");
    assert.equal(live.position, "e.9");
  });

  test("a transport that a server does not serve is no last word: the next one is tried", async () => {
    const missing = (_, response) => json(response, { code: 4400, name: "bad_command", reason: "nothing is served at 'sse'", retry: null }, 404);
    const { mount } = await serve({
      "/live/sse": missing,
      "/live/poll": (_, response) => json(response, [hello(0), event(1)]),
    });
    const WebSocket = fakeWebSocket((socket) => socket.drop());
    const { live } = follow(mount, { transport: "auto", WebSocket });
    for await (const { data } of live) {
      assert.equal(data, 1);
      break;
    }
    assert.equal(live.transport, "longpoll");
  });

  test("channels that are no list of names are refused at once", () => {
    for (const channels of ["vitals", [], undefined]) assert.throws(() => connect("http://127.0.0.1:9", { channels }), TypeError);
  });

  test("a loss that is told again on the way back is passed on once, and what is new of it with it", async () => {
    const lost = (through) => ({ type: "lost", id: "e.1", channel: "a", after: "e.1", through, reason: "evicted" });
    const { mount } = await serve({
      "/live/sse": (_, response) =>
        stream(response).write([hello(1), lost("e.5"), lost("e.5"), lost("e.8"), event(9)].map(block).join("")),
    });
    const { live, heard } = follow(mount, { transport: "sse" });
    for await (const _ of live) break;
    assert.deepEqual(heard.lost.map(({ after, through }) => [after, through]), [["e.1", "e.5"], ["e.5", "e.8"]]);
  });

  test("a lost of another epoch moves the position, backwards too; one of what we have is none", async () => {
    const lost = (reason, id, after = "e.9") => ({ type: "lost", id, channel: "a", after, through: id, reason });
    const { mount } = await serve({
      "/live/sse": (_, response) =>
        stream(response).write(
          [hello(9, { resumed: "lost" }), lost("evicted", "e.5"), event(9), event(10), lost("epoch", "f.0"), event(1, "f"),
            lost("future", "f.0", "f.1"), event(1, "f")].map(block).join(""),
        ),
    });
    const { heard, until } = follow(mount, { transport: "sse", since: "e.9" });
    await until((h) => h.events.length === 3);
    assert.deepEqual(heard.events, ["e.10", "f.1", "f.1"]);
    assert.deepEqual(heard.lost.map((l) => l.reason), ["epoch", "future"]);
  });

  test("a stream that begins elsewhere than asked is not read: the gap would be silent", async () => {
    const { mount } = await serve({
      "/live/sse": (_, response) => stream(response).write([hello(50), event(51)].map(block).join("")),
    });
    const { heard, until } = follow(mount, { transport: "sse", since: "e.9" });
    await until((h) => h.errors.length);
    assert.equal(heard.errors[0].name, "not_everywire");
    assert.deepEqual(heard.events, []);
  });

  test("what is not everywire is not taken for it", async () => {
    const { mount } = await serve({
      "/live/sse": (_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<h1>Please log in</h1>"),
      "/live/poll": (_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<h1>Please log in</h1>"),
    });
    for (const transport of ["sse", "longpoll"]) {
      const { live, heard, until } = follow(mount, { transport });
      await until((h) => h.errors.length);
      assert.equal(heard.errors[0].name, "not_everywire");
      assert.ok(!heard.states.includes("open"));
      live.close();
    }
  });
});

describe("long-polling", () => {
  const poll = (log) => (_, response, url) => {
    const since = url.searchParams.get("since");
    if (since === null) return json(response, [hello(0)]);
    const rest = log.filter((item) => parsePosition(item.id).offset > parsePosition(since).offset).slice(0, 2);
    if (rest.length) json(response, rest);
    else if (url.searchParams.get("wait") === "0") json(response, [{ type: "beat", id: since, at: 1 }]);
    // else: waits, for longer than any test
  };

  test("reads on from answer to answer, by URLs that are never the same", async () => {
    const { mount, asked } = await serve({ "/live/poll": poll([1, 2, 3, 4, 5].map((n) => event(n))) });
    const { heard, until } = follow(mount, { transport: "longpoll" });
    await until((h) => h.events.length === 5);
    assert.deepEqual(heard.events, ["e.1", "e.2", "e.3", "e.4", "e.5"]);
    assert.equal(new Set(asked.map((url) => url.searchParams.get("_"))).size, asked.length);
    assert.deepEqual(asked.slice(0, 3).map((url) => url.searchParams.get("since")), [null, "e.0", "e.2"]);
    assert.deepEqual(asked.slice(0, 2).map((url) => url.searchParams.get("wait")), ["0", "15"]);
  });

  test("what is wanted is asked for with every request, and what was skipped is told, unless another wire had brought it", async () => {
    const skipped = (after, through) =>
      ({ type: "skipped", id: "e.1", channel: "a", after, through, count: 2, reason: "latest" });
    const { mount, asked } = await serve({
      "/live/poll": (request, response, url) => {
        if (url.searchParams.get("since") !== "e.9")
          json(response, [hello(1), skipped("e.1", "e.4"), event(9), skipped("e.1", "e.4")]);
      },
    });
    const told = [];
    const wanted = { channels: ["a", "o.*"], latest: ["a"], lag: ["o.*:100"] };
    const { live, heard, until } = follow(mount, { transport: "longpoll", ...wanted });
    live.on("skipped", (item) => told.push(item));
    await until(() => heard.events.length === 1);
    while (asked.length < 2) await new Promise(setImmediate);
    assert.deepEqual(told.map(({ count }) => count), [2]);
    for (const url of asked)
      for (const [name, value] of [["channels", "a,o.*"], ["latest", "a"], ["lag", "o.*:100"]])
        assert.equal(url.searchParams.get(name), value);
  });

  test("a lost answer costs nothing: the next poll carries the older position", async () => {
    let polls = 0;
    const answer = poll([1, 2, 3].map((n) => event(n)));
    const { mount } = await serve({
      "/live/poll": (request, response, url) => (++polls === 2 ? response.destroy() : answer(request, response, url)),
    });
    const { heard, until } = follow(mount, { transport: "longpoll" });
    await until((h) => h.events.length === 3);
    assert.deepEqual(heard.events, ["e.1", "e.2", "e.3"]);
  });

  test("a server that cannot wait is not asked without a pause", async () => {
    const times = [];
    const { mount } = await serve({
      "/live/poll": (_, response, url) => {
        json(response, [url.searchParams.has("since") ? { type: "beat", id: `e.${times.length}`, at: 1 } : hello(0, { beat: 0.1 })]);
      },
    });
    const asking = (url, init) => { // when it leaves here: how long it is under way is not the client's doing
      if (String(url).includes("/poll")) times.push(performance.now());
      return fetch(url, init);
    };
    const { live, until } = follow(mount, { transport: "longpoll", fetch: asking });
    await until((h) => h.states.includes("open"));
    // The first of those that come early is followed at once: it may be of a server that goes.
    while (times.length < 5) await new Promise(setImmediate);
    assert.ok(times[4] - times[2] >= 195, `${times[4] - times[2]} ms for two polls of 100`);
    assert.equal(live.state, "open");
  });

  test("is open as soon as the first answer is there, also when it resumes", async () => {
    const { mount } = await serve({ "/live/poll": poll([]) });
    const { heard, until } = follow(mount, { transport: "longpoll", since: "e.4" });
    await until((h) => h.states.includes("open"));
    assert.deepEqual(heard.sentences.at(-1), "Live over long-polling.");
  });
});

describe("WebSocket", () => {
  test("offers the subprotocol, reads batches, resumes from the last id", async () => {
    const WebSocket = fakeWebSocket((socket, visit) => {
      if (visit === 1) socket.say(hello(0), event(1), event(2));
      else socket.say(hello(2, { resumed: "exact" }), event(2), event(3));
    });
    const { heard, until } = follow("https://server.example/live", { transport: "websocket", WebSocket });
    await until((h) => h.states.includes("open"));
    WebSocket.opened[0].drop();
    await until((h) => h.states.filter((s) => s === "open").length === 2);
    await until((h) => h.events.length === 3);
    const [first, second] = WebSocket.opened;
    assert.deepEqual(heard.events, ["e.1", "e.2", "e.3"]);
    assert.deepEqual(first.protocols, ["everywire.v1.json"]);
    assert.equal(first.url.protocol + first.url.pathname, "wss:/live/ws");
    assert.equal(first.url.searchParams.has("since"), false);
    assert.equal(second.url.searchParams.get("since"), "e.2");
    assert.deepEqual(heard.states, ["connecting", "open", "reconnecting", "open"].flatMap((s) => (s === "reconnecting" ? [s, s] : [s])));
  });

  test("pings once in a beat, whether or not the server has events", async () => {
    const pinged = [];
    let enough;
    const three = new Promise((resolve) => { enough = resolve; });
    const WebSocket = fakeWebSocket((socket) => {
      const timer = setInterval(() => socket.say({ type: "beat", id: "e.0", at: 1 }), 5); // far more often than it pings
      socket.onsent = (command) => {
        if (command.ref !== 0) return; // the machine's question
        if (pinged.push({ command, at: performance.now() }) === 3) enough(clearInterval(timer));
      };
      socket.say(hello(0, { beat: 0.05 }));
    });
    follow("http://server.example/live", { transport: "websocket", WebSocket });
    await three;
    assert.deepEqual(pinged.map((p) => p.command.do), ["ping", "ping", "ping"]);
    // Half a beat is the least between two of them.
    for (const [i, { at }] of pinged.entries()) if (i) assert.ok(at - pinged[i - 1].at >= 24);
  });

  test("is not asked again and again in a silence: one answer is good until the beat is missing", async () => {
    const pace = { ...PACE, answer: 0.05 };
    const log = [];
    let answered;
    const done = new Promise((resolve) => { answered = resolve; });
    const WebSocket = fakeWebSocket((socket) => {
      socket.say(hello(0));
      let n = 0;
      const timer = setInterval(() => {
        if (++n === 3) clearInterval(timer);
        socket.say(event(n));
      }, 1010); // the machine is told that items come, but not of each
    });
    follow("http://server.example/live", {
      transport: "websocket", WebSocket, pace,
      log(entry) {
        log.push(entry);
        const items = log.filter(({ fact }) => fact.fact === "item").length;
        if (entry.fact.fact === "answered" && items > 4) setImmediate(answered);
      },
    });
    await done;
    let state = initial(["websocket"], { held: ["sse"], pace });
    for (const { fact, now, luck } of log) [state] = step(state, fact, now, luck);
    assert.ok(state.due - log.at(-1).now > 10, `asked again after ${state.due - log.at(-1).now} s`);
  });

  test("a frame that is not ours ends the wire", async () => {
    const WebSocket = fakeWebSocket((socket) => socket.onmessage?.({ data: "welcome to another server" }));
    const { heard, until } = follow("http://server.example/live", { transport: "websocket", WebSocket });
    await until((h) => h.errors.length);
    assert.equal(heard.errors[0].name, "not_everywire");
    assert.equal(WebSocket.opened[0].closed, true);
  });

  test("a close code without a bye: 44xx ends it, but for those that mean later", async () => {
    for (const [code, last] of [[4401, "failed"], [4408, "connecting"], [4429, "connecting"], [4430, "connecting"], [4503, "connecting"], [1000, "connecting"]]) {
      const WebSocket = fakeWebSocket((socket) => socket.drop(code, "no"));
      const { live, until } = follow("http://server.example/live", { transport: "websocket", WebSocket });
      await until((h) => h.errors.length);
      await until((h) => h.states.at(-1) === last);
      assert.equal(live.state, last, `after ${code}`);
      live.close();
    }
  });
});

// ------------------------------------------------------------------------------------------------- what all have in common

describe("silence", () => {
  for (const transport of ["websocket", "sse", "longpoll"]) {
    test(`silence, and no answer to a question: another connection, over ${transport}`, async () => {
      const first = hello(0, { beat: 0.05 });
      let visits = 0;
      let questions = 0;
      const { mount, asked } = await serve({
        "/live/sse": (_, response, url) => {
          visits += 1;
          stream(response).write(block(url.searchParams.has("since") ? hello(0, { resumed: "exact" }) : first));
        },
        "/live/poll": (_, response, url) => {
          // The first question is answered, and so is the first one of another connection; what is asked in between is not.
          if (!url.searchParams.has("since")) json(response, [first]);
          else if (url.searchParams.get("wait") === "0" && (transport === "longpoll" || ++questions === 1 || visits > 1))
            json(response, [transport === "sse" ? { type: "beat", id: "e.0", at: 1 } : event(1)]);
        },
      });
      const WebSocket = fakeWebSocket((socket, visit) => {
        socket.onsent = () => { socket.deaf = visit === 1; };
        socket.say(visit === 1 ? first : hello(0, { resumed: "exact" }));
      });
      const { heard, until } = follow(mount, { transport, WebSocket, pace: { proof: 60, slack: 0.1, answer: 0.1 } });
      await until((h) => h.states.filter((s) => s === "open").length === 2);
      assert.equal(heard.errors[0].name, "silent");
      assert.ok(asked.length + WebSocket.opened.length >= 2);
    });
  }

  test("a wire that never brings an item is given up after the time for its proof", async () => {
    const { mount } = await serve({ "/live/sse": (_, response) => stream(response).write(": opened is not works\n\n") });
    const { heard, until } = follow(mount, { transport: "sse", pace: { proof: 0.05 } });
    await until((h) => h.errors.length);
    assert.equal(heard.errors[0].name, "silent");
    assert.ok(!heard.states.includes("open"));
  });
});

describe("how it ends and comes back", () => {
  const bye = { type: "bye", code: 4503, name: "draining", reason: "the server is stopping", retry: 0.06 };

  for (const [what, answer] of [
    ["a bye", (response) => stream(response).end(block(hello(0)) + block(bye))],
    ["a refusal", (response) => refuse(4503, "draining", 0.06)(null, response)],
    ["a proxy's Retry-After", (response) => response.writeHead(503, { "Retry-After": "1" }).end("<h1>busy</h1>")],
  ]) {
    test(`the server's retry wins: ${what}`, async () => {
      const times = [];
      const { mount } = await serve({
        "/live/sse": (_, response) => {
          times.push(performance.now());
          if (times.length === 1) answer(response);
          else stream(response).write(block(hello(0, { resumed: "exact" })));
        },
      });
      const { until } = follow(mount, { transport: "sse", random: () => 0 });
      await until((h) => h.states.at(-1) === "open" && times.length === 2);
      assert.ok(times[1] - times[0] >= (what.startsWith("a proxy") ? 990 : 58), `${times[1] - times[0]} ms`);
    });
  }

  test("backs off with full jitter up to a ceiling, and starts again after progress", async () => {
    const { mount } = await serve({});
    const { heard, until } = follow(mount, { transport: "sse", random: () => 1, pace: { backoff: 0.1, backoff_most: 0.4 } });
    await until((h) => h.sentences.filter((s) => s.includes("trying again")).length === 4);
    const waits = heard.sentences.flatMap((s) => /again in (\S+) s/.exec(s)?.[1] ?? []);
    assert.deepEqual(waits, ["0.1", "0.2", "0.4", "0.4"]);
  });

  test("a wire that worked is opened again at once, and the backing off begins anew", async () => {
    const streams = [];
    const { mount } = await serve({
      "/live/sse": (_, response) => {
        if (streams.push(response) < 3) return response.destroy();
        stream(response).write(block(hello(0, { resumed: "exact" })));
      },
    });
    const { live, heard, until } = follow(mount, { transport: "sse", random: () => 1, pace: { at_once: 0.2, backoff: 0.1, backoff_most: 0.4 } });
    live.on("state", ({ state }) => { if (state === "open" && streams.length === 3) streams[2].end(); });
    await until((h) => h.states.filter((s) => s === "open").length === 2);
    assert.deepEqual(heard.sentences.flatMap((s) => /again in (\S+) s/.exec(s)?.[1] ?? []), ["0.1", "0.2", "0.2"]);
  });

  for (const transport of ["sse", "longpoll"]) {
    test(`44xx with retry null: failed, over ${transport}`, async () => {
      const no = refuse(4404, "unknown_channel", null);
      const { mount, asked } = await serve({ "/live/sse": no, "/live/poll": no });
      const { live, heard, until } = follow(mount, { transport });
      await until((h) => h.states.at(-1) === "failed");
      assert.equal(heard.sentences.at(-1), "Refused: because of unknown_channel (4404 unknown_channel).");
      assert.equal(asked.length, 1);
      await assert.rejects(async () => { for await (const _ of live); }, { code: 4404, name: "unknown_channel", retry: null });
    });
  }

  test("44xx by bye over WebSocket: failed, and no other wire is tried", async () => {
    const { mount, asked } = await serve({});
    const WebSocket = fakeWebSocket((socket) => socket.say({ type: "bye", code: 4401, name: "unauthorized", reason: "who?", retry: null }));
    const { heard, until } = follow(mount, { WebSocket });
    await until((h) => h.states.at(-1) === "failed");
    assert.equal(asked.length, 0);
    assert.deepEqual(heard.transports, []);
  });

  test("bye 1000: closed, and loops end", async () => {
    const done = { type: "bye", code: 1000, name: "closed", reason: "the end", retry: null };
    const { mount } = await serve({ "/live/sse": (_, response) => stream(response).end([hello(0), event(1), done].map(block).join("")) });
    const { live, heard } = follow(mount, { transport: "sse" });
    const got = [];
    for await (const { id } of live) got.push(id);
    assert.deepEqual(got, ["e.1"]);
    assert.equal(heard.states.at(-1), "closed");
  });

  test("cut lets the wire drop, and the stream goes on from where it was", async () => {
    const { mount, asked } = await serve({
      "/live/sse": (_, response, url) => {
        const since = +(url.searchParams.get("since") ?? "e.0").split(".")[1];
        stream(response).write(block(hello(since, { resumed: since ? "exact" : "fresh" })) + block(event(since + 1)));
      },
    });
    const { live, heard, until } = follow(mount, { transport: "sse" });
    await until((h) => h.events.length === 1);
    live.cut();
    await until((h) => h.events.length === 2);
    assert.equal(asked[1].searchParams.get("since"), "e.1");
    assert.match(heard.sentences.join("|"), /The wire was cut; trying again/);
  });

  test("close: no item, no state and no timer after it", async () => {
    const { mount } = await serve({
      "/live/sse": (_, response) => stream(response).write([hello(0), event(1), event(2)].map(block).join("")),
    });
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    const { live, heard, until } = follow(mount, { transport: "sse" });
    live.on("event", () => live.close()); // in the middle of a batch
    await until((h) => h.states.includes("closed"));
    assert.deepEqual(heard.events, ["e.1"]);
    assert.equal(heard.states.at(-1), "closed");
    await new Promise(setImmediate);
    assert.ok(timers() <= before, `${timers()} timers, ${before} before`);
    live.close(); // again, to no effect
    assert.equal(heard.states.filter((s) => s === "closed").length, 1);
  });

  for (const [type, nth] of [["state", 1], ["state", 2], ["state", 3], ["transport", 1], ["event", 1], ["lost", 1], ["error", 1]]) {
    test(`close within listener ${nth} of ${type}: nothing is said after it`, async () => {
      const lost = { type: "lost", id: "e.1", channel: "a", after: "e.1", through: "e.2", reason: "evicted" };
      let sse;
      const { mount } = await serve({
        "/live/sse": (_, response) => (sse = response) && stream(response).write([hello(0), event(1), lost, event(3)].map(block).join("")),
      });
      const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
      const said = [];
      const live = connect(mount, { channels: ["a"], transport: "sse", random: () => 1, pace: { at_once: 1000, backoff: 1000, backoff_most: 1000 } });
      opened.push(() => live.close());
      let count = 0;
      const closed = new Promise((resolve) => {
        for (const each of ["state", "event", "lost", "transport", "error"])
          live.on(each, (detail) => {
            said.push(detail.state ?? each);
            if (each === type && ++count === nth) return resolve(live.close());
            if (detail.state === "open") sse.end();
          });
      });
      await closed;
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      assert.equal(said.at(-1), "closed", said.join());
      assert.equal(said.filter((each) => each === "closed").length, 1);
      assert.ok(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length <= before);
    });
  }

  test("close while it waits for the next try leaves nothing behind", async () => {
    const { mount, asked } = await serve({});
    const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const { live, until } = follow(mount, { transport: "sse", random: () => 1, pace: { at_once: 1000, backoff: 1000, backoff_most: 1000 } });
    await until((h) => h.sentences.at(-1)?.includes("trying again"));
    live.close();
    await new Promise(setImmediate);
    assert.ok(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length <= before);
    assert.equal(asked.length, 1);
  });

  test("a listener that throws harms nobody else", async () => {
    const { mount } = await serve({ "/live/sse": (_, response) => stream(response).write([hello(0), event(1), event(2)].map(block).join("")) });
    const thrown = [];
    globalThis.reportError = (error) => thrown.push(error.message);
    opened.push(() => delete globalThis.reportError);
    const { live, heard, until } = follow(mount, { transport: "sse" });
    const off = live.on("event", () => { off(); throw new Error("mine"); });
    await until((h) => h.events.length === 2);
    assert.deepEqual(heard.events, ["e.1", "e.2"]);
    assert.deepEqual(thrown, ["mine"]);
  });
});

describe("a server that goes and stays a while", () => {
  const bye = (more) => ({ type: "bye", code: 4503, name: "draining", reason: "the server is stopping", retry: 0.02, stays: 30, ...more });

  test("a WebSocket is read over another one beside it, which takes its place; nothing is lost, doubled or told to the page", async () => {
    const WebSocket = fakeWebSocket((socket, visit) => {
      if (visit === 1) return socket.say(hello(0), event(1));
      const [old] = WebSocket.opened;
      socket.deaf = true; // it proves nothing before both have brought something
      socket.say(hello(1, { resumed: "exact" }), event(2));
      old.say(event(2), event(3));
      assert.ok(!old.closed);
      socket.deaf = false;
      for (const { do: what, ref } of socket.sent) if (what === "ping") socket.say({ type: "reply", ref, ok: true });
      socket.onsent = null;
      socket.say(event(3), event(4));
    });
    const { live, heard, until } = follow("https://server.example/live", { transport: "websocket", WebSocket });
    await until((h) => h.states.includes("open"));
    const [old] = WebSocket.opened;
    const closed = new Promise((done) => { old.onclosed = done; });
    old.say(bye(), event(1));
    await until((h) => h.sentences.includes("Live over WebSocket; moving to another connection."));
    await closed;
    await until((h) => h.events.length === 4);
    assert.deepEqual(heard.events, ["e.1", "e.2", "e.3", "e.4"]);
    assert.equal(live.sentence, "Live over WebSocket.");
    assert.deepEqual(heard.states, ["connecting", "open", "open", "open"]);
    assert.deepEqual([heard.errors, heard.lost, heard.transports], [[], [], ["websocket"]]);
    const [, query] = WebSocket.opened.map(({ url }) => url.searchParams);
    assert.deepEqual([query.get("why"), query.get("since"), query.get("tried")], ["move", "e.1", null]);
    assert.equal(WebSocket.opened.length, 2);
  });

  test("a stream goes on where the other does not get through, and moves when it does", async () => {
    let first, visits = 0;
    const { mount, asked } = await serve({
      "/live/sse": (_, response, url) => {
        if (++visits === 2) return response.writeHead(502).end("no");
        stream(response).write(block(hello(+(url.searchParams.get("since") ?? "e.0").split(".")[1], { resumed: "exact" })));
        if (visits === 1) (first = response).write([event(1), bye()].map(block).join(""));
        else response.write(block(event(3)));
      },
      "/live/poll": (_, response, url) => json(response, [{ type: "beat", id: url.searchParams.get("since"), at: 1 }]),
    });
    const { live, heard, until } = follow(mount, { transport: "sse" });
    await until((h) => h.errors.length);
    first.write(block(event(2)));
    await once(first, "close");
    await until((h) => h.events.length === 3);
    assert.deepEqual(heard.events, ["e.1", "e.2", "e.3"]);
    assert.deepEqual(new Set(heard.states), new Set(["connecting", "open"]));
    assert.deepEqual(live.evidence.bad, {});
    assert.equal(asked.filter(({ pathname }) => pathname === "/live/sse").length, 3);
  });

  test("what was shown expires: the page shows another on a connection beside this one, and has no gap", async () => {
    const shown = [];
    let first;
    const { mount } = await serve({
      "/live/sse": (request, response, url) => {
        shown.push(request.headers.authorization);
        stream(response).write(block(hello(+(url.searchParams.get("since") ?? "e.0").split(".")[1], { resumed: "exact" })));
        if (!first) (first = response).write([event(1), bye({ code: 4401, name: "unauthorized" }), event(2)].map(block).join(""));
        else response.write([event(2), event(3)].map(block).join(""));
      },
      "/live/poll": (_, response, url) => json(response, [{ type: "beat", id: url.searchParams.get("since"), at: 1 }]),
    });
    let asked = 0;
    const { heard, until } = follow(mount, { transport: "sse", token: () => (shown.length ? `new${++asked}` : "old") });
    await until((h) => h.events.length === 3);
    await once(first, "close");
    assert.deepEqual(heard.events, ["e.1", "e.2", "e.3"]);
    assert.deepEqual(new Set(heard.states), new Set(["connecting", "open"]));
    assert.equal(shown[0], "Bearer old");
    assert.match(shown[1], /^Bearer new/);
    assert.equal(shown.length, 2);
  });

  const expiring = (more) => bye({ code: 4401, name: "unauthorized", reason: "what was shown expires", ...more });
  const auths = (socket) => socket.sent.filter(({ do: what }) => what === "auth");

  test("what was shown expires: over a WebSocket the page shows another in place, again and again, and the connection stays", async () => {
    const WebSocket = fakeWebSocket((socket) => socket.say(hello(0), event(1)));
    let asked = 0;
    const options = { transport: "websocket", WebSocket, token: async () => `t${++asked}` };
    const { live, heard, until } = follow("https://server.example/live", options);
    await until((h) => h.states.includes("open"));
    const [socket] = WebSocket.opened;
    // Were the machine told of the first, it would have moved by the time of the third.
    for (let n = 2; n < 5; n++) {
      const shown = new Promise((done) => { socket.onsent = (command) => command.do === "auth" && done(command); });
      socket.say(expiring(), event(n));
      const { token, ref } = await shown;
      assert.equal(token, `t${n}`);
      socket.say({ type: "reply", ref, ok: true, expires: 2e9 });
    }
    assert.equal(WebSocket.opened.length, 1);
    assert.deepEqual(heard.events, ["e.1", "e.2", "e.3", "e.4"]);
    assert.deepEqual(heard.sentences.filter((each) => each.includes("moving")), []);
    assert.deepEqual([live.sentence, heard.errors, heard.lost], ["Live over WebSocket.", [], []]);
  });

  test("it waits until its turn comes: others were told as well", async () => {
    const WebSocket = fakeWebSocket((socket) => socket.say(hello(0)));
    let asked = 0;
    const { until } = follow("https://server.example/live", { transport: "websocket", WebSocket, token: () => `t${++asked}` });
    await until((h) => h.states.includes("open"));
    const [socket] = WebSocket.opened;
    const shown = new Promise((done) => { socket.onsent = ({ do: what }) => what === "auth" && done(); });
    const told = performance.now();
    socket.say(expiring({ retry: 0.2 }));
    await shown;
    assert.ok(performance.now() - told >= 195);
  });

  const no = { ok: false, code: 4401, name: "unauthorized", reason: "not that", retry: null };
  const unless = (second) => (asked) => (asked === 2 ? second() : `t${asked}`);
  for (const [how, answer, token = unless(() => "t2")] of [
    ["is refused in place", no],
    ["has no answer", null],
    ["cannot be had in time", no, unless(() => new Promise(() => {}))],
    ["cannot be had", no, unless(() => { throw new Error("no network"); })],
  ])
    test(`where what is newer ${how}, the next is shown on another connection, without a gap`, async () => {
      const WebSocket = fakeWebSocket((socket, visit) => {
        socket.onsent = ({ do: what, ref }) => what === "auth" && answer && setImmediate(() => socket.say({ type: "reply", ref, ...answer }));
        if (visit === 1) socket.say(hello(0), event(1));
        else socket.say(hello(1, { resumed: "exact" }), event(2));
      });
      let asked = 0;
      const { live, heard, until } = follow("https://server.example/live", { transport: "websocket", WebSocket, token: () => token(++asked) });
      await until((h) => h.states.includes("open"));
      const [old] = WebSocket.opened;
      const closed = new Promise((done) => { old.onclosed = done; });
      old.say(expiring({ stays: 0.3 }));
      await closed;
      await until((h) => h.events.length === 2);
      assert.deepEqual(heard.events, ["e.1", "e.2"]);
      const shown = WebSocket.opened.map(({ protocols }) => atob(protocols[1].replace("everywire.token.", "")));
      assert.deepEqual(shown, ["t1", "t3"]);
      assert.equal(WebSocket.opened[1].url.searchParams.get("why"), "move");
      assert.deepEqual([live.sentence, heard.errors, heard.lost], ["Live over WebSocket.", [], []]);
      assert.deepEqual(new Set(heard.states), new Set(["connecting", "open"]));
    });

  test("who has nothing newer to show comes back on another connection at once", async () => {
    const WebSocket = fakeWebSocket((socket, visit) => socket.say(visit === 1 ? hello(0) : hello(0, { resumed: "exact" })));
    const { until } = follow("https://server.example/live", { transport: "websocket", WebSocket, token: "always the same" });
    await until((h) => h.states.includes("open"));
    const [old] = WebSocket.opened;
    const closed = new Promise((done) => { old.onclosed = done; });
    old.say(expiring());
    await closed;
    assert.deepEqual(auths(old), []);
  });

  test("a token that comes when the stream is closed is not shown any more", async () => {
    const WebSocket = fakeWebSocket((socket) => socket.say(hello(0)));
    const asked = [];
    const token = () => new Promise((give) => { asked.push(give); });
    const { live, until } = follow("https://server.example/live", { transport: "websocket", WebSocket, token });
    while (!asked[0]) await new Promise(setImmediate);
    asked[0]("t1");
    await until((h) => h.states.includes("open"));
    const [socket] = WebSocket.opened;
    socket.say(expiring());
    while (!asked[1]) await new Promise(setImmediate);
    live.close();
    asked[1]("t2");
    await new Promise(setImmediate);
    assert.deepEqual(auths(socket), []);
  });

  for (const stays of [undefined, null, 0, -1, "for ever", [], {}])
    test(`no number of seconds, ${JSON.stringify(stays)}: that was the last item`, async () => {
      const WebSocket = fakeWebSocket((socket, visit) => {
        if (visit === 1) socket.say(hello(0), bye({ stays }));
      });
      const { heard, until } = follow("https://server.example/live", { transport: "websocket", WebSocket });
      await until((h) => h.sentences.includes("The server is stopping; trying again in 0.0 s."));
      assert.deepEqual(heard.errors.map(({ code, retry }) => [code, retry]), [[4503, 0.02]]);
      await until(() => WebSocket.opened.length === 2);
    });

  test("whoever is not to come back at all is not to move either", async () => {
    const WebSocket = fakeWebSocket((socket) => socket.say(hello(0), bye({ code: 4403, name: "forbidden", retry: null })));
    const { live, until } = follow("https://server.example/live", { transport: "websocket", WebSocket });
    await until((h) => h.states.includes("failed"));
    assert.equal(live.sentence, "Refused: the server is stopping (4403 forbidden).");
  });
});

describe("auto", () => {
  test("takes the first wire that brings an item of ours, and stays with it", async () => {
    const { mount, asked } = await serve({
      "/live/sse": (_, response) => stream(response).write(": held back by a proxy"),
      "/live/poll": (_, response, url) => json(response, url.searchParams.has("since") ? [event(asked.length)] : [hello(0)]),
    });
    const WebSocket = fakeWebSocket((socket) => socket.drop());
    const { live, heard, until } = follow(mount, { WebSocket, pace: { proof: 0.05 } });
    await until((h) => h.events.length >= 3);
    live.cut();
    await until((h) => h.states.filter((s) => s === "open").length === 2);
    assert.equal(live.transport, "longpoll");
    assert.deepEqual(heard.transports, ["longpoll"]);
    assert.ok(live.evidence.bad.websocket);
    assert.match(heard.sentences.join("|"), /Live over long-polling: WebSocket is cut off early\./);
  });

  test("tries the others again when the one that worked keeps failing", async () => {
    const WebSocket = fakeWebSocket((socket, visit) => (visit === 1 ? socket.say(hello(0)) : socket.drop()));
    const { mount } = await serve({ "/live/sse": (_, response) => stream(response).write(block(hello(0, { resumed: "exact" }))) });
    const { heard, until } = follow(mount, { WebSocket });
    await until((h) => h.states.includes("open"));
    WebSocket.opened[0].drop();
    await until((h) => h.transports.length === 2);
    assert.deepEqual(heard.transports, ["websocket", "sse"]);
  });

  test("an unknown transport is refused at once", () => {
    assert.throws(() => connect("http://server.example/live", { channels: ["a"], transport: "pigeon" }), TypeError);
  });
});

describe("for await", () => {
  test("a loop that lags behind stops the wire, not the stream: nothing is dropped", async () => {
    const { mount, asked } = await serve({
      "/live/sse": (_, response, url) => {
        const since = +(url.searchParams.get("since") ?? "e.0").split(".")[1];
        const rest = Array.from({ length: 100 - since }, (_, i) => block(event(since + 1 + i)));
        stream(response).write(block(hello(since, { resumed: since ? "exact" : "fresh" })) + rest.join(""));
      },
    });
    const { live, until } = follow(mount, { transport: "sse", pace: { lag: 10 } });
    const loop = live[Symbol.asyncIterator]();
    const got = [(await loop.next()).value.data];
    await until((h) => h.sentences.at(-1)?.includes("caught up"));
    const full = asked.length;
    while (got.length < 100) got.push((await loop.next()).value.data);
    assert.deepEqual(got, Array.from({ length: 100 }, (_, i) => i + 1));
    assert.equal(full, 1);
    assert.ok(asked.length > 1);
  });

  test("two loops get the same events; one that is left is forgotten", async () => {
    const { mount } = await serve({
      "/live/sse": (_, response) => stream(response).write([hello(0), event(1), event(2), event(3)].map(block).join("")),
    });
    const { live } = follow(mount, { transport: "sse", pace: { lag: 4 } });
    const read = async (count) => {
      const got = [];
      for await (const { data } of live) if (got.push(data) === count) return got;
    };
    assert.deepEqual(await Promise.all([read(1), read(3)]), [[1], [1, 2, 3]]);
  });
});

describe("publish", () => {
  const reply = { type: "reply", ref: 0, ok: true, id: "e.5" };

  test("is answered with the id of the event", async () => {
    let command;
    const { mount } = await serve({
      "/live/commands": async (request, response) => ((command = await body(request)), json(response, [reply])),
    });
    const { live } = follow(mount, { transport: "sse" });
    assert.equal(await live.publish("chat", { text: "hi" }, { key: "mine" }), "e.5");
    assert.deepEqual(command, [{ do: "publish", ref: command[0].ref, channel: "chat", data: { text: "hi" }, key: "mine" }]);
  });

  test("tries again with the same key when no answer came", async () => {
    const keys = [];
    const { mount } = await serve({
      "/live/commands": async (request, response) => {
        keys.push((await body(request))[0].key);
        if (keys.length === 1) response.destroy(); // published, and the answer got lost
        else if (keys.length === 2) response.writeHead(502).end("<h1>Bad gateway</h1>");
        else if (keys.length === 3) response.writeHead(200).end("<h1>Please log in</h1>");
        else if (keys.length > 4) json(response, [reply]); // the fourth is never answered
      },
    });
    const { live } = follow(mount, { transport: "sse", pace: { post: 0.1 } });
    assert.equal(await live.publish("chat", 1), "e.5");
    assert.equal(keys.length, 5);
    assert.equal(new Set(keys).size, 1);
    assert.match(keys[0], /^[a-z0-9]{8,}$/);
    await live.publish("chat", 1);
    assert.notEqual(keys[5], keys[0]);
  });

  test("is rejected in the server's words when it is refused, by reply or by status", async () => {
    const refused = { type: "reply", ref: 0, ok: false, code: 4404, name: "unknown_channel", reason: "no channel named 'x'", retry: null };
    let asked = 0;
    const { mount } = await serve({
      "/live/commands": (_, response) => (asked++ ? refuse(4413, "too_large", null)(_, response) : json(response, [refused])),
    });
    const { live } = follow(mount, { transport: "sse" });
    await assert.rejects(live.publish("x", 1), { code: 4404, name: "unknown_channel", retry: null, message: "no channel named 'x'" });
    await assert.rejects(live.publish("x", 1), (error) => error instanceof LiveError && error.code === 4413 && error.retry === null);
    assert.equal(asked, 2);
  });

  test("a reply that leaves its null retry out is a last word too", async () => {
    const refused = { type: "reply", ref: 0, ok: false, code: 4404, name: "unknown_channel", reason: "no channel named 'x'" };
    const { mount } = await serve({ "/live/commands": (_, response) => json(response, [refused]) });
    const { live } = follow(mount, { transport: "sse" });
    await assert.rejects(live.publish("x", 1), { code: 4404, retry: null });
  });

  test("comes back when a server that refuses says when, and gives its words if that is too late", async () => {
    let asked = 0;
    const { mount } = await serve({
      "/live/commands": (_, response) => (asked++ ? json(response, [reply]) : refuse(4503, "draining", 0.02)(_, response)),
      "/busy/commands": refuse(4429, "rate_limited", 500),
    });
    assert.equal(await follow(mount, { transport: "sse" }).live.publish("a", 1), "e.5");
    const busy = follow(mount.replace("/live", "/busy"), { transport: "sse" });
    await assert.rejects(busy.live.publish("a", 1), { code: 4429, retry: 500 });
  });

  test("what was too much comes again in order, under the same keys, and those that were not do not", async () => {
    const keys = [];
    const bundles = [];
    const { mount } = await serve({
      "/live/commands": async (request, response) => {
        const commands = await body(request);
        bundles.push(commands.length);
        const most = bundles.length < 4 ? 7 : 100;
        keys.push(...commands.slice(0, most).map(({ key }) => key));
        const late = { type: "reply", ok: false, code: 4429, name: "rate_limited", reason: "too much", retry: 0.02 };
        json(response, commands.map(({ ref }, i) => (i < most ? { ...reply, ref, id: `e.${keys.length}` } : { ...late, ref })));
      },
    });
    const { live } = follow(mount, { transport: "sse" });
    const wanted = Array.from({ length: 40 }, (_, i) => `k${i}`);
    await Promise.all(wanted.map((key, i) => live.publish("a", i, { key })));
    assert.deepEqual(keys, wanted);
    assert.equal(bundles.length >= 4, true);
  });

  test("a new connection does not make it hurry when too much was said", async () => {
    const opens = [];
    const streams = [];
    const { mount } = await serve({
      "/live/sse": (_, response) => streams.push(stream(response)) && response.write(block(hello(0))),
      "/live/poll": (_, response) => {
        json(response, [{ type: "beat", id: "e.0", at: 1 }]);
        setTimeout(() => streams.splice(0).forEach((each) => each.end()), 30); // once it has proved that it works
      },
      "/live/commands": (_, response) => {
        opens.push(heard.states.filter((state) => state === "open").length);
        if (opens.length > 1) return json(response, [reply]);
        return json(response, [{ type: "reply", ref: 0, ok: false, code: 4429, name: "rate_limited", reason: "too much", retry: 3 }]);
      },
    });
    const { live, heard, until } = follow(mount, { transport: "sse" });
    await until((h) => h.states.includes("open"));
    await live.publish("a", 1);
    assert.equal(opens.length, 2);
    assert.equal(opens[1] - opens[0] > 1, true, "it was open several times meanwhile");
  });

  test("gives up before the server forgets the key, and with close", async () => {
    const { mount } = await serve({ "/live/commands": (_, response) => response.destroy() });
    const impatient = follow(mount, { transport: "sse" });
    await assert.rejects(impatient.live.publish("a", 1, { timeout: 0.05 }), { name: "unreachable" });
    const { live } = follow(mount, { transport: "sse", random: () => 1, pace: { backoff: 50, backoff_most: 50 } });
    const pending = live.publish("a", 1);
    live.close();
    await assert.rejects(pending, { name: "closed" });
  });

  test("several that wait go up in one request, in order", async () => {
    const bodies = [];
    const { mount } = await serve({
      "/live/commands": async (request, response) => {
        bodies.push(await body(request));
        json(response, bodies.at(-1).map(({ ref, data }) => ({ type: "reply", ref, ok: true, id: `e.${data}` })));
      },
    });
    const { live } = follow(mount, { transport: "sse" });
    const ids = await Promise.all(Array.from({ length: 60 }, (_, i) => live.publish("a", i)));
    assert.deepEqual(ids, Array.from({ length: 60 }, (_, i) => `e.${i}`));
    assert.deepEqual(bodies.map((each) => each.length), [50, 10]);
  });

  test("when too many wait, the next is refused at once", async () => {
    const { mount } = await serve({ "/live/commands": () => {} });
    const { live } = follow(mount, { transport: "sse", queue: 2 });
    const waiting = [live.publish("a", 1), live.publish("a", 2)];
    await assert.rejects(live.publish("a", 3), { name: "queue_full" });
    live.close();
    for (const each of waiting) await assert.rejects(each, { name: "closed" });
  });

  test("of several that are refused together, the others are published", async () => {
    const { mount } = await serve({
      "/live/commands": async (request, response) => {
        const commands = await body(request);
        if (commands.some(({ data }) => data === "big")) refuse(4413, "too_large", null)(request, response);
        else json(response, commands.map(({ ref }) => ({ type: "reply", ref, ok: true, id: "e.5" })));
      },
    });
    const { live } = follow(mount, { transport: "sse" });
    const all = await Promise.allSettled([live.publish("a", 1), live.publish("a", "big"), live.publish("a", 3)]);
    assert.deepEqual(all.map(({ value, reason }) => value ?? reason.code), ["e.5", 4413, "e.5"]);
  });

  test("goes up the WebSocket when no POST comes through", async () => {
    const { mount } = await serve({ "/live/commands": (_, response) => response.destroy() });
    const WebSocket = fakeWebSocket((socket) => {
      socket.onsent = (commands) => Array.isArray(commands) && socket.say({ type: "reply", ref: commands[0].ref, ok: true, id: "e.7" });
      socket.say(hello(0));
    });
    const { live, until } = follow(mount, { WebSocket });
    await until((h) => h.states.includes("open"));
    assert.equal(await live.publish("a", 1), "e.7");
  });
});

describe("what a page may give", () => {
  const open = { "/live/sse": (_, response) => stream(response).write(block(hello(0))) };

  test("a token goes with every request, and as a subprotocol", async () => {
    const headers = [];
    const { mount } = await serve({ "/live/sse": (request, response) => (headers.push(request.headers.authorization), open["/live/sse"](request, response)) });
    const WebSocket = fakeWebSocket((socket) => socket.drop());
    const { until } = follow(mount, { WebSocket, token: async () => "s\u00e9cret?>" });
    await until((h) => h.states.includes("open"));
    assert.deepEqual(WebSocket.opened[0].protocols, ["everywire.v1.json", `everywire.token.${Buffer.from("s\u00e9cret?>").toString("base64url")}`]);
    assert.match(headers[0], /^Bearer s/);
  });

  test("a refused token is asked for once more; the second refusal in a row is final", async () => {
    for (const [good, last] of [[true, "open"], [false, "failed"]]) {
      let asked = 0;
      const { mount } = await serve({
        "/live/sse": (request, response) => {
          if (good && request.headers.authorization === "Bearer t2") open["/live/sse"](request, response);
          else json(response, { code: 4401, name: "unauthorized", reason: "who?", retry: null }, 401);
        },
      });
      const { live, until } = follow(mount, { transport: "sse", token: () => `t${++asked}` });
      await until((h) => h.states.includes(last));
      live.close();
    }
  });

  test("the mount may be a function, asked before every connection", async () => {
    const { mount } = await serve(open);
    const { until } = follow(async () => mount, { transport: "sse" });
    await until((h) => h.states.includes("open"));
  });

  test("what was learnt is remembered, unless a transport is fixed", async () => {
    const { mount } = await serve(open);
    const kept = new Map();
    const memory = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
    const WebSocket = fakeWebSocket((socket) => socket.drop());
    const first = follow(mount, { memory, WebSocket });
    await until_(first, () => kept.size === 1);
    assert.deepEqual(Object.keys(JSON.parse(kept.get(`everywire:${mount}`)).bad), ["websocket"]);
    first.live.close();
    const opens = WebSocket.opened.length;
    const second = follow(mount, { memory, WebSocket });
    await second.until((h) => h.states.includes("open"));
    assert.equal(second.live.sentence, "Live over SSE: WebSocket is cut off early.");
    assert.equal(WebSocket.opened.length, opens);
  });
  const until_ = async ({ until }, condition) => until((h) => h.sentences.length && condition());

  test("the log of a client replays to the same state", async () => {
    const { mount } = await serve(open);
    const log = [];
    const { live, until } = follow(mount, { transport: "sse", log: (line) => log.push(structuredClone(line)) });
    await until((h) => h.states.includes("open"));
    let state = initial(["sse"], { held: ["sse"], pace: PACE });
    for (const { now, luck, fact } of log) [state] = step(state, fact, now, luck);
    assert.deepEqual(state.attempts, live.evidence.attempts);
    assert.equal(state.sentence, live.sentence);
  });
});

describe("two wires at once", () => {
  test("switch: the wished wire takes over, and nothing is lost or doubled", async () => {
    const { mount } = await serve({ "/live/sse": (_, response) => stream(response).write([hello(0, { resumed: "exact" }), event(1), event(2), event(3)].map(block).join("")) });
    const WebSocket = fakeWebSocket((socket) => socket.say(hello(0), event(1), event(2)));
    const { live, heard, until } = follow(mount, { WebSocket });
    await until((h) => h.states.includes("open"));
    live.switch("sse");
    await until((h) => h.transports.length === 2 && h.events.length === 3);
    assert.deepEqual(heard.transports, ["websocket", "sse"]);
    assert.deepEqual(heard.events, ["e.1", "e.2", "e.3"]);
  });

  test("the log began anew: every other wire is of the past and is closed; and back again, nothing is swallowed", async () => {
    const lost = (id, after) => ({ type: "lost", id, channel: "a", after, through: id, reason: "epoch" });
    let sse;
    const { mount } = await serve({
      "/live/sse": (_, response) => {
        sse = response;
        stream(response).write([hello(1, { resumed: "lost" }), lost("f.0", "e.1"), event(1, "f")].map(block).join(""));
      },
      // An answer of the server's, whatever it says: the stream is proven by it, and stays.
      "/live/poll": (_, response) => json(response, { code: 4400, name: "bad_command", reason: "not served", retry: null }, 404),
    });
    const WebSocket = fakeWebSocket((socket) => socket.say(hello(0), event(1)));
    const { live, heard, until } = follow(mount, { WebSocket });
    await until((h) => h.states.includes("open"));
    live.switch("sse");
    await until((h) => h.events.includes("f.1"));
    assert.equal(WebSocket.opened[0].closed, true);
    WebSocket.opened[0].say(event(2));
    assert.ok(live.evidence.attempts.some(({ rung, reason }) => rung === "websocket" && reason === "the log began anew"));
    sse.write([lost("e.1", "f.1"), event(2)].map(block).join(""));
    await until((h) => h.events.includes("e.2"));
    assert.deepEqual(heard.events, ["e.1", "f.1", "e.2"]);
  });

  test("opened at the present, where the server is further than we are: it is opened again from where we stand", async () => {
    let socket;
    const { mount, asked } = await serve({
      "/live/sse": (_, response, url) => {
        const resumed = url.searchParams.has("since");
        if (!resumed) socket.say(hello(0));
        stream(response).write(block(resumed ? hello(0, { resumed: "exact" }) : hello(2)) + block(event(3)));
      },
    });
    const WebSocket = fakeWebSocket((each) => { socket = Object.assign(each, { deaf: true }); });
    const { heard, until } = follow(mount, { WebSocket });
    await until((h) => h.events.includes("e.3"));
    assert.deepEqual(asked.map((url) => url.searchParams.get("since")), [null, "e.0"]);
    assert.ok(heard.errors.every((error) => error.name !== "not_everywire"));
  });
});

describe("the page around it", () => {
  const open = { "/live/sse": (_, response) => stream(response).write(block(hello(3, { resumed: "exact" }))) };

  /** Puts the events and the storage of a page into this process, until the test ends. */
  function page() {
    const target = new EventTarget();
    const kept = new Map();
    const given = {
      addEventListener: target.addEventListener.bind(target),
      document: Object.assign(new EventTarget(), { hidden: false }),
      sessionStorage: { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) },
    };
    for (const [name, value] of Object.entries(given)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    opened.push(() => { for (const name of Object.keys(given)) delete globalThis[name]; });
    const fire = (type, more, on = target) => on.dispatchEvent(Object.assign(new Event(type), more));
    return { fire, kept, document: given.document };
  }

  test("put to sleep: every wire is closed; woken, it goes on", async () => {
    const { fire, kept } = page();
    let closed = 0;
    const { mount } = await serve({ "/live/sse": (request, response) => (open["/live/sse"](request, response), response.on("close", () => closed++)) });
    const { live, until } = follow(mount, { transport: "sse", resume: true });
    await until((h) => h.states.includes("open"));
    fire("pagehide");
    assert.equal(live.state, "offline");
    assert.equal(live.sentence, "This page is put to sleep.");
    assert.deepEqual([...kept.values()], ["e.3"]);
    while (!closed) await new Promise(setImmediate);
    fire("pageshow", { persisted: true });
    await until((h) => h.states.at(-1) === "open");
  });

  test("a reload goes on where it was; `since` goes before that", async () => {
    const { kept } = page();
    const { mount, asked } = await serve(open);
    kept.set(`everywire:${mount}:a`, "e.2");
    for (const since of [undefined, "e.1"]) {
      const { live, until } = follow(mount, { transport: "sse", resume: true, since });
      await until((h) => h.states.includes("open"));
      live.close();
    }
    assert.deepEqual(asked.map((url) => url.searchParams.get("since")), ["e.2", "e.1"]);
  });

  test("the machine is told of the network and of who looks, and of nothing after close", async () => {
    const { fire, document } = page();
    const facts = [];
    const { mount } = await serve(open);
    const { live, until } = follow(mount, { transport: "sse", log: ({ fact }) => facts.push(fact.fact) });
    await until((h) => h.states.includes("open"));
    facts.length = 0;
    document.hidden = true;
    fire("visibilitychange", {}, document);
    document.hidden = false;
    fire("visibilitychange", {}, document);
    fire("offline");
    assert.equal(live.state, "open"); // what works goes on
    fire("online");
    live.close();
    fire("online");
    assert.deepEqual(facts.filter((fact) => !["answered", "item", "tick"].includes(fact)), ["hidden", "shown", "offline", "online", "stop"]);
  });
});

describe("what makes no sense is not believed", () => {
  const ITEMS = [
    { type: "bye" }, { type: "bye", code: 7, retry: null }, { type: "bye", code: 4503, retry: "abc" },
    { ...HELLO, id: null }, { ...HELLO, id: 5 }, { ...HELLO, id: "garbage" }, hello(1, { beat: -5 }), hello(1, { beat: "abc" }), hello(1, { beat: {} }),
    { type: "lost", id: null, channel: "a", after: "e.1", through: "e.2", reason: "evicted" },
  ];
  for (const item of ITEMS) {
    test(`an item of a server: ${JSON.stringify(item)}`, async () => {
      let polls = 0;
      const { mount } = await serve({ "/live/poll": (_, response) => (polls++, json(response, [item])) });
      const { live, heard, until } = follow(mount, { transport: "longpoll", pace: { backoff: 0.3, backoff_most: 0.3, opens: 5 }, random: () => 0.9 });
      await until(() => heard.errors.length || heard.states.includes("open") || heard.states.includes("failed"));
      assert.ok(polls < 10);
      assert.ok(live.position === null || parsePosition(live.position), String(live.position));
      assert.doesNotMatch(live.sentence, /NaN|undefined/);
    });
  }

  for (const text of ["", "null", "5", '{"bad":null}', '{"bad":{"websocket":null}}', '{"bad":{"websocket":{"verdict":"constructor","until":4e9,"retest":4e9,"delay":1}}}',
    '{"bad":{},"state":"closed","wires":5}', '{"bad":{"websocket":{"verdict":"refused_http","until":4e99,"retest":4e99,"delay":30}}}']) {
    test(`a memory: ${text}`, async () => {
      const { mount } = await serve({ "/live/sse": (_, response) => stream(response).write(block(hello(0))), "/live/poll": (_, response) => json(response, [{ type: "beat", id: "e.0", at: 1 }]) });
      const WebSocket = fakeWebSocket((socket) => socket.drop());
      const { live, until } = follow(mount, { WebSocket, transports: ["websocket", "sse"], memory: { getItem: () => text, setItem() {} } });
      await until((h) => h.states.includes("open"));
      assert.equal(live.transport, "sse");
    });
  }

  test("a log that throws breaks nothing", async () => {
    const thrown = [];
    globalThis.reportError = (error) => thrown.push(error.message);
    opened.push(() => delete globalThis.reportError);
    const { mount } = await serve({ "/live/sse": (_, response) => stream(response).write([hello(0), event(1)].map(block).join("")) });
    const { until } = follow(mount, { transport: "sse", log: () => { throw new Error("mine"); } });
    await until((h) => h.events.length === 1);
    assert.equal(thrown[0], "mine");
  });

  test("publishes that together are too large for a frame do not end the WebSocket", async () => {
    const frames = [];
    const WebSocket = fakeWebSocket((socket) => {
      socket.onsent = (sent) => {
        for (const { do: what, ref } of [sent].flat()) socket.say({ type: "reply", ref, ok: true, id: what === "publish" ? `e.${ref}` : null });
        if (Array.isArray(sent)) frames.push(JSON.stringify(sent).length);
      };
      socket.say(hello(0));
    });
    const { mount } = await serve({ "/live/commands": (_, response) => response.writeHead(403).end("no") });
    const { live, until } = follow(mount, { transport: "websocket", WebSocket });
    await until((h) => h.states.includes("open"));
    await Promise.all(Array.from({ length: 40 }, (_, n) => live.publish("a", `${n}`.padEnd(2000))));
    assert.ok(Math.max(...frames) <= 21_000, frames.join());
    assert.equal(live.state, "open");
  });
});

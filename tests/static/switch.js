/**
 * A reader for tests/static/test_switches.py: follows a stream, and moves to the transport that each line of its input names.
 *
 *   node switch.js MOUNT SINCE EVENTS
 *
 * Says `{"now": name}` when it is there, and at the end how many events came and which came out of place.
 */

import { createInterface } from "node:readline";

import { connect } from "../../transports/static/client.js";

const [mount, since, events] = process.argv.slice(2);
const pace = { backoff: 0.02, backoff_most: 0.1, at_once: 0.02, gap: 0.1, opens: 1000, opens_rate: 1000 };
const live = connect(mount, { channels: ["a"], since, pace, memory: null });
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const misplaced = [];
let expected = 0;
let wanted = null;

live.on("event", ({ data }) => {
  if (data !== expected) misplaced.push([expected, data]);
  expected = data + 1;
  if (expected < +events) return;
  say({ came: expected, misplaced: misplaced.slice(0, 5), attempts: live.evidence.attempts.length });
  live.close();
  input.close();
});
live.on("lost", (item) => misplaced.push(item));
live.on("transport", ({ transport }) => {
  if (transport !== wanted) return;
  wanted = null;
  say({ now: transport });
});
// A cut may come in between: it is said again whenever the state changes.
live.on("state", () => wanted && queueMicrotask(() => wanted && live.switch(wanted)));
live.on("error", () => wanted && queueMicrotask(() => wanted && live.switch(wanted)));

const input = createInterface({ input: process.stdin });
input.on("line", (name) => {
  if (live.transport === name && live.state === "open") return say({ now: name });
  wanted = name;
  live.switch(name);
});

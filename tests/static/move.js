/**
 * A reader for tests/static/test_moves.py: follows a stream, at the mount that the last line of its input names.
 *
 *   node move.js TRANSPORT MOUNT EVENTS
 *
 * Says `{"now": "open"}` when it is, and at the end how many events came, which came out of place, which states there were, why its wires
 * were opened, and what is held against whom.
 */

import { createInterface } from "node:readline";

import { connect } from "../../transports/static/client.js";

const [transport, first, events] = process.argv.slice(2);
let mount = first;
const live = connect(() => mount, { channels: ["a"], transport, memory: null });
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const misplaced = [];
const states = new Set();
let expected = 0;

live.on("event", ({ data }) => {
  if (data !== expected) misplaced.push([expected, data]);
  expected = data + 1;
  if (expected % 50 === 0) say({ came: expected });
  if (expected < +events) return;
  const { attempts, bad } = live.evidence;
  say({ misplaced: misplaced.slice(0, 5), states: [...states], why: attempts.map(({ why }) => why), bad });
  live.close();
  input.close();
});
live.on("lost", (item) => misplaced.push(item));
live.on("state", ({ state }) => {
  if (state === "open" && !states.has(state)) say({ now: state });
  states.add(state);
});

const input = createInterface({ input: process.stdin });
input.on("line", (line) => {
  mount = line;
  say({ mount });
});

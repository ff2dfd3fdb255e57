/**
 * A reader for tests/static/test_renewals.py: follows a stream with tokens that say until when they hold.
 *
 *   node renew.js MOUNT SECONDS…
 *
 * SECONDS are those for which each token holds that is asked for, the last for all further ones. Says `{"now": state}` for every other state
 * and `{"came": number}` for every 50 events; what came out of place, and why its wires were opened, when its input ends or the stream has
 * failed.
 */

import { createInterface } from "node:readline";

import { connect } from "../../transports/static/client.js";

const [mount, ...lives] = process.argv.slice(2);
const token = () => `${Date.now() / 1000 + Number(lives[1] ? lives.shift() : lives[0])}`;
const pace = { backoff: 0.1, backoff_most: 0.5 };
const live = connect(mount, { channels: ["a"], transport: "websocket", memory: null, pace, token });
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const misplaced = [];
let expected = 0;
let now;

live.on("event", ({ data }) => {
  if (data !== expected) misplaced.push([expected, data]);
  expected = data + 1;
  if (expected % 50 === 0) say({ came: expected });
});
live.on("lost", (item) => misplaced.push(item));
live.on("state", ({ state }) => {
  if (state === now) return;
  now = state;
  say({ now });
  if (state === "failed") input.close();
});

const input = createInterface({ input: process.stdin });
input.on("close", () => {
  say({ misplaced: misplaced.slice(0, 5), why: live.evidence.attempts.map(({ why }) => why), sentence: live.sentence });
  live.close();
});

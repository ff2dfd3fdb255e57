/**
 * Replays a log in the browser client's machine: JSON lines from stdin, first {"state": …}, then {"now", "luck", "fact"} each.
 * Prints {"state", "do"} per step, for a test in the other language to compare.
 */

import { readFileSync } from "node:fs";

// EVERYWIRE_CLIENT: another module to test, such as what is served.
const { step } = await import(process.env.EVERYWIRE_CLIENT ?? "../../transports/static/client.js");

const [first, ...log] = readFileSync(0, "utf8").trim().split("\n").map((line) => JSON.parse(line));
let { state } = first;
const lines = log.map(({ now, luck, fact }) => {
  let todo;
  [state, todo] = step(state, fact, now, luck);
  return JSON.stringify({ state, do: todo });
});
process.stdout.write(`${lines.join("\n")}\n`);

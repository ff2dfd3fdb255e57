/** The browser client's machine plays the stories that all implementations share: tests/cases/negotiator/*.json. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";

// EVERYWIRE_CLIENT: another module to test, such as what is served.
const { GRID, initial, step } = await import(process.env.EVERYWIRE_CLIENT ?? "../../transports/static/client.js");

const CASES = new URL("../cases/negotiator/", import.meta.url);

/** An instruction as the stories write it. */
function written({ do: what, wire, rung, quiet, state, sentence, bad }) {
  const silence = quiet == null ? "" : ` quiet=${quiet}`;
  if (what === "announce") return `announce ${state}: ${sentence}`;
  if (what === "remember") {
    const rungs = Object.entries(bad).map(([name, { verdict }]) => `${name}=${verdict}`).join();
    return `remember${rungs && ` ${rungs}`}${silence}`;
  }
  return `${what} ${wire}${rung ? ` ${rung}` : ""}${silence}`;
}

function play({ rungs = ["websocket", "sse", "longpoll"], held = ["sse"], steps, end = {}, ...more }) {
  delete more.name;
  // One-way streams are compared again only in the stories about that.
  let state = initial(rungs, { held, ...more, pace: { check: 1e9, ...more.pace } });
  let now = 0;
  for (const [at, fact, expected, luck = 0.5] of steps) {
    assert.ok(at !== "due" || state.due !== null, `nothing is due before ${JSON.stringify(fact)}`);
    now = at === "due" ? state.due : at;
    const before = structuredClone(state);
    const [next, todo] = step(state, fact, now, luck);
    assert.deepEqual(state, before, "the given state was changed");
    assert.deepEqual(todo.map(written), expected, `at ${now}, ${JSON.stringify(fact)}`);
    state = next;
  }
  const found = {
    state: state.state,
    sentence: state.sentence,
    using: state.wires.find((wire) => wire.number === state.using)?.rung ?? null,
    bad: Object.keys(state.bad).filter((rung) => state.bad[rung].until > now),
    rounds: state.rounds,
    quiet: state.quiet,
  };
  for (const [name, value] of Object.entries(end)) assert.deepEqual(found[name], value, name);
}

for (const file of readdirSync(CASES).filter((name) => name.endsWith(".json")).sort()) {
  describe(file, () => {
    for (const story of JSON.parse(readFileSync(new URL(file, CASES), "utf8"))) test(story.name, () => play(story));
  });
}

describe("the table", () => {
  const states = ["idle", "connecting", "open", "reconnecting", "offline", "closed", "failed"];
  const rows = GRID.trim().split("\n").map((line) => {
    const [fact, idle, busy, open = busy] = line.split(" ");
    return [fact, idle, busy, open, busy, busy, "-", "-"];
  });
  test("is that of negotiator.py, which is written in full", () => {
    const python = readFileSync(new URL("../../transports/negotiator.py", import.meta.url), "utf8");
    const grid = /GRID: Final = """(.*?)"""/s.exec(python)[1].trim().split("\n").map((line) => line.trim().split(/ +/));
    assert.deepEqual([states, ...rows], grid);
  });
  test("names rules that are there, and `-` changes nothing", () => {
    for (const [fact] of rows)
      for (const state of states) {
        const wire = { number: 1, rung: "sse", why: "race", phase: "proven", due: null, began: 0, heard: 0, proven: 0, beat: 15, gap: null, answered: true, asked: null, leave: null };
        const before = initial(["sse"], { state, using: 1, wires: [wire], numbers: 1, sentence: "" });
        const rule = rows.find(([each]) => each === fact)[states.indexOf(state) + 1];
        const [after, todo] = step(before, { fact, wire: 1, status: 503, rung: "sse" }, 100, 0.5);
        todo.pop();
        if (rule === "-") assert.deepEqual([{ ...after, sentence: "", due: null }, todo], [before, []], `${fact} in ${state}`);
      }
  });
});

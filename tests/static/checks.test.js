/** The lab's own bookkeeping: what a page may say about its lanes. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Comparison, Tally } from "../../quart_app/lab/static/checks.js";

const at = (offset, epoch = "e") => ({ epoch, offset });

describe("Tally", () => {
  const figures = (...positions) => {
    const tally = new Tally();
    for (const position of positions) tally.event(position);
    return [tally.delivered, tally.doubled, tally.disordered];
  };
  test("in order, with holes", () => assert.deepEqual(figures(at(1), at(5), at(6)), [3, 0, 0]));
  test("a repeat is doubled", () => assert.deepEqual(figures(at(1), at(2), at(1), at(2)), [4, 2, 0]));
  test("a latecomer is out of order", () => assert.deepEqual(figures(at(1), at(3), at(2)), [3, 0, 1]));
  test("another epoch begins anew", () => assert.deepEqual(figures(at(7), at(1, "f"), at(7, "f")), [3, 0, 0]));
});

describe("Comparison", () => {
  const compare = (script) => {
    const comparison = new Comparison(["a", "b"]);
    script((lane, ...positions) => positions.forEach((each) => comparison.event(lane, each, 0)), comparison);
    return [comparison.compared, comparison.missing];
  };

  test("waits for all lanes", () => assert.deepEqual(compare((see) => see("a", at(1), at(2))), [0, 0]));
  test("begins where all lanes take part", () =>
    assert.deepEqual(compare((see) => (see("a", at(1), at(2), at(3), at(4)), see("b", at(3), at(4)))), [1, 0]));
  test("judges no further than the slowest lane", () =>
    assert.deepEqual(compare((see) => (see("a", at(1)), see("b", at(1)), see("a", at(2), at(3)), see("b", at(2)))), [1, 0]));
  test("an event that one lane skipped is missing, whichever lane", () => {
    for (const [a, b] of ["ab", "ba"])
      assert.deepEqual(compare((see) => (see(a, at(1), at(2), at(3)), see(b, at(1), at(3)))), [2, 1]);
  });
  test("what was declared lost is not missing", () => {
    const told = (see, comparison) => {
      see("a", at(1), at(2), at(3), at(4));
      see("b", at(1));
      comparison.lost("b", at(3));
      see("b", at(4));
    };
    assert.deepEqual(compare(told), [1, 0]);
  });
  test("a new epoch: the ends of the old one are not judged, the new one is from its very start", () => {
    const restart = (see, comparison) => {
      see("a", at(1), at(2), at(3));
      see("b", at(1), at(2));
      comparison.lost("a", at(0, "f"));
      see("a", at(1, "f"), at(2, "f"));
      comparison.lost("b", at(0, "f"));
      see("b", at(2, "f"));
    };
    assert.deepEqual(compare(restart), [3, 1]);
  });
  test("a lane that is away for long is not waited for with all that came meanwhile", () => {
    const all = Array.from({ length: 6_000 }, (_, n) => at(n + 1));
    const away = (see) => (see("b", at(1)), see("a", ...all), see("b", ...all.slice(1)));
    assert.deepEqual(compare(away), [5_000, 0]);
  });

  const lag = (now, script) => {
    const comparison = new Comparison(["a", "b"]);
    script((lane, when, ...positions) => positions.forEach((each) => comparison.event(lane, each, when)), comparison);
    return Object.fromEntries(comparison.behind(now));
  };
  const shared = (see) => (see("a", 0, at(1)), see("b", 0, at(1)));
  test("a lane is behind when it lacks what another has had for a while", () => {
    const script = (see) => (shared(see), see("a", 1_000, at(2)), see("a", 2_900, at(3)));
    assert.deepEqual(lag(2_999, script), {});
    assert.deepEqual(lag(3_000, script), { b: 2 });
  });
  test("not when it has caught up, nor for what it skipped, nor for what was declared lost", () => {
    assert.deepEqual(lag(9_000, (see) => (shared(see), see("a", 0, at(2), at(3)), see("b", 0, at(2), at(3)))), {});
    assert.deepEqual(lag(9_000, (see) => (shared(see), see("a", 0, at(2), at(3)), see("b", 0, at(3)))), {});
    assert.deepEqual(lag(9_000, (see, all) => (shared(see), see("a", 0, at(2), at(3)), all.lost("b", at(2)))), { b: 1 });
  });
  test("one that never had anything is, and one that is still in a former life", () => {
    assert.deepEqual(lag(9_000, (see) => see("a", 0, at(1), at(2), at(3))), { b: 2 });
    assert.deepEqual(lag(9_000, (see) => (shared(see), see("a", 0, at(1, "f"), at(2, "f")))), { b: 1 });
  });
  test("what is no longer kept counts until it has come", () => {
    const all = Array.from({ length: 6_000 }, (_, n) => at(n + 2));
    const away = (see) => (shared(see), see("a", 0, ...all));
    assert.deepEqual(lag(9_000, away), { b: 6_000 });
    assert.deepEqual(lag(9_000, (see) => (away(see), see("b", 0, ...all.slice(0, 5_000)))), { b: 1_000 });
  });
});

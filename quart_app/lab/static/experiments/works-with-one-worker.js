/** Works with one worker: the next request is answered by another process, with a memory of its own. */

import { poll } from "./wires.js";

const EVENTS = 5;

const events = (items) => items.filter(({ type }) => type === "event").length;

export default {
  id: "works-with-one-worker",
  choices: ["all", "error", "lost"],
  async play(bench) {
    const before = bench.lab.state.server.pid;
    const [hello] = await poll(bench.url("longpoll", "poll"));
    await bench.publish(EVENTS);
    const same = await poll(bench.url("longpoll", "poll", { since: hello.id, wait: 1 }));
    await bench.server("restart");
    const after = bench.lab.state.server.pid;
    const other = await poll(bench.url("longpoll", "poll", { since: hello.id, wait: 1 }));
    const lost = other.find(({ type }) => type === "lost");
    return {
      events: EVENTS, pid_before: before, same: events(same),
      pid_after: after, other: events(other), lost: lost !== undefined, reason: lost?.reason ?? "",
    };
  },
  verdict: (m) => m.pid_before !== m.pid_after && m.same === m.events && m.other === 0 && m.lost ? "lost" : null,
};

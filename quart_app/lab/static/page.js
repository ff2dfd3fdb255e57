/** The lab page: puts its parts together, and has one clock draw them all. */

import { Lab } from "./api.js";
import { Comparison } from "./checks.js";
import { $, put } from "./dom.js";
import { Herald } from "./herald.js";
import { Lane } from "./lanes.js";
import { NetworkPanel } from "./network.js";
import { PublisherPanel } from "./publisher.js";
import { Timeline } from "./timeline.js";
import { WireView } from "./wire.js";
import { number, word } from "./words.js";

const TICK = 400; // milliseconds between two drawings of the same: nobody reads faster
const CALM = matchMedia("(prefers-reduced-motion: reduce)"); // then once a second

const { mount } = document.body.dataset;
const client = await import(`${mount}/client.js`);

const lab = new Lab(client.connect, mount);
lab.herald = new Herald($("aloud"));
lab.onState(({ server }) => lab.herald.stands(word("aloud.server"), server.state));
await lab.ready(); // so that their first bytes are seen, too
const sections = [...document.querySelectorAll(".lane")];
const names = sections.map((section) => section.dataset.lane);
lab.same = new Comparison(names);
for (const section of sections) lab.lanes.set(section.dataset.lane, new Lane(section, lab, client));
const wire = new WireView($("wire"), lab, names);
const timeline = new Timeline($("timeline-list"), $("timeline-next"), lab);
new NetworkPanel($("network-form"), lab);
new PublisherPanel($("publisher-form"), lab);

let paused = false;

$("pause").addEventListener("click", () => {
  paused = !paused;
  lab.pause(paused);
  for (const lane of lab.lanes.values()) lane.pause(paused);
  document.body.classList.toggle("paused", paused);
  put($("pause"), word(paused ? "page.resume" : "page.pause"));
});

$("anew").addEventListener("click", () => {
  for (const lane of lab.lanes.values()) lane.reset();
  lab.same = new Comparison(names);
});

// What a client does of itself when somebody looks at its page again: no pause is waited out.
$("now").addEventListener("click", () => $("now").ariaDisabled === "true" || document.dispatchEvent(new Event("visibilitychange")));

// What is drawn, each in a frame of its own: together they could take longer than one has.
const parts = [
  ...names.flatMap((name) => [() => lab.lane(name).draw(lab.state), () => wire.drawList(name)]),
  () => wire.drawGlass(),
  () => timeline.draw(),
  drawSame,
];

/** Whether all lanes delivered the same: what all of them must agree on, whatever lies between. And who has not come as far. */
function drawSame() {
  const { compared, missing } = lab.same;
  const late = lab.same.behind(performance.now());
  const behind = names.filter((name) => late.has(name) || (compared && lab.lane(name).live.state !== "open"));
  const verdict = missing ? "differ" : !compared ? "waiting" : behind.length ? "behind" : "same";
  $("same").dataset.verdict = verdict;
  put($("same-verdict"), word(`same.${verdict}`));
  put($("same-behind"), behind.length ? word("same.who", { lanes: behind.map((name) => lagging(name, late.get(name))).join(", ") }) : "");
  const missed = word("same.missing", { missing: number(missing) });
  put($("same-count"), compared ? word("same.count", { compared: number(compared), missed }) : "");
  $("now").ariaDisabled = String(!names.some((name) => lab.lane(name).waits));
}

function lagging(name, count) {
  const why = [lab.lane(name).live.state !== "open" && word("same.away"), count && word("same.lacks", { count: number(count) })];
  return `${word(`rung.${name}`)} (${why.filter(Boolean).join(", ")})`;
}

/** Draws one part after the other. Nothing while it is paused or nobody looks; what comes is counted all the same. */
(function tick(turn) {
  // A hidden page has no frames: what waits for one would pile up.
  if (!paused && !document.hidden) requestAnimationFrame(() => paused || parts[turn % parts.length]());
  setTimeout(tick, (CALM.matches ? 1000 : TICK) / parts.length, turn + 1);
})(0);

// Without the experiments the rest of the page is as good.
import("./experiments/run.js").then(({ start }) => start(lab, $("experiments"))).catch((error) => console.warn(error));

/** The lab page: puts its parts together, and has one clock draw them all. */

import { Lab } from "./api.js";
import { Comparison } from "./checks.js";
import { $, put } from "./dom.js";
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
lab.same = new Comparison(document.querySelectorAll(".lane").length);
await lab.ready(); // so that their first bytes are seen, too
const sections = [...document.querySelectorAll(".lane")];
for (const section of sections) lab.lanes.set(section.dataset.lane, new Lane(section, lab, client));
const wire = new WireView($("wire"), lab, [...lab.lanes.keys()]);
const timeline = new Timeline($("timeline-list"), lab.lane("auto").live);
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
  lab.same = new Comparison(lab.lanes.size);
});

// What is drawn, each in a frame of its own: together they could take longer than one has.
const names = [...lab.lanes.keys()];
const parts = [
  ...names.flatMap((name) => [() => lab.lane(name).draw(lab.state), () => wire.drawList(name)]),
  () => wire.drawGlass(),
  () => timeline.draw(),
  drawSame,
];

/** Whether all lanes delivered the same: what all of them must agree on, whatever lies between. */
function drawSame() {
  const { compared, missing } = lab.same;
  const verdict = missing ? "differ" : compared ? "same" : "waiting";
  $("same").dataset.verdict = verdict;
  put($("same-verdict"), word(`same.${verdict}`));
  put($("same-count"), compared ? word("same.count", { compared: number(compared), missing: number(missing) }) : "");
}

/** Draws one part after the other. Nothing while it is paused or nobody looks; what comes is counted all the same. */
(function tick(turn) {
  // A hidden page has no frames: what waits for one would pile up.
  if (!paused && !document.hidden) requestAnimationFrame(() => paused || parts[turn % parts.length]());
  setTimeout(tick, (CALM.matches ? 1000 : TICK) / parts.length, turn + 1);
})(0);

// Without the experiments the rest of the page is as good.
import("./experiments/run.js").then(({ start }) => start(lab, $("experiments"))).catch((error) => console.warn(error));

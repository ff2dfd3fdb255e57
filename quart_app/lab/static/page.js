/** The lab page: puts its parts together, and has one clock draw them all. */

import { Lab } from "./api.js";
import { $, put } from "./dom.js";
import { Lane } from "./lanes.js";
import { NetworkPanel } from "./network.js";
import { PublisherPanel } from "./publisher.js";
import { Timeline } from "./timeline.js";
import { WireView } from "./wire.js";
import { word } from "./words.js";

const TICK = 200; // milliseconds between two drawings
const CALM = matchMedia("(prefers-reduced-motion: reduce)"); // then once a second

const { mount } = document.body.dataset;
const client = await import(`${mount}/client.js`);

const lab = new Lab(client.connect, mount);
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
  document.body.classList.toggle("paused", paused);
  put($("pause"), word(paused ? "page.resume" : "page.pause"));
});

$("anew").addEventListener("click", () => {
  for (const lane of lab.lanes.values()) lane.reset();
});

/** Nothing is drawn while it is paused or nobody looks; what comes is counted all the same. */
function draw() {
  if (paused || document.hidden) return;
  for (const lane of lab.lanes.values()) lane.draw(lab.state);
  wire.draw();
  timeline.draw();
}

(function tick() {
  requestAnimationFrame(draw);
  setTimeout(tick, CALM.matches ? 1000 : TICK);
})();

// Without the experiments the rest of the page is as good.
import("./experiments/run.js").then(({ start }) => start(lab, $("experiments"))).catch((error) => console.warn(error));

/**
 * The page of `everywire serve`: one reader, which takes whatever transport the network lets through. What came is noted at once and
 * drawn by a clock. All that an event says is put into the page as text, never as markup.
 */

const { mount } = document.body.dataset;
const { connect } = await import(`${mount}/client.js`);

const AWAY = 2; // seconds that a cut lasts
const SHOWN = 20; // events
const TICK = 400; // milliseconds between two drawings: nobody reads faster
const CALM = matchMedia("(prefers-reduced-motion: reduce)"); // then once a second

const $ = (id) => document.getElementById(id);
const put = (node, text) => node.textContent === text || (node.textContent = text); // an unchanged text would be read out again
const count = new Intl.NumberFormat("en");
const milliseconds = (ms) => (ms < 10 ? `${Math.max(0, ms).toFixed(1)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);

const WHY = {
  evicted: ({ channel, after, through }) => `Lost: the server no longer keeps ${channel} from ${after} to ${through}.`,
  epoch: ({ channel, after, id }) => `Lost: a new log began (${id.split(".")[0]}), and what ${channel} had after ${after} is gone.`,
  future: ({ channel, after }) => `Lost: ${after} lies ahead of the log of ${channel}; going on from the present.`,
};

class Reader {
  #items = []; // the newest first
  #events = 0;
  #lost = 0;
  #drawn = null;
  #mark = null; // of the line that was published here: the event may come before the answer that has its id
  #paused = false;

  constructor(section) {
    this.section = section;
    this.live = connect(mount, { channels: section.dataset.reads.split(",") });
    this.live.on("state", () => this.#stands());
    this.live.on("event", (event) => this.#event(event));
    this.live.on("lost", (lost) => {
      this.#lost += 1;
      this.#note(lost);
    });
    $("cut").addEventListener("click", () => this.live.cut(AWAY));
    $("pause").addEventListener("click", () => this.#pause());
    $("say")?.addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#say($("text").value.trim());
    });
    this.#tick();
  }

  #stands() {
    if (this.#paused) return;
    this.section.dataset.state = this.live.state;
    put($("sentence"), this.live.sentence);
  }

  #event(event) {
    this.#events += 1;
    this.#note(event);
    const mark = event.data?.mark;
    if (mark && mark === this.#mark?.mark) put($("heard"), `It came back after ${milliseconds(performance.now() - this.#mark.at)}.`);
  }

  #note(item) {
    this.#items.unshift(item);
    this.#items.length = Math.min(this.#items.length, SHOWN);
  }

  #pause() {
    this.#paused = !this.#paused;
    document.body.classList.toggle("paused", this.#paused);
    put($("pause"), this.#paused ? "Resume" : "Pause");
    this.#stands();
  }

  async #say(text) {
    if (!text) return;
    const mark = crypto.getRandomValues(new Uint32Array(2)).join("");
    this.#mark = { mark, at: performance.now() };
    put($("published"), "");
    put($("heard"), "");
    try {
      const id = await this.live.publish(this.section.dataset.public, { text, mark }, { key: mark });
      put($("published"), `Published as ${id}.`);
      $("text").value = "";
    } catch ({ message, code }) {
      put($("published"), `Not published: ${message}${code ? ` (${code})` : ""}.`);
    }
  }

  #tick() {
    if (!this.#paused && !document.hidden) this.#draw();
    setTimeout(() => this.#tick(), CALM.matches ? 1000 : TICK);
  }

  #draw() {
    put($("events"), count.format(this.#events));
    put($("lost"), count.format(this.#lost));
    $("lost").classList.toggle("bad", this.#lost > 0);
    put($("position"), this.live.position ?? "–");
    if (this.#drawn === this.#items[0]) return;
    this.#drawn = this.#items[0];
    $("last").replaceChildren(...this.#items.map(line));
  }
}

/** An item in a line. */
function line(item) {
  const node = document.createElement("li");
  node.className = item.type;
  if (item.type === "lost") put(node, WHY[item.reason]?.(item) ?? `Lost: ${item.reason}.`);
  else node.append(part("b", item.channel), part("span", JSON.stringify(item.data)), part("i", item.id.split(".")[1]));
  return node;
}

function part(tag, text) {
  const node = document.createElement(tag);
  put(node, text);
  return node;
}

if ($("reader")) new Reader($("reader"));
// Behind a proxy the browser knows best where this is.
for (const place of document.querySelectorAll(".url")) put(place, `${location.origin}${mount}`);

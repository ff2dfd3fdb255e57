/**
 * Readers without any cleverness, made of what browsers have: what happens to them is the lesson. Each keeps what came, with
 * `late`: the milliseconds from its publishing to here, both taken from this page's clock.
 */

export const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** Resolves to whether `question()` became true within `ms`. */
export async function within(ms, question) {
  for (const end = performance.now() + ms; !question();) {
    if (performance.now() > end) return false;
    await wait(10);
  }
  return true;
}

export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

const event = ({ id, data }) => ({ id, n: data.n, late: performance.now() - data.sent });

/** An EventSource. `ids`: of all that came, control messages too; `errors`: its `readyState` at each. */
export function source(url, init) {
  const it = { wire: new EventSource(url, init), opened: 0, errors: [], events: [], hello: null };
  it.wire.onopen = () => { it.opened += 1; };
  it.wire.onerror = () => it.errors.push(it.wire.readyState);
  it.wire.onmessage = ({ data }) => it.events.push(event({ data: {}, ...JSON.parse(data) }));
  it.wire.addEventListener("hello", ({ lastEventId }) => { it.hello ??= lastEventId; });
  it.close = () => it.wire.close();
  return it;
}

/** A WebSocket. `ended`: the code and whether it was a clean close, as the browser says. */
export function socket(url) {
  const began = performance.now();
  const it = { wire: new WebSocket(url), opened: null, ended: null, messages: 0, replies: 0, events: [], position: null };
  it.wire.onopen = () => { it.opened = performance.now() - began; };
  it.wire.onclose = ({ code, wasClean }) => { it.ended = { code, clean: wasClean, after: performance.now() - began }; };
  it.wire.onmessage = ({ data }) => {
    it.messages += 1;
    for (const item of JSON.parse(data)) {
      it.position = item.id ?? it.position;
      if (item.type === "event") it.events.push(event(item));
      if (item.type === "reply") it.replies += 1;
    }
  };
  it.close = () => it.wire.close();
  return it;
}

/** A stream read with fetch. `reads`: what each read gave, as text; `events`: what a parser makes of all of them. */
export function stream(url, init = {}) {
  const stop = new AbortController(), began = performance.now();
  const it = { opened: null, ended: false, reads: [], events: [], position: null, close: () => stop.abort() };
  it.over = read().catch(() => {}).finally(() => { it.ended = true; });
  return it;

  async function read() {
    const answer = await fetch(url, { ...init, cache: "no-store", signal: stop.signal });
    it.opened = performance.now() - began;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = "";;) {
      const { done, value } = await reader.read();
      if (done) return;
      it.reads.push(value);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) take(block);
    }
  }

  function take(block) {
    const data = block.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
    const item = JSON.parse(data);
    if (item.type !== "event") return;
    it.events.push(event(item));
    it.position = item.id;
  }
}

/** One poll: its items. */
export async function poll(url, signal) {
  const answer = await fetch(url, { cache: "no-store", signal });
  return answer.ok ? answer.json() : [];
}

/** Polls from `since` on, until it is closed. `anew`: asks each time for what comes from then on. */
export function poller(url, { anew = false } = {}) {
  const stop = new AbortController();
  const it = { events: [], requests: 0, position: null, close: () => stop.abort() };
  it.over = read().catch(() => {});
  return it;

  async function ask(more) {
    it.requests += 1;
    const items = await poll(url(more), stop.signal);
    it.position = items.at(-1)?.id ?? it.position;
    it.events.push(...items.filter(({ type }) => type === "event").map(event));
  }

  async function read() {
    while (!stop.signal.aborted) {
      if (anew || it.position === null) await ask({});
      await ask({ since: it.position, wait: 5 });
    }
  }
}

/** What the lab's page says: what is counted, in the form that its number has in that language. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const LAB = "../../quart_app/lab/static";

/** What a page in that language says with: `words.js` reads both from its document. */
async function speaking(lang) {
  const textContent = readFileSync(new URL(`${LAB}/words/${lang}.json`, import.meta.url), "utf8");
  globalThis.document = { documentElement: { lang }, getElementById: () => ({ textContent }) };
  return import(`${LAB}/words.js?${lang}`);
}

test("one is one, and more are more", async () => {
  const said = {};
  for (const lang of ["en", "de"]) {
    const { number, word } = await speaking(lang);
    said[lang] = [1, 0, 2, 1000].map((count) => word("same.lacks", { count: number(count) }));
  }
  assert.deepEqual(said, {
    en: ["1 event", "0 events", "2 events", "1,000 events"],
    de: ["1 Ereignis", "0 Ereignisse", "2 Ereignisse", "1.000 Ereignisse"],
  });
});

test("the number that is counted need not be the only one, and what is not counted has one form", async () => {
  const { word } = await speaking("en");
  assert.equal(word("server.stopped", { pid: null, starts: 1 }), "Stopped. It was started once.");
  assert.equal(word("server.stopped", { pid: 7, starts: 3 }), "Stopped. It was started 3 times.");
  assert.equal(word("page.pause"), "Pause display");
  assert.equal(word("page.nothing"), "page.nothing");
});

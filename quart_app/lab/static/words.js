/** What the page says, from the one catalogue of its language, and figures as that language writes them. */

export const words = JSON.parse(document.getElementById("words").textContent);
export const language = document.documentElement.lang;

const integers = new Intl.NumberFormat(language);
const plurals = new Intl.PluralRules(language);
const tenths = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/**
 * What the catalogue has under `key` (`lane.delivered`), with `{names}` replaced. What it has not is shown as its key. What is counted has
 * several forms, and the name `of` the number that chooses one.
 */
export function word(key, values = {}) {
  let found = key.split(".").reduce((at, part) => at?.[part], words);
  if (found?.of) found = found[plurals.select(String(values[found.of]).replace(/\D/g, ""))] ?? found.other;
  if (typeof found !== "string") return key;
  return found.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export const has = (key) => typeof key.split(".").reduce((at, part) => at?.[part], words) === "string";

/** What a network is called here; its name for machines, if it has no other. */
export const called = (name) => (has(`networks.${name}.name`) ? word(`networks.${name}.name`) : name);

export const number = (value) => integers.format(value);

export function milliseconds(ms) {
  if (ms < 10) return `${tenths.format(Math.max(0, ms))} ms`;
  return ms < 1000 ? `${integers.format(Math.round(ms))} ms` : `${tenths.format(ms / 1000)} s`;
}

export function bytes(value) {
  if (value < 1000) return `${integers.format(value)} B`;
  const power = Math.min(Math.floor(Math.log10(value) / 3), 4);
  return `${tenths.format(value / 1000 ** power)} ${["", "kB", "MB", "GB", "TB"][power]}`;
}

/** Seconds since 1970 as a time of day. */
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const time = (seconds) => clock.format(seconds * 1000);

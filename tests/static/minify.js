/**
 * Makes what the server serves of the browser client: `make client` writes client.min.js and tabs.min.js.
 *
 *   node tests/static/minify.js          make them
 *   node tests/static/minify.js check    fail unless they are made of the source
 *
 * First terser does its work. What is left then is mostly names, and which ones they are makes no difference to a browser, but to
 * gzip: it packs well what was there before. So the second step looks for names, and for an order of the properties in objects, by
 * which the file packs best. It tries one change after the other, many thousands, and keeps what helps. Its dice are the same every
 * time.
 *
 * To check is quicker than to make: two texts are the same program if they are the same letter by letter once each is brought to
 * plain names and plain order.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { deflateRawSync } from "node:zlib";
import { parse } from "acorn";
import { analyze } from "eslint-scope";
import { minify } from "terser";

const STATIC = new URL("../../transports/static/", import.meta.url);
const NAMES = ["client", "tabs"];
const TRIES = 200_000;

// Properties of objects that never leave client.js, nor go up or down a wire: their names may be shortened.
const PRIVATE = /^(cutter|deadline|moved|query|reject|replies|resolve|ring)$/;

const read = (name) => readFileSync(new URL(`${name}.js`, STATIC), "utf8").trim();

/** What terser makes of a source. The table needs no wide columns, and `let` for `const` saves a kind of statement. */
async function small(name) {
  const source = read(name)
    .replace(/^(\s*|.*[({] ?)const /gm, "$1let ")
    .replace(/(?<=GRID = `)[^`]*/, (grid) => grid.replace(/ +/g, " "));
  const { code } = await minify(source, {
    module: true,
    ecma: 2022,
    compress: { passes: 5, keep_fargs: false, unsafe_arrows: true, unsafe_methods: true },
    mangle: { properties: { regex: PRIVATE, builtins: true } },
  });
  return code;
}

/**
 * A program whose names and order can be changed: its pieces, in which a use of a variable is { variable, key }, and a list of
 * properties is { items, order }. `key` is the name of the property that the variable is the value of: `{ key: variable }`.
 */
function program(text) {
  const options = { ecmaVersion: 2022, sourceType: "module" };
  const tree = parse(text, { ...options, ranges: true });
  const scopes = analyze(tree, options).scopes;

  // The variables, and where they are used. Those that are exported keep their names, and so do those of the world outside.
  // A class knows its own name once more.
  const places = scopes.filter(({ type }) => type !== "class");
  const variables = places.flatMap((scope) => scope.variables.filter((each) => each.identifiers[0]));
  const declared = tree.body.flatMap(({ declaration }) => declaration?.declarations ?? declaration ?? []);
  const exported = new Set(declared.map(({ id }) => id.name));
  const fixed = variables.map(({ name, scope }) => scope.type === "module" && exported.has(name));
  const unresolved = scopes.flatMap(({ through }) => through).filter(({ resolved }) => !resolved);
  const outside = new Set(unresolved.map(({ identifier }) => identifier.name));

  // Two variables need different names if one is used where the other one is to be seen.
  const within = (scope, outer) => scope === outer || (scope !== null && within(scope.upper, outer));
  const seen = variables.map(({ scope, references }) => [...new Set([scope, ...references.map(({ from }) => from)])]);
  const inner = (a, { scope: place }) => within(place, variables[a].scope) && seen[a].some((scope) => within(scope, place));
  const rival = (a, b) => a !== b && (inner(a, variables[b]) || inner(b, variables[a]));
  const rivals = variables.map((_, a) => [...variables.keys()].filter((b) => rival(a, b)));

  const keyed = new Map();
  const lists = new Map();
  const visit = (node) => {
    if (node === null || typeof node !== "object") return;
    if (Array.isArray(node)) return node.forEach(visit);
    if (/^Object/.test(node.type)) runs(node).forEach((run) => lists.set(run[0].start, run));
    if (node.type === "Property" && node.kind === "init" && !node.method && !node.computed && node.key.type === "Identifier") {
      const value = node.value.type === "AssignmentPattern" ? node.value.left : node.value;
      if (value.type === "Identifier") keyed.set(value.start, { start: node.start, key: node.key.name });
    }
    for (const part of Object.values(node)) visit(part);
  };
  visit(tree);
  const at = new Map();
  variables.forEach((each, variable) => {
    for (const { start, end } of [...each.identifiers, ...each.references.map(({ identifier }) => identifier)]) {
      const use = keyed.get(start);
      at.set(use?.start ?? start, { variable, key: use?.key, end });
    }
  });

  // `listed`: where a list begins that is being cut already.
  const list = (run) => ({
    items: run.map(({ start, end }) => cut(start, end, start)),
    order: [...run.keys()],
    keys: run.map(({ key }) => key.name ?? key.value),
  });
  const cut = (from, to, listed) => {
    const pieces = [];
    for (let place = from, plain = from; ; ) {
      const run = place !== listed && lists.get(place);
      const piece = run ? list(run) : at.get(place);
      if (!piece && place < to) place++;
      else {
        pieces.push(text.slice(plain, place));
        if (place >= to) return pieces;
        pieces.push(piece);
        place = plain = run ? run.at(-1).end : piece.end;
        listed = undefined;
      }
    }
  };
  return { pieces: cut(0, text.length), names: variables.map(({ name }) => name), fixed, outside, rivals };
}

/** The properties that may change places: values that only are something come in any order, values that do something do not. */
function runs({ type, properties }) {
  // The order of the rungs has a meaning.
  if (properties.some(({ key }) => key?.name === "longpoll")) return [];
  // What is taken out of an object comes in any order, unless a default is made of what was taken out before.
  const bound = properties.map(({ value }) => (value?.left ?? value)?.name);
  const calm = (value) => (type === "ObjectPattern" ? !uses(value.right, bound) : quiet(value));
  const still = ({ computed, value }) => value && !computed && calm(value);
  const found = [[]];
  for (const each of properties) {
    if (still(each)) found.at(-1).push(each);
    else found.push([]);
  }
  return found.filter((run) => run.length > 1);
}

/** Whether a variable with one of these names is in this value. */
function uses(node, names) {
  if (node === null || typeof node !== "object") return false;
  if (node.type === "Identifier") return names.includes(node.name);
  return (node.type === "MemberExpression" ? [node.object] : Object.values(node)).some((each) => uses(each, names));
}

/** Whether it changes nothing to come to this value sooner or later. */
function quiet(node) {
  if (node === null || typeof node !== "object") return true;
  if (Array.isArray(node)) return node.every(quiet);
  if (/Function/.test(node.type)) return true;
  if (/^(Call|New|Await|Yield|Assignment|Update|Tagged|Import)/.test(node.type) || node.operator === "delete") return false;
  return Object.values(node).every(quiet);
}

function print({ pieces, names }) {
  let text = "";
  const put = (list) => {
    for (const piece of list) {
      if (typeof piece === "string") text += piece;
      else if (piece.items) {
        piece.order.forEach((each, place) => {
          if (place) text += ",";
          put(piece.items[each]);
        });
      } else {
        const name = names[piece.variable];
        text += piece.key === undefined || piece.key === name ? name : `${piece.key}:${name}`;
      }
    }
  };
  put(pieces);
  return text;
}

/** All uses and lists, however deep. */
const every = (pieces) =>
  pieces.filter((piece) => typeof piece !== "string").flatMap((piece) => [piece, ...(piece.items ?? []).flatMap(every)]);

/** The text of a program in plain order, with plain names. */
function plain(text) {
  const it = program(text);
  const inOrder = (pieces) => pieces.forEach(({ items, order, keys }) => {
    if (!items) return;
    items.forEach(inOrder);
    order.sort((a, b) => (keys[a] < keys[b] ? -1 : 1));
  });
  inOrder(it.pieces);
  // The variables, as they come.
  const found = new Set();
  const gather = (pieces) => pieces.forEach(({ items, order, variable }) => {
    if (items) order.forEach((each) => gather(items[each]));
    else if (variable !== undefined && !it.fixed[variable]) found.add(variable);
  });
  gather(it.pieces);
  [...found].forEach((variable, number) => { it.names[variable] = `$${number}`; });
  return print(it);
}

// What is no name of a variable. Properties may have such names.
const WORDS = `arguments as async await break case catch class const continue default delete do else enum eval export extends false
  finally for function if implements import in instanceof interface let new null of package private protected public return static
  super switch this throw true try typeof var void while with yield`.split(/\s+/);
const LETTERS = [..."etnrsoialucdfhpmgvybwkxjqzETNRSOIALUCDFHPMGVYBWKXJQZ$_"];
const SHORT = [...LETTERS, ...LETTERS.slice(0, 26).flatMap((letter) => [`${letter}e`, `${letter}t`])];

/** The same program, under names and in an order that pack well: simulated annealing. */
function packed(text) {
  const it = program(text);
  const { names, fixed, rivals } = it;
  const all = every(it.pieces);
  const lists = all.filter(({ items }) => items);
  const keys = names.map((_, i) => [...new Set(all.filter(({ variable, key }) => variable === i && key).map(({ key }) => key))]);
  const taken = new Set([...it.outside, ...WORDS]);
  const free = names.flatMap((_, i) => (fixed[i] ? [] : [i]));

  let roll = 1;
  const dice = () => {
    roll = (roll + 0x6d2b79f5) >>> 0;
    let t = Math.imul(roll ^ (roll >>> 15), roll | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const pick = (list) => list[Math.floor(dice() * list.length)];

  /** Another order -> how to take it back. */
  const reorder = () => {
    const list = pick(lists);
    const { order } = list;
    const [from, to] = [pick([...order.keys()]), pick([...order.keys()])];
    list.order = order.toSpliced(from, 1);
    list.order.splice(to, 0, order[from]);
    return () => { list.order = order; };
  };

  /** Another name, and those that had it get the one that is free now, or any -> how to take it back. */
  const rename = () => {
    const one = pick(free);
    const before = names[one];
    const common = dice() < 0.3 ? LETTERS.slice(0, 1 + Math.floor(dice() * 20)) : dice() < 0.9 ? LETTERS : SHORT;
    const name = pick(keys[one][0] && dice() < 0.15 ? keys[one] : common);
    const others = rivals[one].filter((each) => names[each] === name);
    if (name === before || taken.has(name) || others.some((each) => fixed[each])) return null;
    const old = [one, ...others].map((each) => [each, names[each]]);
    const undo = () => { for (const [each, was] of old) names[each] = was; };
    const fits = (each, wanted) => !taken.has(wanted) && !rivals[each].some((rival) => names[rival] === wanted);
    names[one] = name;
    for (const each of others) names[each] = null;
    for (const each of others) {
      names[each] = fits(each, before) ? before : pick(SHORT.filter((wanted) => fits(each, wanted)).slice(0, 8));
      if (!names[each]) return undo(), null;
    }
    return undo;
  };

  const size = () => deflateRawSync(print(it), { level: 9 }).length;
  let now = size();
  let best = [now, print(it)];
  for (let i = 0; i < TRIES; i++) {
    const undo = lists[0] && dice() < 0.15 ? reorder() : rename();
    if (!undo) continue;
    // At first a change for the worse is taken now and then: it may be the way to something better.
    const heat = 0.3 * (1 - i / TRIES) ** 2 + 0.01;
    const then = size();
    if (then > now && dice() >= Math.exp((now - then) / heat)) {
      undo();
      continue;
    }
    now = then;
    if (now < best[0]) best = [now, print(it)];
  }
  return best[1];
}

let wrong = false;
for (const name of NAMES) {
  const made = await small(name);
  if (plain(made) === plain(read(`${name}.min`))) continue;
  wrong = true;
  if (process.argv[2] === "check") console.log(`${name}.min.js is not what ${name}.js makes: run \`make client\``);
  else writeFileSync(new URL(`${name}.min.js`, STATIC), `${packed(made)}\n`);
}
if (wrong && process.argv[2] === "check") process.exit(1);

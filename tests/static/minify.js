/**
 * Makes what the server serves of the browser client: `make client` writes client.min.js and those of the modules that it loads.
 *
 *   node tests/static/minify.js          make them
 *   node tests/static/minify.js check    fail unless they are made of the source
 *
 * First terser does its work. What is left then is mostly names, and which ones they are makes no difference to a browser, but to
 * gzip: it packs well what was there before. So the second step looks for names, and for an order of the properties in objects, by
 * which the file packs best. It tries one change after the other, many thousands, and keeps what helps. Its dice are the same every
 * time, and it goes on from where it came the last time, which is in names.json: it need not find everything in one go.
 *
 * To check is quicker than to make: two texts are the same program if they are the same letter by letter once each is brought to
 * plain names and plain order.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { deflateRawSync } from "node:zlib";
import { parse } from "acorn";
import { minify } from "terser";

const STATIC = new URL("../../transports/static/", import.meta.url);
const MODULES = ["client", "outbox", "polls", "tabs"];
const KNOWN = new URL("names.json", import.meta.url);
const TRIES = +(process.env.TRIES ?? 40_000);
const HEAT = +(process.env.HEAT ?? 0.05);

// Properties of objects that never leave these modules, nor go up or down a wire: their names are shortened, alike in all of them.
const PRIVATE = ["cutter", "deadline", "last", "moved", "query", "repeated", "replies", "ring", "take", "tell"];

const SYNTAX = { ecmaVersion: 2022, sourceType: "module" };

const read = (name) => readFileSync(new URL(`${name}.js`, STATIC), "utf8").trim();

/** What terser makes of a source, all but the names. */
async function small(name) {
  const exported = [];
  const source = read(name)
    // `let` alone saves a kind of statement.
    .replace(/^(\s*|.*[({] ?)const /gm, "$1let ")
    // A list of exports lets what is exported have another name inside.
    .replace(/^export ((?:async )?\w+ )(\w+)/gm, (_, kind, each) => (exported.push(each), `${kind.replace("const", "let")}${each}`))
    // The table needs no wide columns, and most of its rows end with the same rule four times.
    .replace(/(?<=GRID = )`[^`]*`/, (grid) =>
      `${grid.replace(/ +/g, " ").replace(/( \S+)\1\1\1 - -/g, "$1*")}.replace(/( \\S+)\\*/g, "$1$1$1$1 - -")`)
    .replace(/\w+/g, (word) => (PRIVATE.includes(word) ? `$${PRIVATE.indexOf(word)}` : word))
    // While a step is taken, the fields of the state are variables: `s.again` is a letter then.
    .replace(/let s = (.*);([^]*?)\{ \.\.\.s \}/, (_, copy, body) => {
      const fields = [...new Set(body.match(/(?<=\bs\.)\w+/g))].map((field) => `${field}: s_${field}`);
      return `let {${fields}} = ${copy};${body.replace(/\bs\./g, "s_")}{...state,${fields}}`;
    });
  const compress = { passes: 5, keep_fargs: false, lhs_constants: false, unsafe: true, unsafe_arrows: true, unsafe_methods: true };
  const { code } = await minify(`${source}export{${exported}}`, { module: true, ecma: 2022, compress, mangle: false });

  const edits = [];
  visit(parse(code, SYNTAX), (node, parent) => {
    const { type, start, end, value, left, right, operator } = node;
    // One kind of quotes.
    if (type === "Literal" && typeof value === "string" && node !== parent.key)
      edits.push([start, end, `\`${value.replace(/[\\`]|\$\{/g, "\\$&")}\``]);
    // Where a text or two variables are compared, two `=` say as much as three. Not so with null, undefined, numbers, true and false.
    const strict = (each) => (each.type === "Literal" ? typeof each.value !== "string" : each.type === "UnaryExpression" && each.operator !== "typeof");
    if (/^[!=]==$/.test(operator) && !strict(left) && !strict(right)) {
      const place = code.indexOf(operator, left.end);
      edits.push([place, place + 3, operator.slice(0, 2)]);
    }
  });
  edits.sort(([a], [b]) => b - a);
  return edits.reduce((text, [start, end, by]) => text.slice(0, start) + by + text.slice(end), code);
}

/**
 * A program whose names and order can be changed: its pieces, in which a use of a variable is { variable, key }, and a list of
 * properties is { items, order }. `key` is the name of the property that the variable is the value of: `{ key: variable }`.
 */
function program(text) {
  const tree = parse(text, SYNTAX);
  const { variables, outside } = scopes(tree);

  const at = new Map();
  variables.forEach(({ uses }, variable) => {
    for (const { start, end, as = {} } of uses) at.set(as.start ?? start, { variable, key: as.key, exported: as.exported, end: as.end ?? end });
  });
  const lists = new Map();
  visit(tree, (node) => {
    if (/^Object/.test(node.type)) runs(node).forEach((run) => lists.set(run[0].start, run));
    if (node.specifiers?.[1]) lists.set(node.specifiers[0].start, node.specifiers);
  });

  // `listed`: where a list begins that is being cut already.
  const list = (run) => ({
    items: run.map(({ start, end }) => cut(start, end, start)),
    order: [...run.keys()],
    keys: run.map(({ key, exported, id }) => (key ?? exported).name ?? key.value),
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
  const index = new Map(variables.map((each, i) => [each, i]));
  return {
    pieces: cut(0, text.length),
    names: variables.map(({ name }) => name),
    rivals: variables.map(({ rivals }) => [...rivals].map((each) => index.get(each))),
    outside,
  };
}

/** Calls `enter(node, parent)` for each node of a tree; what that returns is called when the node is left. */
function visit(node, enter, parent = null) {
  if (node === null || typeof node !== "object") return;
  if (Array.isArray(node)) return node.forEach((each) => visit(each, enter, parent));
  const leave = node.type && enter(node, parent);
  // `{ name }` is a key and a value at the same place; what is exported has another name outside.
  const twice = node.shorthand ? "key" : "exported";
  for (const [part, each] of Object.entries(node)) if (part !== twice) visit(each, enter, node);
  if (leave) leave();
}

/** Every variable: { name, uses, rivals }. Rivals need another name: one is used where the other one is to be seen. */
function scopes(tree) {
  const declared = new Map();
  const variables = [];
  const outside = new Set();
  // The body of a function is one with its parameters.
  const opens = ({ type }, parent) =>
    /^(Program|Arrow|Function|For|Switch|Catch)/.test(type) || (type === "BlockStatement" && !/Function|Catch/.test(parent.type));
  const declare = (scope, pattern) => {
    if (!pattern) return;
    const { type, name, properties, elements } = pattern;
    if (type === "Identifier") {
      const variable = { name, scope, uses: [], rivals: new Set() };
      variables.push(variable);
      scope.variables.set(name, variable);
    }
    for (const part of properties ?? elements ?? [pattern.argument ?? pattern.left]) declare(scope, part?.value ?? part);
  };

  let scope = null;
  const within = (node) => {
    const outer = scope;
    if (!declared.has(node)) declared.set(node, { outer, variables: new Map() });
    scope = declared.get(node);
    return () => { scope = outer; };
  };
  visit(tree, (node, parent) => {
    if (/^(Function|Class)Declaration/.test(node.type)) declare(scope, node.id);
    const leave = opens(node, parent) && within(node);
    if (/Function/.test(node.type)) node.params.forEach((each) => declare(scope, each));
    if (node.type === "FunctionExpression") declare(scope, node.id);
    if (node.type === "CatchClause") declare(scope, node.param);
    if (node.type === "VariableDeclaration") node.declarations.forEach(({ id }) => declare(scope, id));
    return leave;
  });
  visit(tree, (node, parent) => {
    const leave = opens(node, parent) && within(node);
    const { type, key, property, computed } = parent ?? {};
    if (node.type !== "Identifier" || (!computed && node === (type === "MemberExpression" ? property : key))) return leave;
    let found = scope;
    while (found && !found.variables.has(node.name)) found = found.outer;
    const variable = found?.variables.get(node.name);
    if (!variable) return void outside.add(node.name);
    variable.uses.push(node);
    for (let each = scope; ; each = each.outer) {
      for (const rival of each.variables.values()) if (rival !== variable) variable.rivals.add(rival), rival.rivals.add(variable);
      if (each === found) break;
    }
  });
  // What stands behind a key, and what is known by another name outside.
  visit(tree, ({ type, kind, method, computed, key, value, local, exported }) => {
    if (type === "ExportSpecifier") local.as = { exported: exported.name, start: local.start, end: exported.end };
    if (type !== "Property" || kind !== "init" || method || computed || key.type !== "Identifier") return;
    const name = value.type === "AssignmentPattern" ? value.left : value;
    if (name.type === "Identifier") name.as = { key: key.name, start: key.start, end: name.end };
  });
  return { variables, outside };
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
        const { key = name, exported = name } = piece;
        text += key !== name ? `${key}:${name}` : exported !== name ? `${name} as ${exported}` : name;
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
    else if (variable !== undefined) found.add(variable);
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
const SHORT = [...LETTERS, ...LETTERS.flatMap((letter) => LETTERS.slice(0, 26).map((other) => letter + other))];

/** The same program, under names and in an order that pack well. `known`: what was found before, and is found now. */
function packed(text, known) {
  const it = program(text);
  const { names, rivals } = it;
  const source = [...names];
  const all = every(it.pieces);
  const lists = all.filter(({ items }) => items);
  const taken = new Set([...it.outside, ...WORDS]);
  const fits = (one, name) => !taken.has(name) && !rivals[one].some((rival) => names[rival] === name);

  // Variables that have one name in the source are mostly the same thing, and used alike: they get one name again, if they can.
  const kin = Map.groupBy(names.keys(), (one) => source[one]);
  const uses = (some) => all.filter(({ variable }) => some.includes(variable)).length;
  names.fill(null);
  for (const [name, some] of kin) some.forEach((one, i) => { if (known.names?.[name]?.[i] && fits(one, known.names[name][i])) names[one] = known.names[name][i]; });
  for (const some of [...kin.values()].sort((a, b) => uses(b) - uses(a))) {
    const left = some.filter((one) => names[one] === null);
    const common = LETTERS.find((name) => left.every((one) => fits(one, name)));
    for (const one of left) names[one] = common ?? SHORT.find((name) => fits(one, name));
  }
  const alike = Map.groupBy(lists, ({ keys }) => keys.toSorted().join());
  for (const [keys, some] of alike) {
    some.forEach((list, i) => {
      const order = known.orders?.[keys]?.[i];
      if (order) list.order = order.split(",").map((key) => list.keys.indexOf(key));
    });
  }

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

  /** Another name, for one or for all of its kin; those that had it get the one that is free now, or any -> how to take it back. */
  const rename = () => {
    const one = Math.floor(dice() * names.length);
    const before = names[one];
    const ours = dice() < 0.3 ? kin.get(source[one]) : [one];
    const name = pick(dice() < 0.3 ? LETTERS.slice(0, 1 + Math.floor(dice() * 20)) : dice() < 0.97 ? LETTERS : SHORT);
    const others = [...new Set(ours.flatMap((each) => rivals[each].filter((rival) => names[rival] === name)))];
    if (name === before || taken.has(name) || others.some((each) => ours.includes(each))) return null;
    const old = [...ours, ...others].map((each) => [each, names[each]]);
    const undo = () => { for (const [each, was] of old) names[each] = was; };
    for (const each of ours) names[each] = name;
    for (const each of others) names[each] = null;
    for (const each of others) {
      names[each] = fits(each, before) ? before : LETTERS.find((wanted) => fits(each, wanted)) ?? null;
      if (!names[each]) return undo(), null;
    }
    return undo;
  };

  const size = () => deflateRawSync(print(it), { level: 9 }).length;
  const keep = () => {
    known.names = Object.fromEntries([...kin].map(([name, some]) => [name, some.map((one) => names[one])]));
    const written = ({ keys, order }) => order.map((place) => keys[place]).join();
    known.orders = Object.fromEntries([...alike].map(([keys, some]) => [keys, some.map(written)]));
    return [now, print(it)];
  };
  let now = size();
  let best = keep();
  for (let i = 0; i < TRIES; i++) {
    const undo = lists[0] && dice() < 0.15 ? reorder() : rename();
    if (!undo) continue;
    // At first a change for the worse is taken now and then: it may be the way to something better.
    const heat = HEAT * (1 - i / TRIES) ** 2 + 0.01;
    const then = size();
    if (then > now && dice() >= Math.exp((now - then) / heat)) {
      undo();
      continue;
    }
    now = then;
    if (now < best[0]) best = keep();
  }
  return best[1];
}

let wrong = false;
const known = JSON.parse(readFileSync(KNOWN, "utf8"));
for (const name of MODULES) {
  const made = await small(name);
  if (process.argv[2] !== "check") writeFileSync(new URL(`${name}.min.js`, STATIC), `${packed(made, (known[name] ??= {}))}\n`);
  else if (plain(made) !== plain(read(`${name}.min`))) {
    wrong = true;
    console.log(`${name}.min.js is not what ${name}.js makes: run \`make client\``);
  }
}
if (wrong) process.exit(1);
if (process.argv[2] !== "check") writeFileSync(KNOWN, `${JSON.stringify(known, null, 1).replace(/\n {3,}|\n {2}(?=\])/g, "")}\n`);

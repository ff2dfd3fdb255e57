/**
 * Makes what the server serves of the browser client: `make client` writes client.min.js and those of the modules that it loads.
 *
 *   node tests/static/minify.js          make them
 *   node tests/static/minify.js check    fail unless they are made of the source
 *
 * The work is terser's. What is left then is mostly names, and which ones they are makes no difference to a browser, but to gzip,
 * which packs well what was there before. So at the end other names are tried, one after the other, and kept if the file does not
 * become larger: that saves 3 percent. The dice fall the same way every time. To check needs no dice: two files are the same
 * program if they are the same but for the names of their variables.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { deflateRawSync } from "node:zlib";
import { minify } from "terser";

const STATIC = new URL("../../transports/static/", import.meta.url);
const MODULES = ["client", "outbox", "oneway", "presence", "tabs"];
const TRIES = 300; // for each variable

// Properties of objects that never leave these modules, nor go up or down a wire: their names are shortened, alike in all of them.
const PRIVATE = [
  "clock", "cutter", "deadline", "handle", "last", "letters", "machine", "moved", "passed", "query", "replies", "ring", "take", "tell",
  "within",
];

const read = (name) => readFileSync(new URL(`${name}.js`, STATIC), "utf8").trim();

/** What terser makes of a source. */
async function small(source) {
  const text = source
    // `let` alone saves a kind of statement.
    .replace(/\bconst\b/g, "let")
    // But for null and undefined, what is compared here is of one type.
    .replace(/([!=])==(?! (?:null|undefined))/g, "$1=")
    .replace(/\w+/g, (word) => (PRIVATE.includes(word) ? `$${PRIVATE.indexOf(word)}` : word))
    // While a step is taken, the fields of the state are variables: `s.again` is a letter then.
    .replace(/let s = (.*);([^]*?)\{ \.\.\.s \}/, (_, copy, body) => {
      const fields = [...new Set(body.match(/(?<=\bs\.)\w+/g))].map((field) => `${field}: s_${field}`);
      return `let {${fields}} = ${copy};${body.replace(/\bs\./g, "s_")}{...state,${fields}}`;
    });
  const compress = { passes: 5, keep_fargs: false, lhs_constants: false, unsafe: true, unsafe_arrows: true, unsafe_methods: true };
  return (await minify(text, { module: true, ecma: 2022, compress, mangle: false })).code;
}

/**
 * A program in pieces: `text` is what stands between its variables, and their numbers, in turns; `names`: what terser calls them,
 * `source`: what the source does; `rivals`: those that need another name, since one is to be seen where the other one is used.
 */
async function pieces(code) {
  const { ast } = await minify(code, { module: true, compress: false, format: { ast: true, code: false } });
  const scopes = [];
  ast.walk({
    _visit(node, descend) {
      const { enclosed, variables } = node.block_scope ?? node;
      if (enclosed) scopes.push(new Set([...enclosed, ...variables.values()]));
      descend?.call(node);
    },
  });
  const all = new Set(scopes.flatMap((scope) => [...scope]));
  const variables = [...all].filter((each) => !each.undeclared && !each.export);
  const number = new Map(variables.map((each, i) => [each, i]));
  const rivals = variables.map((each) => {
    const seen = new Set(scopes.filter((scope) => scope.has(each)).flatMap((scope) => [...scope]));
    return [...seen].filter((other) => other !== each && number.has(other)).map((other) => number.get(other));
  });
  const names = variables.map(({ mangled_name, name }) => mangled_name ?? name);
  const source = variables.map(({ name }) => name);
  const fixed = [...all].filter((each) => !number.has(each)).map(({ name }) => name);
  variables.forEach((each, i) => { each.mangled_name = `ª${i}ª`; });
  return { text: ast.print_to_string({ ecma: 2022 }).split("ª"), names, source, rivals, fixed };
}

/** The same program, under names that pack well. */
async function packed(code) {
  const { text, names, source, rivals, fixed } = await pieces(code);
  const letters = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ$_"].filter((name) => !fixed.includes(name));
  const print = () => text.map((part, i) => (i % 2 ? names[part] : part)).join("");
  const size = () => deflateRawSync(print(), { level: 9, memLevel: 9 }).length;
  let roll = 1;
  const pick = (list) => list[(roll = (roll * 48_271) % (2 ** 31 - 1)) % list.length];

  // Variables that have one name in the source are mostly used alike: now and then they are renamed together.
  const kin = Map.groupBy(names.keys(), (one) => source[one]);
  let least = size();
  for (let i = 0; i < TRIES * names.length; i++) {
    const one = pick([...names.keys()]);
    const some = pick([true, false, false]) ? kin.get(source[one]) : [one];
    const name = pick(letters);
    const free = names[one];
    // Those that have the name get the one that is free then.
    const others = [...new Set(some.flatMap((each) => rivals[each].filter((rival) => names[rival] === name)))];
    const before = [...some, ...others].map((each) => [each, names[each]]);
    for (const each of some) names[each] = name;
    for (const each of others) names[each] = free;
    const clash = before.some(([each]) => rivals[each].some((rival) => names[rival] === names[each]));
    const now = clash ? Infinity : size();
    if (now <= least) least = now;
    else for (const [each, name] of before) names[each] = name;
  }
  return print();
}

let wrong = false;
for (const name of MODULES) {
  const made = await small(read(name));
  if (process.argv[2] !== "check") writeFileSync(new URL(`${name}.min.js`, STATIC), `${await packed(made)}\n`);
  else if ((await pieces(made)).text.join() !== (await pieces(read(`${name}.min`))).text.join()) {
    wrong = true;
    console.log(`${name}.min.js is not what ${name}.js makes: run \`make client\``);
  }
}
if (wrong) process.exit(1);

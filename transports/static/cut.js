/**
 * For demonstrations: lets every wire drop without a word, as a broken network would, and stays away for `seconds`. Loaded by client.js
 * when somebody wants to see it.
 */
export async function run({ wires, machine, over, broken }, seconds = 0) {
  const wire = wires.get(machine().using) ?? [...wires.values()][0];
  const error = broken("the wire was cut");
  if (wire) over(wire, Object.assign(error, { code: 1, name: "cut", retry: seconds }));
}

/** Making and changing what is on the page: text, never markup. */

/** An element with attributes (`onclick` and the like are listeners, `class` is a class) and children, which are nodes or text. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** Sets a text if it is another: an unchanged text would still be a change to screen readers. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const $ = (id) => document.getElementById(id);

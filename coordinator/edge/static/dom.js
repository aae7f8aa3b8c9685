// Elements without markup strings: nothing here ever parses text as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function element(name, options = {}, ...children) {
  const node = document.createElement(name);
  if (options.class) node.className = options.class;
  if (options.title) node.title = options.title;
  for (const [key, value] of Object.entries(options.attributes ?? {})) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function shape(name, attributes = {}, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// A table row: the first cell names the row; a cell is text, a node, or {text, class, title}.
export function row(cells, options = {}) {
  const made = cells.map((cell, index) => {
    const plain = typeof cell === "string" || cell instanceof Node ? { content: cell } : cell;
    const name = index === 0 && !options.unnamed ? "th" : "td";
    const attributes = name === "th" ? { scope: "row" } : {};
    if (plain.span) attributes.colspan = plain.span;
    return element(name, { class: plain.class, title: plain.title, attributes }, plain.content ?? plain.text ?? "");
  });
  return element("tr", { class: options.class }, ...made);
}

export const right = (text, extra = "") => ({ text, class: `n ${extra}`.trim() });

export function emptyRow(text, columns) {
  return row([{ text, class: "empty", span: columns }], { unnamed: true });
}

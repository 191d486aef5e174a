"use strict";
// Elements and hostile text. A model's text reaches the page by text nodes only, here and nowhere
// else; the page's policy refuses everything that would parse it as markup.

const NAMES_OF_CONTROLS = { 0x7f: "DEL", 0x200b: "ZWSP", 0x2028: "LS", 0x2029: "PS", 0xfeff: "BOM" };

// Control characters, marks that turn the direction of text, invisible ones, and lone surrogates.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  add(node, children);
  return node;
}

function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === "") continue;
    node.append(child instanceof Node ? child : visible(String(child)));
  }
}

// The text as a fragment in which what cannot be seen is written out.
function visible(text) {
  const fragment = document.createDocumentFragment();
  let from = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match.index > from) fragment.append(text.slice(from, match.index));
    const mark = document.createElement("span");
    mark.className = "unseen";
    mark.textContent = nameOf(match[0].charCodeAt(0));
    fragment.append(mark);
    from = match.index + 1;
  }
  if (from < text.length) fragment.append(text.slice(from));
  return fragment;
}

function nameOf(code) {
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  const hex = code.toString(16).toUpperCase().padStart(4, "0");
  return NAMES_OF_CONTROLS[code] || `U+${hex}`;
}

// A line of a list or a title: no line ends, and no more than fits.
function oneLine(text, most = 300) {
  const cut = text.length > most ? text.slice(0, most) + "…" : text;
  return cut.replace(/[\n\t]+/g, " ");
}

const grouped = new Intl.NumberFormat("en");
const number = (value) => grouped.format(value);
const share = (part, whole) => {
  if (!whole) return "–";
  const percent = (100 * part) / whole;
  if (part && percent < 0.1) return "<0.1 %";
  if (part < whole && percent > 99.9) return ">99.9 %";
  return percent.toFixed(percent === 100 || percent === 0 ? 0 : 1) + " %";
};
const many = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

function bar(part, whole, kind) {
  const fill = el("i", { class: kind });
  fill.style.width = whole ? `${(100 * part) / whole}%` : "0";
  return el("span", { class: "bar" }, fill);
}

// Elements without templates: text stays text, whatever a model answers.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

let numbers = 0;
export const uniqueId = () => `f${++numbers}`;

export const words = (name) => name.replaceAll("_", " ");

// A number as a person reads it: four digits that matter, no more than six behind the point.
export function shortNumber(value) {
  if (!Number.isFinite(value) || Number.isInteger(value)) return String(value);
  if (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e7) return value.toPrecision(4);
  const digits = Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(Math.abs(value)))));
  return String(Number(value.toFixed(digits)));
}

// JSON with a list of plain values on one line: a picture stays a picture.
export function prettyJson(value, indent = "") {
  const inner = `${indent}  `;
  const plain = (item) => item === null || typeof item !== "object";
  if (plain(value)) return JSON.stringify(value);
  if (Array.isArray(value)) {
    if (value.every(plain)) return `[${value.map((item) => JSON.stringify(item)).join(", ")}]`;
    return `[\n${value.map((item) => inner + prettyJson(item, inner)).join(",\n")}\n${indent}]`;
  }
  const pairs = Object.entries(value);
  if (!pairs.length) return "{}";
  const lines = pairs.map(([key, item]) => `${inner}${JSON.stringify(key)}: ${prettyJson(item, inner)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

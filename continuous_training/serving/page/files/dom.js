// Creates elements without HTML templates, so that text in a response is never interpreted as HTML.

export function makeElement(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

let lastId = 0;
export const uniqueId = () => `f${++lastId}`;

export const displayName = (name) => name.replaceAll("_", " ");

// Rounds to four significant digits, with at most six digits after the decimal point.
export function formatNumber(value) {
  if (!Number.isFinite(value) || Number.isInteger(value)) return String(value);
  if (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e7) return value.toPrecision(4);
  const digits = Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(Math.abs(value)))));
  return String(Number(value.toFixed(digits)));
}

// Formats JSON with a list of numbers or texts on one line, so that the rows of a picture are readable.
export function prettyJson(value, indent = "") {
  const inner = `${indent}  `;
  const isScalar = (item) => item === null || typeof item !== "object";
  if (isScalar(value)) return JSON.stringify(value);
  if (Array.isArray(value)) {
    if (value.every(isScalar)) return `[${value.map((item) => JSON.stringify(item)).join(", ")}]`;
    return `[\n${value.map((item) => inner + prettyJson(item, inner)).join(",\n")}\n${indent}]`;
  }
  const pairs = Object.entries(value);
  if (!pairs.length) return "{}";
  const lines = pairs.map(([key, item]) => `${inner}${JSON.stringify(key)}: ${prettyJson(item, inner)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

// An answer to look at: a headline, numbers, shares as bars, and pictures.

import { make, prettyJson, shortNumber, words } from "./dom.js";
import { pixels } from "./pixels.js";
import { isPicture, isShare, pictureShape, propertiesOf, resolve } from "./schema.js";

export function showAnswer(answer, schema, doc, inputs) {
  const rows = rowsOf(answer, resolve(schema, doc), doc);
  if (!rows) return [make("pre", { tabindex: 0 }, prettyJson(answer))];
  return rows.map(([value, found], index) => {
    const about = inputs?.length === rows.length ? make("p", { class: "about-input" }, inputs[index]) : null;
    return make("div", { class: rows.length > 1 ? "result many" : "result" }, about, ...parts(value, found, doc));
  });
}

// One row for each thing that was asked about: a list of objects, or lists of one length side by side.
function rowsOf(answer, schema, doc) {
  if (Array.isArray(answer)) return objects(answer, resolve(schema.items, doc));
  if (answer === null || typeof answer !== "object") return null;
  const pairs = Object.entries(answer);
  if (pairs.length === 1 && Array.isArray(pairs[0][1])) {
    const [key, list] = pairs[0];
    const item = resolve(resolve(schema.properties?.[key], doc).items, doc);
    const found = objects(list, item);
    if (found) return found;
  }
  const withRest = rowsBeside(pairs, schema, doc);
  if (withRest) return withRest;
  const lengths = new Set(pairs.map(([, value]) => (Array.isArray(value) ? value.length : -1)));
  if (lengths.size === 1 && !lengths.has(-1)) {
    const names = pairs.map(([key]) => key);
    const properties = Object.fromEntries(names.map((key) => [key, resolve(schema.properties?.[key], doc).items ?? {}]));
    const zipped = { required: names.filter((key) => key in properties), properties };
    return pairs[0][1].map((_, index) => [Object.fromEntries(pairs.map(([key, list]) => [key, list[index]])), zipped]);
  }
  return [[answer, schema]];
}

// One list of objects beside plain values: a row each, with those values in it.
function rowsBeside(pairs, schema, doc) {
  const lists = pairs.filter(([, value]) => Array.isArray(value));
  const rest = pairs.filter(([, value]) => value === null || typeof value !== "object");
  if (lists.length !== 1 || lists.length + rest.length !== pairs.length) return null;
  const [key, list] = lists[0];
  const item = resolve(resolve(schema.properties?.[key], doc).items, doc);
  const others = Object.fromEntries(rest.map(([name]) => [name, schema.properties?.[name] ?? {}]));
  const row = { ...item, properties: { ...item.properties, ...others } };
  return objects(list, row)?.map(([value]) => [{ ...value, ...Object.fromEntries(rest) }, row]) ?? null;
}

const objects = (list, item) =>
  list.every((value) => value && typeof value === "object" && !Array.isArray(value)) ? list.map((value) => [value, item]) : null;

function parts(value, schema, doc) {
  const known = propertiesOf(schema).map(([key]) => key).filter((key) => key in value);
  const names = [...new Set([...known, ...Object.keys(value)])];
  const of = (key) => resolve(schema.properties?.[key], doc);
  const found = [];
  const rest = [];
  const strip = pictureStrip(value, names, of, doc);
  for (const key of names) {
    if (strip?.names.includes(key)) continue;
    if (of(key)["x-headline"]) found.unshift(...headline(key, value[key], of(key)));
    else if (isShare(of(key)) && typeof value[key] === "number") found.push(bars({ [key]: value[key] }));
    else if (isShares(value[key], of(key), doc)) found.push(bars(value[key]));
    else rest.push([key, value[key]]);
  }
  if (rest.length) found.push(pairsOf(rest));
  if (strip) found.push(strip.element);
  return found;
}

function headline(key, value, schema) {
  const text = typeof value === "number" ? shortNumber(value) : String(value);
  return [make("p", { class: "headline" }, text), make("p", { class: "quiet" }, schema.description ?? words(key))];
}

function isShares(value, schema, doc) {
  if (!value || typeof value !== "object" || Array.isArray(value)) return false;
  const of = (key) => resolve(schema.properties?.[key] ?? schema.additionalProperties, doc);
  return Object.keys(value).length > 0 && Object.entries(value).every(([key, item]) => typeof item === "number" && isShare(of(key)));
}

function bars(shares) {
  const lines = Object.entries(shares).flatMap(([key, share]) => [
    make("span", {}, words(key)),
    make("meter", { min: 0, max: 1, value: share, "aria-label": words(key) }),
    make("span", { class: "number" }, `${(100 * share).toFixed(1)} %`),
  ]);
  return make("div", { class: "bars" }, ...lines);
}

function pairsOf(pairs) {
  return make("dl", {}, ...pairs.flatMap(([key, value]) => [make("dt", {}, words(key)), make("dd", {}, plain(value))]));
}

function plain(value) {
  if (typeof value === "number") return shortNumber(value);
  if (Array.isArray(value) && value.every((item) => typeof item === "number")) return value.map(shortNumber).join(", ");
  return typeof value === "string" ? value : make("code", {}, JSON.stringify(value));
}

// Lists of one length, one of which holds pictures: a picture each, with the others under it.
function pictureStrip(value, names, of, doc) {
  const lists = names.filter((key) => Array.isArray(value[key]));
  const shown = lists.find((key) => isPicture(resolve(of(key).items, doc)));
  if (!shown) return null;
  const beside = lists.filter((key) => value[key].length === value[shown].length);
  const { brightest } = pictureShape(resolve(of(shown).items, doc));
  const items = value[shown].map((rows, index) => {
    const others = beside.filter((key) => key !== shown).map((key) => [singular(key), plain(value[key][index])]);
    const label = others.map(([key, item]) => `${key} ${item}`).join(", ");
    const lines = others.map(([key, item]) => make("div", { class: "pair" }, make("dt", {}, `${key} `), make("dd", {}, item)));
    return make("li", {}, pixels(rows, brightest, label), make("dl", {}, ...lines));
  });
  return { names: beside, element: make("ol", { class: "strip" }, ...items) };
}

const singular = (name) => words(name).replace(/s$/, "");

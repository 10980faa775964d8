// Displays a prediction: a headline, numbers, bars for shares, and pictures.

import { displayName, formatNumber, makeElement, prettyJson } from "./dom.js";
import { pictureElement } from "./picture.js";
import { isPicture, isShare, pictureFormat, propertiesOf, resolve } from "./schema.js";

export function predictionElements(prediction, schema, doc, inputs) {
  const rows = rowsOf(prediction, resolve(schema, doc), doc);
  if (!rows) return [makeElement("pre", { tabindex: 0 }, prettyJson(prediction))];
  return rows.map(([value, rowSchema], index) => {
    const input = inputs?.length === rows.length ? makeElement("p", { class: "row-input" }, inputs[index]) : null;
    return makeElement("div", { class: rows.length > 1 ? "result many" : "result" }, input, ...rowElements(value, rowSchema, doc));
  });
}

// Returns one [value, schema] pair for each row of the request, or null. A prediction for several rows is a list
// of objects, or an object of lists of equal length.
function rowsOf(prediction, schema, doc) {
  if (Array.isArray(prediction)) return objectRows(prediction, resolve(schema.items, doc));
  if (prediction === null || typeof prediction !== "object") return null;
  const pairs = Object.entries(prediction);
  if (pairs.length === 1 && Array.isArray(pairs[0][1])) {
    const [key, list] = pairs[0];
    const rows = objectRows(list, itemSchema(schema, key, doc));
    if (rows) return rows;
  }
  return objectRowsWithSharedValues(pairs, schema, doc) ?? columnRows(pairs, schema, doc) ?? [[prediction, schema]];
}

// An object of lists of equal length: one row for each index.
function columnRows(pairs, schema, doc) {
  const lengths = new Set(pairs.map(([, value]) => (Array.isArray(value) ? value.length : -1)));
  if (lengths.size !== 1 || lengths.has(-1)) return null;
  const names = pairs.map(([key]) => key);
  const properties = Object.fromEntries(names.map((key) => [key, itemSchema(schema, key, doc)]));
  const rowSchema = { required: names, properties };
  return pairs[0][1].map((_, index) => [Object.fromEntries(pairs.map(([key, list]) => [key, list[index]])), rowSchema]);
}

// One list of objects and other values that are not objects: the other values belong to each row.
function objectRowsWithSharedValues(pairs, schema, doc) {
  const lists = pairs.filter(([, value]) => Array.isArray(value));
  const shared = pairs.filter(([, value]) => value === null || typeof value !== "object");
  if (lists.length !== 1 || lists.length + shared.length !== pairs.length) return null;
  const [key, list] = lists[0];
  const item = itemSchema(schema, key, doc);
  const sharedSchemas = Object.fromEntries(shared.map(([name]) => [name, schema.properties?.[name] ?? {}]));
  const rowSchema = { ...item, properties: { ...item.properties, ...sharedSchemas } };
  return objectRows(list, rowSchema)?.map(([value]) => [{ ...value, ...Object.fromEntries(shared) }, rowSchema]) ?? null;
}

const itemSchema = (schema, key, doc) => resolve(resolve(schema.properties?.[key], doc).items, doc);

const isObject = (value) => Boolean(value) && typeof value === "object" && !Array.isArray(value);

const objectRows = (list, schema) => (list.every(isObject) ? list.map((value) => [value, schema]) : null);

function rowElements(value, schema, doc) {
  const orderedNames = propertiesOf(schema).map(([key]) => key).filter((key) => key in value);
  const names = [...new Set([...orderedNames, ...Object.keys(value)])];
  const schemaOf = (key) => resolve(schema.properties?.[key], doc);
  const elements = [];
  const otherPairs = [];
  const strip = pictureStrip(value, names, schemaOf, doc);
  for (const key of names) {
    if (strip?.names.includes(key)) continue;
    if (schemaOf(key)["x-headline"]) elements.unshift(...headlineElements(key, value[key], schemaOf(key)));
    else if (isShare(schemaOf(key)) && typeof value[key] === "number") elements.push(barsElement({ [key]: value[key] }));
    else if (isObjectOfShares(value[key], schemaOf(key), doc)) elements.push(barsElement(value[key]));
    else otherPairs.push([key, value[key]]);
  }
  if (otherPairs.length) elements.push(pairsElement(otherPairs));
  if (strip) elements.push(strip.element);
  return elements;
}

function headlineElements(key, value, schema) {
  const text = typeof value === "number" ? formatNumber(value) : String(value);
  return [
    makeElement("p", { class: "headline" }, text),
    makeElement("p", { class: "quiet" }, schema.description ?? displayName(key)),
  ];
}

function isObjectOfShares(value, schema, doc) {
  if (!isObject(value)) return false;
  const schemaOf = (key) => resolve(schema.properties?.[key] ?? schema.additionalProperties, doc);
  const pairs = Object.entries(value);
  return pairs.length > 0 && pairs.every(([key, item]) => typeof item === "number" && isShare(schemaOf(key)));
}

function barsElement(shares) {
  const cells = Object.entries(shares).flatMap(([key, share]) => [
    makeElement("span", {}, displayName(key)),
    makeElement("meter", { min: 0, max: 1, value: share, "aria-label": displayName(key) }),
    makeElement("span", { class: "number" }, `${(100 * share).toFixed(1)} %`),
  ]);
  return makeElement("div", { class: "bars" }, ...cells);
}

function pairsElement(pairs) {
  const cells = pairs.flatMap(([key, value]) => [
    makeElement("dt", {}, displayName(key)),
    makeElement("dd", {}, formatValue(value)),
  ]);
  return makeElement("dl", {}, ...cells);
}

function formatValue(value) {
  if (typeof value === "number") return formatNumber(value);
  if (Array.isArray(value) && value.every((item) => typeof item === "number")) return value.map(formatNumber).join(", ");
  return typeof value === "string" ? value : makeElement("code", {}, JSON.stringify(value));
}

// Lists of equal length, one of which contains pictures: the values of the other lists are the captions.
function pictureStrip(value, names, schemaOf, doc) {
  const lists = names.filter((key) => Array.isArray(value[key]));
  const pictures = lists.find((key) => isPicture(resolve(schemaOf(key).items, doc)));
  if (!pictures) return null;
  const stripNames = lists.filter((key) => value[key].length === value[pictures].length);
  const { brightest } = pictureFormat(resolve(schemaOf(pictures).items, doc));
  const items = value[pictures].map((rows, index) => {
    const captions = stripNames.filter((key) => key !== pictures).map((key) => [singular(key), formatValue(value[key][index])]);
    const label = captions.map(([key, item]) => `${key} ${item}`).join(", ");
    const lines = captions.map(([key, item]) =>
      makeElement("div", { class: "pair" }, makeElement("dt", {}, `${key} `), makeElement("dd", {}, item)),
    );
    return makeElement("li", {}, pictureElement(rows, brightest, label), makeElement("dl", {}, ...lines));
  });
  return { names: stripNames, element: makeElement("ol", { class: "strip" }, ...items) };
}

const singular = (name) => displayName(name).replace(/s$/, "");

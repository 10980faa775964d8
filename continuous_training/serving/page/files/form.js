// A form over a JSON Schema: a widget for each property, and a box of JSON where there is none.

import { make, prettyJson, uniqueId, words } from "./dom.js";
import { drawingField } from "./draw.js";
import { isPicture, propertiesOf, resolve } from "./schema.js";

// Every field has `element`, `get()` (undefined: left out) and `set(value)`; a picture has `file()` too.
// `changed(now)` is called when its value has changed: `now` when the person is done with it.
export function requestForm(schema, doc, changed) {
  const one = resolve(schema, doc);
  const plain = schema["x-inferred"] || one["x-inferred"] || one.type !== "object" || !propertiesOf(one).length;
  const field = plain ? jsonField("Request", one, changed) : objectField("", one, doc, changed);
  return { ...field, isJson: plain };
}

function fieldOf(name, given, doc, changed, required) {
  const schema = resolve(given, doc);
  if (isPicture(schema)) return drawingField(name, schema, changed);
  if (schema.enum) return choiceField(name, schema, changed, required);
  if (schema.type === "boolean") return checkField(name, schema, changed, required);
  if (schema.type === "number" || schema.type === "integer") return numberField(name, schema, changed, required);
  if (schema.type === "string") return textField(name, schema, changed, required);
  if (schema.type === "array" && resolve(schema.items, doc).type === "string") {
    return textsField(name, schema, changed, required);
  }
  if (schema.type === "object" && propertiesOf(schema).length) return objectField(name, schema, doc, changed);
  return jsonField(name, schema, changed, required);
}

function objectField(name, schema, doc, changed) {
  const required = new Set(schema.required ?? []);
  const fields = propertiesOf(schema).map(([key, found]) => [
    key, fieldOf(key, found, doc, changed, required.has(key)),
  ]);
  const parts = fields.map(([, field]) => field.element);
  const element = make("fieldset", {}, name ? make("legend", {}, words(name)) : null, ...parts);
  return {
    element,
    fields,
    get() {
      const pairs = fields.map(([key, field]) => [key, field.get()]);
      return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
    },
    set(value) {
      for (const [key, field] of fields) if (value?.[key] !== undefined) field.set(value[key]);
    },
  };
}

function labelled(name, schema, control, id, extra = "") {
  control.id = id;
  const help = schema.description ? make("span", { class: "help" }, ` ${schema.description}${extra}`) : null;
  return make("div", { class: "field" }, make("label", { class: "name", for: id }, words(name)), help, control);
}

function numberField(name, schema, changed, required) {
  const range = schema["x-range"] ?? {};
  const [low, high] = [range.minimum ?? schema.minimum, range.maximum ?? schema.maximum];
  const step = range.step ?? (schema.type === "integer" ? 1 : "any");
  const start = range.default ?? schema.default;
  const number = make("input", { type: "number", step: "any", inputmode: "decimal", min: schema.minimum, max: schema.maximum });
  const value = () => (number.value === "" && !required ? undefined : number.valueAsNumber);
  if (low === undefined || high === undefined) {
    number.addEventListener("input", () => changed());
    if (start !== undefined || required) number.value = start ?? 0;
    const element = labelled(name, schema, number, uniqueId());
    return { element, get: value, set: (given) => { number.value = given; } };
  }
  const id = uniqueId();
  const slider = make("input", { type: "range", min: low, max: high, step: step === "any" ? (high - low) / 1000 : step, id });
  number.setAttribute("aria-label", `${words(name)}, as a number`);
  const set = (given) => { number.value = given; slider.value = given; };
  set(start ?? (low + high) / 2);
  slider.addEventListener("input", () => { number.value = slider.value; changed(); });
  number.addEventListener("input", () => { slider.value = number.value; changed(); });
  const help = schema.description ? make("span", { class: "help" }, ` ${schema.description}`) : null;
  const label = make("div", { class: "label" }, make("label", { class: "name", for: id }, words(name)), help);
  return { element: make("div", { class: "slider" }, label, slider, number), get: value, set };
}

function checkField(name, schema, changed, required) {
  const box = make("input", { type: "checkbox", onchange: () => changed(true) });
  box.checked = schema.default ?? false;
  const help = schema.description ? make("span", { class: "help" }, ` ${schema.description}`) : null;
  const element = make("div", { class: "field" }, make("label", { class: "check" }, box, make("span", {}, words(name), help)));
  const standard = schema.default ?? false;
  return {
    element,
    get: () => (!required && box.checked === standard ? undefined : box.checked),
    set: (given) => { box.checked = Boolean(given); },
  };
}

function choiceField(name, schema, changed, required) {
  const options = schema.enum.map((item, index) => make("option", { value: index }, String(item)));
  const select = make("select", { onchange: () => changed(true) }, required ? null : make("option", { value: "" }, "–"), ...options);
  const set = (given) => { select.value = schema.enum.findIndex((item) => item === given); };
  if (schema.default !== undefined) set(schema.default);
  return {
    element: labelled(name, schema, select, uniqueId()),
    get: () => (select.value === "" ? undefined : schema.enum[Number(select.value)]),
    set,
  };
}

function textField(name, schema, changed, required) {
  const input = make("input", { type: "text", oninput: () => changed() });
  input.value = schema.default ?? "";
  return {
    element: labelled(name, schema, input, uniqueId()),
    get: () => (input.value === "" && !required ? undefined : input.value),
    set: (given) => { input.value = given; },
  };
}

function textsField(name, schema, changed, required) {
  const area = make("textarea", { rows: 5, oninput: () => changed() });
  const lines = () => area.value.split("\n").filter((line) => line.trim());
  const described = { ...schema, description: `${schema.description ?? ""} (one a line)`.trim() };
  return {
    element: labelled(name, described, area, uniqueId()),
    get: () => (!required && !lines().length ? undefined : lines()),
    set: (given) => { area.value = given.map((text) => text.replace(/\s*\n\s*/g, " ")).join("\n"); },
    isEmpty: () => required && !lines().length,
  };
}

function jsonField(name, schema, changed, required = true) {
  const area = make("textarea", { class: "code", spellcheck: "false", rows: 10, oninput: () => changed() });
  return {
    element: labelled(name, schema, area, uniqueId(), schema.description ? " (JSON)" : ""),
    get() {
      if (!area.value.trim() && !required) return undefined;
      try {
        return JSON.parse(area.value);
      } catch (error) {
        throw new Error(`${name} is not JSON: ${error.message}`);
      }
    },
    set: (given) => { area.value = prettyJson(given); },
    isEmpty: () => required && !area.value.trim(),
  };
}

// A form for a JSON Schema: a field for each property. A schema without properties gets a text area for JSON.

import { displayName, makeElement, prettyJson, uniqueId } from "./dom.js";
import { drawingField } from "./drawing.js";
import { isPicture, propertiesOf, resolve } from "./schema.js";

// A field has `element`, `get()` (undefined: omit the property) and `set(value)`. A picture also has `file()`.
// `onChange(immediate)` is called when the value changes. `immediate` is true when the user has finished the input.
export function requestForm(schema, doc, onChange) {
  const resolved = resolve(schema, doc);
  const isJson = schema["x-inferred"] || resolved["x-inferred"] || resolved.type !== "object" || !propertiesOf(resolved).length;
  const field = isJson ? jsonField("Request", resolved, onChange) : objectField("", resolved, doc, onChange);
  return { ...field, isJson };
}

function fieldOf(name, unresolved, doc, onChange, required) {
  const schema = resolve(unresolved, doc);
  if (isPicture(schema)) return drawingField(name, schema, onChange);
  if (schema.enum) return choiceField(name, schema, onChange, required);
  if (schema.type === "boolean") return checkboxField(name, schema, onChange, required);
  if (schema.type === "number" || schema.type === "integer") return numberField(name, schema, onChange, required);
  if (schema.type === "string") return textField(name, schema, onChange, required);
  if (schema.type === "array" && resolve(schema.items, doc).type === "string") {
    return textListField(name, schema, onChange, required);
  }
  if (schema.type === "object" && propertiesOf(schema).length) return objectField(name, schema, doc, onChange);
  return jsonField(name, schema, onChange, required);
}

function objectField(name, schema, doc, onChange) {
  const required = new Set(schema.required ?? []);
  const fields = propertiesOf(schema).map(([key, property]) => [
    key, fieldOf(key, property, doc, onChange, required.has(key)),
  ]);
  const elements = fields.map(([, field]) => field.element);
  const element = makeElement("fieldset", {}, name ? makeElement("legend", {}, displayName(name)) : null, ...elements);
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

function labelledField(name, schema, control, id, extra = "") {
  control.id = id;
  const help = schema.description ? makeElement("span", { class: "help" }, ` ${schema.description}${extra}`) : null;
  return makeElement("div", { class: "field" }, makeElement("label", { class: "name", for: id }, displayName(name)), help, control);
}

function numberField(name, schema, onChange, required) {
  const range = schema["x-range"] ?? {};
  const [low, high] = [range.minimum ?? schema.minimum, range.maximum ?? schema.maximum];
  const step = range.step ?? (schema.type === "integer" ? 1 : "any");
  const start = range.default ?? schema.default;
  const number = makeElement("input", { type: "number", step: "any", inputmode: "decimal", min: schema.minimum, max: schema.maximum });
  const value = () => (number.value === "" && !required ? undefined : number.valueAsNumber);
  if (low === undefined || high === undefined) {
    number.addEventListener("input", () => onChange());
    if (start !== undefined || required) number.value = start ?? 0;
    const element = labelledField(name, schema, number, uniqueId());
    return { element, get: value, set: (newValue) => { number.value = newValue; } };
  }
  const id = uniqueId();
  const slider = makeElement("input", { type: "range", min: low, max: high, step: step === "any" ? (high - low) / 1000 : step, id });
  number.setAttribute("aria-label", `${displayName(name)}, as a number`);
  const set = (newValue) => { number.value = newValue; slider.value = newValue; };
  set(start ?? (low + high) / 2);
  slider.addEventListener("input", () => { number.value = slider.value; onChange(); });
  number.addEventListener("input", () => { slider.value = number.value; onChange(); });
  const help = schema.description ? makeElement("span", { class: "help" }, ` ${schema.description}`) : null;
  const label = makeElement("div", { class: "label" }, makeElement("label", { class: "name", for: id }, displayName(name)), help);
  return { element: makeElement("div", { class: "slider" }, label, slider, number), get: value, set };
}

function checkboxField(name, schema, onChange, required) {
  const box = makeElement("input", { type: "checkbox", onchange: () => onChange(true) });
  const defaultValue = schema.default ?? false;
  box.checked = defaultValue;
  const help = schema.description ? makeElement("span", { class: "help" }, ` ${schema.description}`) : null;
  const element = makeElement("div", { class: "field" }, makeElement("label", { class: "check" }, box, makeElement("span", {}, displayName(name), help)));
  return {
    element,
    get: () => (!required && box.checked === defaultValue ? undefined : box.checked),
    set: (newValue) => { box.checked = Boolean(newValue); },
  };
}

function choiceField(name, schema, onChange, required) {
  const options = schema.enum.map((item, index) => makeElement("option", { value: index }, String(item)));
  const select = makeElement("select", { onchange: () => onChange(true) }, required ? null : makeElement("option", { value: "" }, "–"), ...options);
  const set = (newValue) => { select.value = schema.enum.findIndex((item) => item === newValue); };
  if (schema.default !== undefined) set(schema.default);
  return {
    element: labelledField(name, schema, select, uniqueId()),
    get: () => (select.value === "" ? undefined : schema.enum[Number(select.value)]),
    set,
  };
}

function textField(name, schema, onChange, required) {
  const input = makeElement("input", { type: "text", oninput: () => onChange() });
  input.value = schema.default ?? "";
  return {
    element: labelledField(name, schema, input, uniqueId()),
    get: () => (input.value === "" && !required ? undefined : input.value),
    set: (newValue) => { input.value = newValue; },
  };
}

function textListField(name, schema, onChange, required) {
  const area = makeElement("textarea", { rows: 5, oninput: () => onChange() });
  const lines = () => area.value.split("\n").filter((line) => line.trim());
  const described = { ...schema, description: `${schema.description ?? ""} (one per line)`.trim() };
  return {
    element: labelledField(name, described, area, uniqueId()),
    get: () => (!required && !lines().length ? undefined : lines()),
    set: (newValue) => { area.value = newValue.map((text) => text.replace(/\s*\n\s*/g, " ")).join("\n"); },
    isEmpty: () => required && !lines().length,
  };
}

function jsonField(name, schema, onChange, required = true) {
  const area = makeElement("textarea", { class: "code", spellcheck: "false", rows: 10, oninput: () => onChange() });
  return {
    element: labelledField(name, schema, area, uniqueId(), schema.description ? " (JSON)" : ""),
    get() {
      if (!area.value.trim() && !required) return undefined;
      try {
        return JSON.parse(area.value);
      } catch (error) {
        throw new Error(`${name} is not JSON: ${error.message}`);
      }
    },
    set: (newValue) => { area.value = prettyJson(newValue); },
    isEmpty: () => required && !area.value.trim(),
  };
}

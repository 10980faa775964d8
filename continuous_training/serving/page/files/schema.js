// What a form and an answer are made of: the JSON Schemas of the OpenAPI document.

// The schema itself, its references followed, and of several alternatives the first.
export function resolve(schema, doc) {
  let found = schema ?? {};
  for (let steps = 0; found.$ref && steps < 20; steps++) {
    found = found.$ref.slice(2).split("/").reduce((at, key) => at?.[key], doc) ?? {};
  }
  const alternatives = found.oneOf ?? found.anyOf;
  return alternatives && !found.properties && !found.items ? resolve(alternatives[0], doc) : found;
}

// Properties in the order that the workload wrote them in: the required ones first.
export function propertiesOf(schema) {
  const names = [...new Set([...(schema.required ?? []), ...Object.keys(schema.properties ?? {})])];
  return names.filter((name) => schema.properties?.[name]).map((name) => [name, schema.properties[name]]);
}

export const isPicture = (schema) => Boolean(schema?.["x-image"]);

export const isShare = (schema) => schema?.minimum === 0 && schema?.maximum === 1;

export function pictureShape(schema) {
  const row = schema.items;
  return { height: schema.minItems, width: row.minItems, brightest: row.items.maximum };
}

// Reads the JSON Schemas of the OpenAPI document.

const MAX_REFERENCES = 20;

// Returns the schema after following its references. Of several alternatives, returns the first.
export function resolve(schema, doc) {
  let resolved = schema ?? {};
  for (let steps = 0; resolved.$ref && steps < MAX_REFERENCES; steps++) {
    resolved = resolved.$ref.slice(2).split("/").reduce((node, key) => node?.[key], doc) ?? {};
  }
  const alternatives = resolved.oneOf ?? resolved.anyOf;
  return alternatives && !resolved.properties && !resolved.items ? resolve(alternatives[0], doc) : resolved;
}

// Returns [name, schema] pairs in the order of the workload's schema: the required properties first.
export function propertiesOf(schema) {
  const names = [...new Set([...(schema.required ?? []), ...Object.keys(schema.properties ?? {})])];
  return names.filter((name) => schema.properties?.[name]).map((name) => [name, schema.properties[name]]);
}

export const isPicture = (schema) => Boolean(schema?.["x-image"]);

export const isShare = (schema) => schema?.minimum === 0 && schema?.maximum === 1;

export function pictureFormat(schema) {
  const row = schema.items;
  return { height: schema.minItems, width: row.minItems, brightest: row.items.maximum };
}

// The page: a form over the OpenAPI document of what is served.

import { showAnswer } from "./answer.js";
import { make, prettyJson } from "./dom.js";
import { requestForm } from "./form.js";
import { pixels } from "./pixels.js";
import { isPicture, pictureShape, propertiesOf, resolve } from "./schema.js";

const PREDICT = "/predict/";
const WAIT = 200;
const element = (id) => document.getElementById(id);

let doc;
let current;

async function start() {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`openapi.json: ${response.status}`);
  doc = await response.json();
  addEventListener("hashchange", show);
  show();
}

function show() {
  const names = Object.keys(doc.paths).filter((path) => path.startsWith(PREDICT)).map((path) => path.slice(PREDICT.length));
  if (!names.length) return trouble("No model is served yet. Reload the page in a moment.");
  const asked = decodeURIComponent(location.hash.slice(1));
  const name = names.includes(asked) ? asked : names[0];
  element("models").replaceChildren(
    ...names.map((each) => make("a", { href: `#${encodeURIComponent(each)}`, "aria-current": each === name ? "page" : null }, each)),
  );
  document.title = `Try ${name}`;
  open(name, doc.paths[PREDICT + name].post);
}

function open(name, operation) {
  trouble("");
  const content = operation.requestBody.content["application/json"];
  const schema = doc.components.schemas[`${name}.Request`] ?? {};
  const model = { name, schema, operation, answer: doc.components.schemas[`${name}.Answer`] ?? {} };
  model.form = requestForm(schema, doc, (now) => soon(model, now ? 0 : WAIT));
  const ask = make("button", { type: "submit" }, "Ask");
  element("form").replaceChildren(model.form.element, make("div", { class: "row" }, ask));
  element("form").onsubmit = (event) => {
    event.preventDefault();
    soon(model, 0);
  };
  element("about").textContent = operation.summary;
  element("answer").replaceChildren(make("p", { class: "quiet" }, "Nothing was asked yet."));
  for (const id of ["about", "workbench", "raw"]) element(id).hidden = false;
  for (const id of ["by", "curl", "request", "response"]) element(id).textContent = "";
  current?.controller?.abort();
  clearTimeout(current?.timer);
  current = model;
  const examples = Object.values(content.examples ?? {}).map((example) => example.value);
  showExamples(model, examples);
  if (examples.length) take(model, examples[0]);
}

function showExamples(model, examples) {
  const buttons = examples.map((value, index) =>
    make("button", { type: "button", onclick: () => take(model, value), "aria-label": `Example ${index + 1}` }, preview(model, value, index)),
  );
  element("examples").hidden = !buttons.length;
  element("examples").replaceChildren(make("span", { class: "quiet" }, "Examples"), make("div", { class: "row" }, ...buttons));
}

function preview(model, value, index) {
  for (const [key, schema] of propertiesOf(resolve(model.schema, doc))) {
    const found = value?.[key];
    if (found === undefined) continue;
    if (isPicture(schema)) return pixels(found, pictureShape(schema).brightest, `Example ${index + 1}`);
    const text = Array.isArray(found) ? found[0] : found;
    if (typeof text === "string" && text) return text.length > 32 ? `${text.slice(0, 31)}…` : text;
  }
  return String(index + 1);
}

function take(model, value) {
  model.form.set(value);
  soon(model, 0);
}

function soon(model, wait) {
  clearTimeout(model.timer);
  model.timer = setTimeout(() => ask(model).catch((error) => failed(model, error)), wait);
}

async function ask(model) {
  if (empty(model.form)) return nothing();
  const { body, headers, curl } = await read(model);
  model.controller?.abort();
  model.controller = new AbortController();
  const { signal } = model.controller;
  const output = element("answer");
  output.setAttribute("aria-busy", "true");
  try {
    const began = performance.now();
    const url = `predict/${encodeURIComponent(model.name)}?illustrate=true`;
    const response = await fetch(url, { method: "POST", body, headers, signal });
    const content = await response.json();
    const milliseconds = performance.now() - began;
    if (!response.ok) throw new Error(content.error ?? `the server answered ${response.status}`);
    trouble("");
    output.replaceChildren(...seen(model, content.request), ...showAnswer(content.answer, model.answer, doc, texts(content.request)));
    const version = response.headers.get("x-model-version");
    element("by").replaceChildren("version ", make("code", {}, version), ` answered in ${milliseconds.toFixed(0)} ms`);
    element("curl").textContent = curl;
    element("request").textContent = prettyJson(content.request);
    element("response").textContent = prettyJson(content.answer);
  } finally {
    if (!signal.aborted) output.removeAttribute("aria-busy");
  }
}

const pictureOf = (form) => form.fields?.find(([, field]) => field.file);

const empty = (form) => Boolean((form.isEmpty ? form : form.fields?.map(([, field]) => field).find((field) => field.isEmpty?.()))?.isEmpty?.());

// A drawing or a file goes as a form, and the server makes pixels of it; all else goes as JSON.
async function read(model) {
  const value = model.form.get();
  const url = `${location.origin}${location.pathname.replace(/[^/]*$/, "")}predict/${model.name}`;
  const picture = pictureOf(model.form);
  const file = await picture?.[1].file();
  if (file) {
    const body = new FormData();
    body.append(picture[0], file, file.name ?? "drawing.png");
    for (const [key, other] of Object.entries(value)) body.append(key, typeof other === "string" ? other : JSON.stringify(other));
    return { body, headers: {}, curl: `curl -F ${picture[0]}=@${file.name ?? "drawing.png"} ${url}` };
  }
  const body = JSON.stringify(value);
  return { body, headers: { "content-type": "application/json" }, curl: `curl ${url} -d '${body.replaceAll("'", "'\\''")}'` };
}

// What became of a picture on its way to the model.
function seen(model, request) {
  return propertiesOf(resolve(model.schema, doc))
    .filter(([key, schema]) => isPicture(schema) && request?.[key])
    .map(([key, schema]) => {
      const { height, width, brightest } = pictureShape(schema);
      const label = `what the model was given: ${height} x ${width} pixels`;
      return make("div", { class: "seen" }, pixels(request[key], brightest, label), make("span", { class: "quiet" }, `The model was given ${height} × ${width} pixels.`));
    });
}

const texts = (request) =>
  Object.values(request ?? {}).find((value) => Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "string"));

function nothing() {
  trouble("");
  element("answer").replaceChildren(make("p", { class: "quiet" }, "Nothing was asked yet."));
  element("by").textContent = "";
}

function failed(model, error) {
  if (error.name === "AbortError" || model !== current) return;
  element("answer").replaceChildren(make("p", { class: "bad", role: "alert" }, error.message));
  element("by").textContent = "";
}

function trouble(message) {
  element("trouble").textContent = message;
  element("trouble").hidden = !message;
}

start().catch((error) => trouble(`The page cannot be shown: ${error.message}`));

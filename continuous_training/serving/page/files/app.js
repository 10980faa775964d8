// The page for trying the models: a form generated from the OpenAPI document of the served models.

import { makeElement, prettyJson } from "./dom.js";
import { requestForm } from "./form.js";
import { pictureElement } from "./picture.js";
import { predictionElements } from "./prediction.js";
import { isPicture, pictureFormat, propertiesOf, resolve } from "./schema.js";

const PREDICT_PATH = "/predict/";
const TYPING_DELAY_MS = 200;
const MAX_PREVIEW_LENGTH = 32;
const byId = (id) => document.getElementById(id);

let doc;
let currentModel;

async function start() {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`openapi.json: status ${response.status}`);
  doc = await response.json();
  addEventListener("hashchange", showModels);
  showModels();
}

function showModels() {
  const paths = Object.keys(doc.paths).filter((path) => path.startsWith(PREDICT_PATH));
  const names = paths.map((path) => path.slice(PREDICT_PATH.length));
  if (!names.length) return showPageError("No model is served yet. Reload the page in a moment.");
  const requestedName = decodeURIComponent(location.hash.slice(1));
  const selectedName = names.includes(requestedName) ? requestedName : names[0];
  byId("models").replaceChildren(
    ...names.map((name) =>
      makeElement("a", { href: `#${encodeURIComponent(name)}`, "aria-current": name === selectedName ? "page" : null }, name),
    ),
  );
  document.title = `Try ${selectedName}`;
  openModel(selectedName, doc.paths[PREDICT_PATH + selectedName].post);
}

function openModel(name, operation) {
  showPageError("");
  const content = operation.requestBody.content["application/json"];
  const requestSchema = doc.components.schemas[`${name}.Request`] ?? {};
  const model = { name, requestSchema, responseSchema: doc.components.schemas[`${name}.Answer`] ?? {} };
  model.form = requestForm(requestSchema, doc, (immediate) => schedulePrediction(model, immediate ? 0 : TYPING_DELAY_MS));
  const submit = makeElement("button", { type: "submit" }, "Predict");
  byId("form").replaceChildren(model.form.element, makeElement("div", { class: "row" }, submit));
  byId("form").onsubmit = (event) => {
    event.preventDefault();
    schedulePrediction(model, 0);
  };
  byId("summary").textContent = operation.summary;
  clearPrediction();
  for (const id of ["summary", "workbench", "program"]) byId(id).hidden = false;
  for (const id of ["curl", "request", "response"]) byId(id).textContent = "";
  currentModel?.controller?.abort();
  clearTimeout(currentModel?.timer);
  currentModel = model;
  const examples = Object.values(content.examples ?? {}).map((example) => example.value);
  showExamples(model, examples);
  if (examples.length) useExample(model, examples[0]);
}

function showExamples(model, examples) {
  const buttons = examples.map((value, index) =>
    makeElement(
      "button",
      { type: "button", onclick: () => useExample(model, value), "aria-label": `Example ${index + 1}` },
      examplePreview(model, value, index),
    ),
  );
  byId("examples").hidden = !buttons.length;
  byId("examples").replaceChildren(
    makeElement("span", { class: "quiet" }, "Examples"),
    makeElement("div", { class: "row" }, ...buttons),
  );
}

// Returns a picture or a short text of an example, or its number.
function examplePreview(model, example, index) {
  for (const [key, schema] of propertiesOf(resolve(model.requestSchema, doc))) {
    const value = example?.[key];
    if (value === undefined) continue;
    if (isPicture(schema)) return pictureElement(value, pictureFormat(schema).brightest, `Example ${index + 1}`);
    const text = Array.isArray(value) ? value[0] : value;
    if (typeof text === "string" && text) {
      return text.length > MAX_PREVIEW_LENGTH ? `${text.slice(0, MAX_PREVIEW_LENGTH - 1)}…` : text;
    }
  }
  return String(index + 1);
}

function useExample(model, value) {
  model.form.set(value);
  schedulePrediction(model, 0);
}

function schedulePrediction(model, delay) {
  clearTimeout(model.timer);
  model.timer = setTimeout(() => predict(model).catch((error) => showPredictionError(model, error)), delay);
}

async function predict(model) {
  if (isFormEmpty(model.form)) return clearPrediction();
  const { body, headers, curl } = await httpRequest(model);
  model.controller?.abort();
  model.controller = new AbortController();
  const { signal } = model.controller;
  const output = byId("prediction");
  output.setAttribute("aria-busy", "true");
  try {
    const start = performance.now();
    const url = `predict/${encodeURIComponent(model.name)}?illustrate=true`;
    const response = await fetch(url, { method: "POST", body, headers, signal });
    const content = await response.json();
    const milliseconds = performance.now() - start;
    if (!response.ok) throw new Error(content.error ?? `the server returned the status ${response.status}`);
    showPageError("");
    output.replaceChildren(
      ...modelInputElements(model, content.request),
      ...predictionElements(content.answer, model.responseSchema, doc, textList(content.request)),
    );
    const version = response.headers.get("x-model-version");
    byId("version").replaceChildren("version ", makeElement("code", {}, version), `, ${milliseconds.toFixed(0)} ms`);
    byId("curl").textContent = curl;
    byId("request").textContent = prettyJson(content.request);
    byId("response").textContent = prettyJson(content.answer);
  } finally {
    if (!signal.aborted) output.removeAttribute("aria-busy");
  }
}

const pictureField = (form) => form.fields?.find(([, field]) => field.file);

function isFormEmpty(form) {
  const fields = form.isEmpty ? [form] : (form.fields?.map(([, field]) => field) ?? []);
  return Boolean(fields.find((field) => field.isEmpty?.()));
}

// Returns the HTTP request for the values of the form. A drawing or an uploaded file is sent as multipart/form-data,
// and the server decodes it. All other requests are JSON.
async function httpRequest(model) {
  const value = model.form.get();
  const url = `${location.origin}${location.pathname.replace(/[^/]*$/, "")}predict/${model.name}`;
  const picture = pictureField(model.form);
  const file = await picture?.[1].file();
  if (file) {
    const fileName = file.name ?? "drawing.png";
    const body = new FormData();
    body.append(picture[0], file, fileName);
    for (const [key, item] of Object.entries(value)) body.append(key, typeof item === "string" ? item : JSON.stringify(item));
    return { body, headers: {}, curl: `curl -F ${picture[0]}=@${fileName} ${url}` };
  }
  const body = JSON.stringify(value);
  return { body, headers: { "content-type": "application/json" }, curl: `curl ${url} -d '${body.replaceAll("'", "'\\''")}'` };
}

// Shows the pictures of the request as the model received them.
function modelInputElements(model, request) {
  return propertiesOf(resolve(model.requestSchema, doc))
    .filter(([key, schema]) => isPicture(schema) && request?.[key])
    .map(([key, schema]) => {
      const { height, width, brightest } = pictureFormat(schema);
      const label = `the input of the model: ${height} x ${width} pixels`;
      return makeElement(
        "div",
        { class: "model-input" },
        pictureElement(request[key], brightest, label),
        makeElement("span", { class: "quiet" }, `The input of the model has ${height} × ${width} pixels.`),
      );
    });
}

const textList = (request) =>
  Object.values(request ?? {}).find((value) => Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "string"));

function clearPrediction() {
  showPageError("");
  byId("prediction").replaceChildren(makeElement("p", { class: "quiet" }, "No request was sent yet."));
  byId("version").textContent = "";
}

function showPredictionError(model, error) {
  if (error.name === "AbortError" || model !== currentModel) return;
  byId("prediction").replaceChildren(makeElement("p", { class: "error", role: "alert" }, error.message));
  byId("version").textContent = "";
}

function showPageError(message) {
  byId("page-error").textContent = message;
  byId("page-error").hidden = !message;
}

start().catch((error) => showPageError(`The page cannot be shown: ${error.message}`));

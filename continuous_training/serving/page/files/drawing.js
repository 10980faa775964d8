// A field for a picture: the user can draw it, upload a file, or choose an example.

import { makeElement } from "./dom.js";
import { paintPicture } from "./picture.js";
import { pictureFormat } from "./schema.js";

const CANVAS_WIDTH = 320;
const PEN_WIDTH = 0.09; // as a share of the canvas width

export function drawingField(name, schema, onChange) {
  const { height, width, brightest } = pictureFormat(schema);
  const canvas = makeElement("canvas", {
    width: CANVAS_WIDTH, height: Math.round((CANVAS_WIDTH * height) / width), role: "img",
    "aria-label": `${name}: draw here with mouse, finger or pen, upload a picture, or choose an example`,
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const hint = makeElement("span", { class: "hint" }, "Draw here");
  const board = makeElement("div", { class: "board" }, canvas, hint);
  board.style.setProperty("--shape", `${width} / ${height}`);
  const fileInput = makeElement("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/bmp" });
  const upload = makeElement("label", { class: "button upload" }, "Upload a picture", fileInput);
  const clear = makeElement("button", { type: "button", onclick: () => { clearCanvas(); onChange(true); } }, "Clear");
  const element = makeElement("div", { class: "field" }, board, makeElement("div", { class: "row" }, clear, upload));

  let content = { kind: "blank" };
  let lastPoint = null;

  function clearCanvas() {
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    canvas.style.imageRendering = "auto";
    hint.hidden = false;
    content = { kind: "blank" };
  }

  const pointOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };

  function drawLine(from, to) {
    context.strokeStyle = "#000";
    context.lineWidth = PEN_WIDTH * canvas.width;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    if (content.kind !== "drawing") clearCanvas();
    content = { kind: "drawing" };
    hint.hidden = true;
    lastPoint = pointOf(event);
    drawLine(lastPoint, lastPoint);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!lastPoint) return;
    for (const step of event.getCoalescedEvents?.() ?? [event]) {
      const nextPoint = pointOf(step);
      drawLine(lastPoint, nextPoint);
      lastPoint = nextPoint;
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      if (!lastPoint) return;
      lastPoint = null;
      onChange(true);
    });
  }

  fileInput.addEventListener("change", async () => {
    const [file] = fileInput.files;
    if (!file) return;
    clearCanvas();
    content = { kind: "file", file };
    hint.hidden = true;
    try {
      const picture = await createImageBitmap(file);
      const scale = Math.min(canvas.width / picture.width, canvas.height / picture.height);
      const [scaledWidth, scaledHeight] = [picture.width * scale, picture.height * scale];
      context.drawImage(picture, (canvas.width - scaledWidth) / 2, (canvas.height - scaledHeight) / 2, scaledWidth, scaledHeight);
    } catch {
      hint.hidden = false; // The browser cannot decode the file. The server may be able to, or returns an error.
    }
    fileInput.value = "";
    onChange(true);
  });

  clearCanvas();
  return {
    element,
    // Returns the exact pixels of an example. A drawing or an uploaded file is sent to the server as a file.
    get: () => (content.kind === "pixels" ? content.rows : undefined),
    set(rows) {
      clearCanvas();
      const source = makeElement("canvas");
      paintPicture(source, rows, brightest);
      context.imageSmoothingEnabled = false;
      context.drawImage(source, 0, 0, canvas.width, canvas.height);
      hint.hidden = true;
      content = { kind: "pixels", rows };
    },
    isEmpty: () => content.kind === "blank",
    async file() {
      if (content.kind === "file") return content.file;
      return content.kind === "drawing" ? new Promise((resolve) => canvas.toBlob(resolve, "image/png")) : undefined;
    },
  };
}

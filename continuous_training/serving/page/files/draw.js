// A board to draw on, a file to upload, or an example to look at.

import { make } from "./dom.js";
import { paint } from "./pixels.js";
import { pictureShape } from "./schema.js";

const SIDE = 320;
const PEN = 0.09;

export function drawingField(name, schema, changed) {
  const { height, width, brightest } = pictureShape(schema);
  const canvas = make("canvas", {
    width: SIDE, height: Math.round((SIDE * height) / width), role: "img",
    "aria-label": `${name}: draw here with mouse, finger or pen; or upload a picture, or take an example`,
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const hint = make("span", { class: "hint" }, "Draw here");
  const board = make("div", { class: "board" }, canvas, hint);
  board.style.setProperty("--shape", `${width} / ${height}`);
  const file = make("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/bmp" });
  const upload = make("label", { class: "button upload" }, "Upload a picture", file);
  const clear = make("button", { type: "button", onclick: () => { wipe(); changed(true); } }, "Clear");
  const element = make("div", { class: "field" }, board, make("div", { class: "row" }, clear, upload));

  let state = { kind: "blank" };
  let last = null;

  function wipe() {
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    canvas.style.imageRendering = "auto";
    hint.hidden = false;
    state = { kind: "blank" };
  }

  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    if (state.kind !== "drawn") wipe();
    state = { kind: "drawn" };
    hint.hidden = true;
    last = point(event);
    stroke(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const step of event.getCoalescedEvents?.() ?? [event]) {
      const next = point(step);
      stroke(last, next);
      last = next;
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (!last) return;
      last = null;
      changed(true);
    });
  }

  function stroke(from, to) {
    context.strokeStyle = "#000";
    context.lineWidth = PEN * canvas.width;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  }

  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    wipe();
    state = { kind: "file", file: chosen };
    hint.hidden = true;
    try {
      const picture = await createImageBitmap(chosen);
      const scale = Math.min(canvas.width / picture.width, canvas.height / picture.height);
      const [wide, high] = [picture.width * scale, picture.height * scale];
      context.drawImage(picture, (canvas.width - wide) / 2, (canvas.height - high) / 2, wide, high);
    } catch {
      hint.hidden = false; // What the browser cannot show, the server may still read, or say why not.
    }
    file.value = "";
    changed(true);
  });

  wipe();
  return {
    element,
    // Exact pixels when an example is shown; otherwise a file that the server turns into pixels.
    get: () => (state.kind === "pixels" ? state.rows : undefined),
    set(rows) {
      wipe();
      const small = make("canvas");
      paint(small, rows, brightest);
      context.imageSmoothingEnabled = false;
      context.drawImage(small, 0, 0, canvas.width, canvas.height);
      hint.hidden = true;
      state = { kind: "pixels", rows };
    },
    isEmpty: () => state.kind === "blank",
    async file() {
      if (state.kind === "file") return state.file;
      return state.kind === "drawn" ? new Promise((done) => canvas.toBlob(done, "image/png")) : undefined;
    },
  };
}

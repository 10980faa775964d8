// Pictures from rows of pixels. A pixel is a number from 0 (white) to the brightest value (black).

import { makeElement } from "./dom.js";

export function paintPicture(canvas, rows, brightest) {
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  rows.flat().forEach((ink, index) => {
    const grey = 255 - Math.round((255 * Math.min(Math.max(ink, 0), brightest)) / brightest);
    image.data.set([grey, grey, grey, 255], 4 * index);
  });
  context.putImageData(image, 0, 0);
}

export function pictureElement(rows, brightest, label) {
  const canvas = makeElement("canvas", { class: "pixels", role: "img", "aria-label": label });
  paintPicture(canvas, rows, brightest);
  return canvas;
}

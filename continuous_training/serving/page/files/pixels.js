// Rows of pixels, from 0 (paper) to the brightest (ink), as a picture.

import { make } from "./dom.js";

export function paint(canvas, rows, brightest) {
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

export function pixels(rows, brightest, label) {
  const canvas = make("canvas", { class: "pixels", role: "img", "aria-label": label });
  paint(canvas, rows, brightest);
  return canvas;
}

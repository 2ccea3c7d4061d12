/** Line icons on a grid of 24; words or labels beside them say what they mean. */

import { html } from "../vendored/htm-preact.js";

const PATHS = {
  brush: "M4 20c3 0 5-1 5-4a3 3 0 0 1 5 2c0 2-2 3-5 3M12.500 14 20 4",
  eraser: "m7 20-4-4L14 5l6 6-9 9zM9 10l6 6M11 20h9",
  undo: "M8 5 4 9l4 4M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "m16 5 4 4-4 4M20 9H10a6 6 0 0 0 0 12h3",
  close: "M6 6l12 12M18 6 6 18",
  down: "M12 4v11m-5-5 5 5 5-5M5 20h14",
  dice: "M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01",
  copy: "M9 9h10v11H9zM5 15V4h10",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  camera: "M4 8h4l2-3h4l2 3h4v11H4zM12 10a3.500 3.500 0 1 0 .01 0",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01",
  compare: "M12 3v18M4 6h8v12H4zM12 6h8v12h-8",
  seeds: "M4 8h4v8H4zM10 8h4v8h-4zM16 8h4v8h-4z",
  wand: "M4 20 14 10M15 4v3M19 8h-3M18 4l-1 1M10 4l1 2M20 14l-2-1",
  enlarge: "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
  play: "M8 5v14l11-7z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  hand: "M8 12V6a1.500 1.500 0 0 1 3 0v5V4.500a1.500 1.500 0 0 1 3 0V11V6a1.500 1.500 0 0 1 3 0v8c0 4-2 6-5 6s-4-1-7-6c-1-2 1-3 3 0",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  light:
    "M12 8a4 4 0 1 0 .01 0M12 2v2M12 20v2M4 12H2M22 12h-2M5 5l1.500 1.500M17.500 17.500 19 19M5 19l1.500-1.500M17.500 6.500 19 5",
  keys: "M3 7h18v10H3zM7 11h.01M11 11h.01M15 11h.01M8 14h8",
  film: "M4 5h16v14H4zM8 5v14M16 5v14M4 10h4M4 14h4M16 10h4M16 14h4",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}

/** Two fingers on the canvas, which zoom and move it; the stroke that the first of them began is withdrawn. */

import { useRef } from "../vendored/htm-preact.js";

/** { down, move, up } for a canvas's pointers: each says whether the event belonged to a pinch. */
export function usePinch({ canvas, zoom, onZoom, onBegin }) {
  const pinch = useRef({ fingers: new Map(), from: null }).current;
  const spread = () => {
    const [[x1, y1], [x2, y2]] = pinch.fingers.values();
    return { distance: Math.hypot(x2 - x1, y2 - y1), middle: [(x1 + x2) / 2, (y1 + y2) / 2] };
  };
  return {
    down({ pointerType, pointerId, clientX, clientY }) {
      if (pointerType !== "touch") return false;
      pinch.fingers.set(pointerId, [clientX, clientY]);
      if (pinch.fingers.size !== 2) return pinch.fingers.size > 2;
      pinch.from = { ...spread(), zoom };
      onBegin();
      return true;
    },
    move({ pointerId, clientX, clientY }) {
      if (!pinch.fingers.has(pointerId)) return false;
      pinch.fingers.set(pointerId, [clientX, clientY]);
      if (!pinch.from) return false;
      if (pinch.fingers.size < 2) return true; // the one that is left draws nothing
      const { distance, middle } = spread();
      canvas.current.parentElement.scrollBy(pinch.from.middle[0] - middle[0], pinch.from.middle[1] - middle[1]);
      pinch.from.middle = middle;
      onZoom(pinch.from.zoom * (distance / Math.max(1, pinch.from.distance)), middle);
      return true;
    },
    up({ pointerId }) {
      pinch.fingers.delete(pointerId);
      if (!pinch.fingers.size) pinch.from = null;
    },
  };
}

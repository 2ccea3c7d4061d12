/** The editor of a start picture: what to repaint, what to add around it, or a sketch in colours. */

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendored/htm-preact.js";
import { isMarked, renew } from "../core/start.js";
import { change, state } from "../core/state.js";
import { t } from "../core/words.js";
import { Toolbar } from "./toolbar.js";
import { usePinch } from "./pinch.js";
import { drawView, middleOf, pixelAt, placeOf, putBack } from "./view.js";

const ZOOM = { step: 1.5, most: 8 };
const NUDGE = 0.25; // of the brush, which an arrow key moves

export function Editor({ start, mode = "mask" }) {
  const canvas = useRef();
  const drawing = useRef(null); // the stroke under the pointer
  const soon = useRef(0); // the frame in which it is drawn again
  const cursor = useRef(null); // where the keyboard's brush is
  const [tools, setTools] = useState({
    layer: mode,
    tool: "brush",
    colour: "#3b6ea5",
    size: Math.round(start.base.width / 10),
    zoom: 1,
  });
  const kept = useRef(null); // the place that stays where it is while the zoom changes
  useLayoutEffect(() => {
    if (kept.current) putBack(canvas.current, kept.current);
    kept.current = null;
  }, [tools.zoom]);
  const zoomTo = (zoom, at = middleOf(canvas.current.parentElement)) => {
    kept.current = placeOf(canvas.current, at);
    setTools((before) => ({ ...before, zoom: Math.max(1, Math.min(ZOOM.most, zoom)) }));
  };
  const zoom = (by, at) => zoomTo(by === 0 ? 1 : tools.zoom * ZOOM.step ** by, at);
  const withdraw = () => {
    if (drawing.current) start.strokes.pop();
    drawing.current = null;
    draw();
  };
  const pinch = usePinch({ canvas, zoom: tools.zoom, onZoom: zoomTo, onBegin: withdraw });
  const draw = () => {
    if (!canvas.current) return; // the editor was left while a picture was made of the strokes
    drawView(canvas.current, start, cursor.current && { ...cursor.current, size: tools.size });
  };
  useEffect(draw, [start, tools, start.sides.join()]);
  const done = async () => {
    cursor.current = null;
    await renew(start);
    draw();
  };
  const begin = (point) => {
    const { layer, tool, colour, size } = tools;
    drawing.current = { layer, tool, colour: layer === "mask" ? "#fff" : colour, size, points: [point] };
    start.strokes.push(drawing.current);
    start.undone = [];
    draw();
  };
  const handlers = {
    onPointerDown: (event) => {
      if (pinch.down(event)) return;
      if (event.button !== 0 || tools.tool === "hand") return;
      event.target.setPointerCapture(event.pointerId);
      cursor.current = null;
      begin(pixelAt(canvas.current, start, event));
    },
    onPointerMove: (event) => {
      if (pinch.move(event)) return;
      if (tools.tool === "hand" && event.buttons) return pan(canvas.current, event);
      if (!drawing.current) return;
      const passed = event.getCoalescedEvents?.() ?? [];
      for (const each of passed.length ? passed : [event])
        drawing.current.points.push(pixelAt(canvas.current, start, each));
      cancelAnimationFrame(soon.current);
      soon.current = requestAnimationFrame(draw);
    },
    onPointerUp: (event) => lifted(event),
    onPointerCancel: (event) => lifted(event),
    onWheel: (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1 : -1, [event.clientX, event.clientY]);
    },
    onKeyDown: (event) => keyed(event),
    onBlur: () => ((cursor.current = null), draw()),
  };
  const lifted = (event) => {
    pinch.up(event);
    if (!drawing.current) return;
    drawing.current = null;
    done();
  };
  const undo = () => start.strokes.length && (start.undone.push(start.strokes.pop()), done());
  const redo = () => start.undone.length && (start.strokes.push(start.undone.pop()), done());
  const clear = () => (start.strokes.push({ tool: "clear" }), (start.undone = []), done());
  const keyed = (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const acts = {
      "+": () => zoom(1),
      "-": () => zoom(-1),
      0: () => zoom(0),
      "[": () => resize(-1),
      "]": () => resize(1),
      " ": dab,
      Enter: dab,
    };
    if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) (event.shiftKey ? redo : undo)();
    else if (moves[event.key]) move(...moves[event.key]);
    else if (acts[event.key] && !event.ctrlKey) acts[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const resize = (by) => setTools({ ...tools, size: Math.max(2, Math.round(tools.size * (by > 0 ? 1.25 : 0.8))) });
  const move = (x, y) => {
    const { width, height } = start.base;
    const at = cursor.current ?? { x: width / 2, y: height / 2 };
    const by = Math.max(1, tools.size * NUDGE);
    cursor.current = { x: clamp(at.x + x * by, width), y: clamp(at.y + y * by, height) };
    draw();
  };
  const dab = () => {
    cursor.current ??= { x: start.base.width / 2, y: start.base.height / 2 };
    const { x, y } = cursor.current;
    begin([x, y]);
    drawing.current = null;
    renew(start).then(draw);
  };
  const shape =
    (start.base.width + start.sides[0] + start.sides[2]) / (start.base.height + start.sides[1] + start.sides[3]);
  return html`<div class="editor">
    <${Toolbar} tools=${tools} onTools=${setTools} start=${start} onZoom=${zoom} onUndo=${undo} onRedo=${redo} onClear=${clear} onSides=${(sides) => widen(start, sides)} />
    <div class="scroll" style=${{ "--shape": shape, "--zoom": tools.zoom }}>
      <canvas ref=${canvas} class=${tools.tool} tabindex="0" role="application" aria-label=${t("canvas")} aria-describedby="canvas-hint" ...${handlers}></canvas>
    </div>
    <p class="hint" id="canvas-hint">${t(`${tools.layer}Hint`)}</p>
    ${isMarked(start) && start.sides.some(Boolean) && html`<p class="hint bad" role="status">${t("notBoth")}</p>`}
    <div class="line"><button type="button" class="main" onClick=${() => change({ shown: previous() })}>${t("ready")}</button></div>
  </div>`;
}

function widen(start, sides) {
  start.sides = sides;
  return renew(start);
}

function pan(canvas, event) {
  canvas.parentElement.scrollBy(-event.movementX, -event.movementY);
}

function clamp(value, most) {
  return Math.max(0, Math.min(most, value));
}

/** What was looked at before: the newest picture, or the empty stage. */
function previous() {
  return state.history.length ? { kind: "record", id: state.history[0].id } : null;
}

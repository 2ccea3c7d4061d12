/** The editor's tools. */

import { html } from "../vendored/htm-preact.js";
import { t } from "../core/words.js";
import { standing } from "./strokes.js";
import { Icon } from "../views/icons.js";
import { numberOf, Typed } from "../views/typed.js";

const STEP = 64; // pixels that a click adds outside
const MOST = 1024;
const COLOURS = [
  ["paintSky", "#a9d3ee"],
  ["paintSea", "#3b6ea5"],
  ["paintGrass", "#6fa354"],
  ["paintSand", "#e3c88f"],
  ["paintRed", "#c0392b"],
  ["paintYellow", "#f2c94c"],
  ["paintWhite", "#ffffff"],
  ["paintNight", "#1d2547"],
];
const SIDES = ["left", "above", "right", "below"];

export function Toolbar({ tools, onTools, start, onZoom, onUndo, onRedo, onClear, onSides }) {
  const { given, strokes } = standing(start);
  const set = (parts) => onTools({ ...tools, ...parts });
  return html`<div class="toolbar" role="toolbar" aria-label=${t("tools")}>
    <div class="choice" role="group" aria-label=${t("mode")}>
      ${["mask", "sketch", "outside"].map(
        (each) =>
          html`<button type="button" aria-pressed=${tools.layer === each} onClick=${() => set({ layer: each, tool: each === "outside" ? "hand" : "brush" })}>${t(`mode_${each}`)}</button>`,
      )}
    </div>
    ${tools.layer === "outside" ? html`<${Outside} sides=${start.sides} onSides=${onSides} />` : html`<${Brushes} tools=${tools} set=${set} start=${start} />`}
    <div class="group">
      <${Tool} icon="undo" label="undo" disabled=${!start.strokes.length} onClick=${onUndo} />
      <${Tool} icon="redo" label="redo" disabled=${!start.undone.length} onClick=${onRedo} />
      <${Tool} icon="trash" label="clearDrawing" disabled=${!strokes.length && !given} onClick=${onClear} />
      <${Tool} icon="minus" label="zoomOut" onClick=${() => onZoom(-1)} />
      <${Tool} icon="fit" label="zoomFit" onClick=${() => onZoom(0)} />
      <${Tool} icon="plus" label="zoomIn" onClick=${() => onZoom(1)} />
    </div>
  </div>`;
}

function Brushes({ tools, set, start }) {
  return html`<div class="group">
    <${Tool} icon="brush" label="brush" pressed=${tools.tool === "brush"} onClick=${() => set({ tool: "brush" })} />
    <${Tool} icon="eraser" label="eraser" pressed=${tools.tool === "eraser"} onClick=${() => set({ tool: "eraser" })} />
    <${Tool} icon="hand" label="hand" pressed=${tools.tool === "hand"} onClick=${() => set({ tool: "hand" })} />
    ${tools.layer === "sketch" && html`<${Colours} colour=${tools.colour} onColour=${(colour) => set({ colour, tool: "brush" })} />`}
    <label class="bare size"
      ><span class="unseen">${t("brushSize")}</span>
      <input type="range" min="2" max=${Math.round(start.base.width / 3)} value=${tools.size} onInput=${(event) => set({ size: event.target.valueAsNumber })} /></label
    >
  </div>`;
}

function Colours({ colour, onColour }) {
  return html`<div class="swatches" role="group" aria-label=${t("colour")}>
    ${COLOURS.map(
      ([name, each]) =>
        html`<button type="button" class="swatch" title=${t(name)} aria-label=${t(name)} aria-pressed=${each === colour} style=${{ "--colour": each }} onClick=${() => onColour(each)}></button>`,
    )}
    <label class="bare"><span class="unseen">${t("colour")}</span><input type="color" value=${colour} onInput=${(event) => onColour(event.target.value)} /></label>
  </div>`;
}

function Outside({ sides, onSides }) {
  return html`<div class="group outside">
    ${SIDES.map(
      (name, k) => html`<label class="field"
        ><span>${t(name)}</span>
        <${Typed} type="number" min="0" max=${MOST} step=${STEP} value=${sides[k]}
          onType=${(text) => onSides(sides.map((each, at) => (at === k ? Math.min(MOST, numberOf(text) ?? 0) : each)))} /></label
      >`,
    )}
  </div>`;
}

function Tool({ icon, label, pressed, disabled, onClick }) {
  return html`<button type="button" class="round" title=${t(label)} aria-label=${t(label)} aria-pressed=${pressed} disabled=${disabled} onClick=${onClick}><${Icon} name=${icon} /></button>`;
}

/** Several pictures at once: a grid over one or two options, and a film from prompt to prompt. */

import { html, useState } from "../vendored/htm-preact.js";
import { currentOrder } from "../core/order.js";
import { grid, valuesOf } from "../core/series.js";
import { modelAtHand, notify, state } from "../core/state.js";
import { optionLabel, t } from "../core/words.js";
import { Morph } from "./morph.js";

const APART = ["image", "mask", "loras", "controls", "lora", "control", "count", "size", "embeddings"];

export function Series() {
  return html`<details class="card series">
    <summary><h2>${t("series")}</h2></summary>
    <${Grid} />
    ${state.server?.tasks?.includes("morph") && html`<${Morph} />`}
  </details>`;
}

function Grid() {
  const [across, setAcross] = useState({ name: "steps", text: "" });
  const [down, setDown] = useState({ name: "", text: "" });
  const draw = () => {
    const [columns, rows] = [across, down].map(({ name, text }) => ({ name, values: valuesOf(text) }));
    if (!columns.values.length || (rows.name && !rows.values.length)) return notify(t("gridNeeds"), "error");
    if (rows.name === columns.name) return notify(t("gridSame"), "error");
    return grid(currentOrder(), columns, rows.name ? rows : null);
  };
  return html`<div class="part" role="group" aria-labelledby="grid-title">
    <h3 id="grid-title">${t("grid")}</h3>
    <${Axis} label=${t("across")} axis=${across} onChange=${setAcross} />
    <${Axis} label=${t("downwards")} axis=${down} onChange=${setDown} optional />
    <p class="hint" id="grid-hint">${t("gridHint")}</p>
    <button type="button" disabled=${!modelAtHand()} onClick=${draw}>${t("paintGrid")}</button>
  </div>`;
}

function Axis({ label, axis, onChange, optional }) {
  const names = (state.server?.options ?? []).map((each) => each.name).filter((name) => !APART.includes(name));
  return html`<div class="row axis">
    <label class="field"
      ><span>${label}</span>
      <select value=${axis.name} onChange=${(event) => onChange({ ...axis, name: event.target.value })}>
        ${optional && html`<option value="">${t("none")}</option>`}
        ${names.map((name) => html`<option value=${name}>${optionLabel(name)}</option>`)}
      </select></label
    >
    <label class="field wide"
      ><span>${t("values")}</span>
      <input type="text" value=${axis.text} disabled=${!axis.name} placeholder=${example(axis.name)} aria-describedby="grid-hint" onInput=${(event) => onChange({ ...axis, text: event.target.value })} /></label
    >
  </div>`;
}

function example(name) {
  const option = state.server?.options.find((each) => each.name === name);
  if (option?.choices?.length) return option.choices.slice(0, 3).join(", ");
  return { steps: "5, 10, 20", guidance: "3-9:2", seed: "1, 2, 3" }[name] ?? "";
}

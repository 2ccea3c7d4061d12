/** Size, number and seed: what is changed most often. */

import { html, useState } from "../vendored/htm-preact.js";
import { change, modelAtHand, setValue, state } from "../core/state.js";
import { sizeAtHand, sizesOf } from "../core/sizes.js";
import { t } from "../core/words.js";
import { Icon } from "./icons.js";
import { numberOf, Typed } from "./typed.js";

export function Format() {
  const [width, height] = sizeAtHand();
  const model = modelAtHand();
  const sizes = model ? sizesOf(model) : [];
  const chosen = `${width}x${height}`;
  const listed = sizes.some(([w, h]) => `${w}x${h}` === chosen) ? sizes : [[width, height], ...sizes];
  const free = state.start && !state.values.width; // the picture's shape is kept
  const [own, setOwn] = useState(false);
  const pick = (event) => {
    setOwn(event.target.value === "own");
    if (event.target.value === "start") resize();
    else if (event.target.value !== "own") resize(...event.target.value.split("x").map(Number));
  };
  return html`<div class="row format">
    <label class="field wide"
      ><span>${t("format")}</span>
      <select value=${own ? "own" : free ? "start" : chosen} onChange=${pick}>
        ${state.start && html`<option value="start">${t("likeStart")}</option>`}
        ${listed.map(([w, h]) => html`<option value=${`${w}x${h}`}>${shape(w, h)} ${w} × ${h}</option>`)}
        <option value="own">${t("ownSize")}</option>
      </select></label
    >
    <label class="field"
      ><span>${t("count")}</span>
      <${Typed} type="number" min="1" max=${state.server?.limits?.max_count ?? 16} value=${state.values.count ?? 1}
        onType=${(text) => setValue("count", numberOf(text))} /></label
    >
    <${Seed} />
    ${own && html`<${Side} name="width" value=${width} /><${Side} name="height" value=${height} />`}
  </div>`;
}

function Seed() {
  const { seed } = state.values;
  const one = seed === undefined ? "" : String(seed);
  return html`<div class="field wide seed">
    <label for="seed">${t("seed")}</label>
    <div class="joined">
      <${Typed} id="seed" inputmode="numeric" placeholder=${t("random")} value=${one} onType=${(text) => setValue("seed", seedOf(text))} />
      <button type="button" title=${t("newSeed")} aria-label=${t("newSeed")} onClick=${() => setValue("seed", undefined)}>
        <${Icon} name="dice" />
      </button>
    </div>
  </div>`;
}

/** "7" -> 7, "7, 3" -> [7, 3]; what is no number is left to the server to refuse. */
function seedOf(text) {
  const parts = text
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
  const seeds = parts.map((each) => (/^\d{1,15}$/.test(each) ? Number(each) : each));
  return seeds.length > 1 ? seeds : seeds[0];
}

function Side({ name, value }) {
  return html`<label class="field"
    ><span>${t(name)}</span>
    <${Typed} type="number" min="64" step="8" value=${value} onType=${(text) => setValue(name, numberOf(text))} /></label
  >`;
}

function resize(width, height) {
  const others = Object.entries(state.values).filter(([name]) => !["size", "width", "height"].includes(name));
  change({ values: { ...Object.fromEntries(others), ...(width ? { width, height } : {}) } });
}

function shape(width, height) {
  return t(width === height ? "square" : width > height ? "landscape" : "portrait");
}

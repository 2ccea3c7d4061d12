/** A film that goes from one prompt to the next. */

import { html, useState } from "../vendored/htm-preact.js";
import { told } from "../core/api.js";
import { currentOrder } from "../core/order.js";
import { paint } from "../core/painting.js";
import { modelAtHand, notify, state } from "../core/state.js";
import { t } from "../core/words.js";
import { numberOf, Typed } from "./typed.js";

const LEFT_OUT = [
  "prompt",
  "seed",
  "count",
  "image",
  "mask",
  "outpaint",
  "strength",
  "hires",
  "refiner",
  "only_masked",
];

export function Morph() {
  const [form, setForm] = useState({ prompts: "", frames: 24, seconds: 4, loop: false });
  const take = (name, value) => setForm({ ...form, [name]: value });
  const make = async () => {
    const prompts = form.prompts
      .split("\n")
      .map((each) => each.trim())
      .filter(Boolean);
    if (prompts.length < 2) return notify(t("morphNeeds"), "error");
    const kept = Object.entries(currentOrder()).filter(([name]) => !LEFT_OUT.includes(name));
    const { frames, seconds, loop } = form;
    const order = {
      ...Object.fromEntries(kept),
      task: "morph",
      prompts,
      frames,
      seconds,
      loop,
      title: prompts.join(" → "),
    };
    return paint(order).catch((error) => notify(told(error), "error"));
  };
  return html`<div class="part" role="group" aria-labelledby="morph-title">
    <h3 id="morph-title">${t("morph")}</h3>
    <label class="field"
      ><span>${t("morphPrompts")}</span>
      <textarea rows="3" value=${form.prompts} placeholder=${t("morphExample")} onInput=${(event) => take("prompts", event.target.value)} /></label
    >
    <div class="row">
      <label class="field"><span>${t("frames")}</span><${Typed} type="number" min="2" max=${state.server.limits.max_frames ?? 240} value=${form.frames} onType=${(text) => take("frames", numberOf(text))} /></label>
      <label class="field"><span>${t("seconds")}</span><${Typed} type="number" min="1" max="60" step="0.5" value=${form.seconds} onType=${(text) => take("seconds", numberOf(text))} /></label>
      <label class="check"><input type="checkbox" checked=${form.loop} onChange=${(event) => take("loop", event.target.checked)} /> ${t("loop")}</label>
    </div>
    <button type="button" disabled=${!modelAtHand()} onClick=${make}>${t("makeFilm")}</button>
  </div>`;
}

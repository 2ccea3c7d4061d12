/** LoRAs with their strengths, ControlNets with their pictures, and an upscaler, as far as the server has them. */

import { html, useRef } from "../vendored/htm-preact.js";
import { addressOf } from "../core/blobs.js";
import { currentOrder } from "../core/order.js";
import { change, fitting, setValue, state } from "../core/state.js";
import { t } from "../core/words.js";
import { upscalerLabel } from "./actions.js";
import { Icon } from "./icons.js";

export function AddOns() {
  const [loras, controls, upscalers] = ["loras", "controlnets", "upscalers"].map(fitting);
  if (!loras.length && !controls.length && !upscalers.length) return null;
  const { lora = [], upscale } = currentOrder();
  const on = lora.length + state.controls.length + (upscale ? 1 : 0);
  return html`<details class="card addons">
    <summary><h2>${t("addons")}</h2>${on > 0 && html`<span class="badge">${on}</span>`}</summary>
    ${loras.map((each) => html`<${Lora} key=${each.name} name=${each.name} />`)}
    ${controls.map((each) => html`<${ControlNet} key=${each.name} net=${each} />`)}
    ${upscalers.length > 0 && html`<${Upscaler} upscalers=${upscalers} />`}
  </details>`;
}

function Lora({ name }) {
  const used = state.loras.find((each) => each.name === name);
  const others = state.loras.filter((each) => each.name !== name);
  const give = (strength) => change({ loras: [...others, { name, strength }] });
  return html`<div class="addon">
    <label class="check"><input type="checkbox" checked=${Boolean(used)} onChange=${(event) => (event.target.checked ? give(1) : change({ loras: others }))} /> ${name}</label>
    ${
      used &&
      html`<div class="slider">
      <input type="range" aria-label=${t("strengthOf", { name })} min="-1" max="2" step="0.05" value=${used.strength} onInput=${(event) => give(event.target.valueAsNumber)} />
      <output>${used.strength.toFixed(2)}</output>
    </div>`
    }
  </div>`;
}

function ControlNet({ net }) {
  const { name, preprocessors = [] } = net;
  const file = useRef();
  const chosen = (event) => event.target.files[0] && give({ image: event.target.files[0] });
  const used = state.controls.find((each) => each.name === name);
  const others = state.controls.filter((each) => each.name !== name);
  const give = (parts) => change({ controls: [...others, { name, strength: 1, start: 0, end: 1, ...used, ...parts }] });
  const toggle = (event) => (event.target.checked ? give({}) : change({ controls: others }));
  return html`<div class="addon">
    <label class="check"><input type="checkbox" checked=${Boolean(used)} onChange=${toggle} /> ${name}</label>
    ${
      used &&
      html`
      <div class="sources">
        ${used.image && html`<img src=${addressOf(used.image)} alt=${t("controlPicture", { name })} />`}
        <button type="button" onClick=${() => file.current.click()}><${Icon} name="picture" />${t("controlOpen")}</button>
        <input type="file" hidden ref=${file} accept="image/*" onChange=${chosen} />
        ${state.start?.image && html`<button type="button" class="quiet" onClick=${() => give({ image: state.start.image })}>${t("controlStart")}</button>`}
      </div>
      ${!used.image && html`<p class="hint">${t("controlNeeds")}</p>`}
      ${
        preprocessors.length > 0 &&
        html`<label class="field"><span>${t("prepare")}</span>
        <select value=${used.preprocessor ?? ""} onChange=${(event) => give({ preprocessor: event.target.value || undefined })}>
          <option value="">${t("prepareNone")}</option>
          ${preprocessors.map((each) => html`<option value=${each}>${each}</option>`)}
        </select></label>`
      }
      <${Range} label=${t("strength")} most=${2} value=${used.strength} onInput=${(strength) => give({ strength })} />
      <${Range} label=${t("from")} most=${1} value=${used.start} onInput=${(start) => give({ start })} />
      <${Range} label=${t("until")} most=${1} value=${used.end} onInput=${(end) => give({ end })} />
    `
    }
  </div>`;
}

function Range({ label, most, value, onInput }) {
  return html`<label class="field slim"
    ><span>${label}: ${value.toFixed(2)}</span>
    <input type="range" min="0" max=${most} step="0.05" value=${value} onInput=${(event) => onInput(event.target.valueAsNumber)} /></label
  >`;
}

function Upscaler({ upscalers }) {
  return html`<label class="field"
    ><span>${t("upscaler")}</span>
    <select value=${state.values.upscale ?? ""} onChange=${(event) => setValue("upscale", event.target.value)}>
      <option value="">${t("none")}</option>
      ${upscalers.map((each) => html`<option value=${each.name}>${upscalerLabel(each)}</option>`)}
    </select></label
  >`;
}

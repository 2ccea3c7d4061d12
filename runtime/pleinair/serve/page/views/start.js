/** Where a picture to start from comes in: a file, the clipboard, the camera, or an empty canvas. */

import { html, useEffect, useRef } from "../vendored/htm-preact.js";
import { addressOf } from "../core/blobs.js";
import { startBlank, useAsStart, withoutStart } from "../core/start.js";
import { change, modelAtHand, setValue, state } from "../core/state.js";
import { t } from "../core/words.js";
import { Icon } from "./icons.js";

const STRENGTH = 0.75; // the runtime's, where nothing is said

export function Start() {
  const { start } = state;
  const { can } = modelAtHand() ?? {};
  const card = useRef();
  useEffect(() => {
    if (start) card.current.open = true;
  }, [start]);
  if (can && !can.includes("image2image") && !can.includes("inpaint")) return null;
  const leave = () => {
    withoutStart();
    card.current.querySelector("summary").focus(); // the button goes
  };
  return html`<details class="card start" ref=${card}>
    <summary><h2>${t("startFrom")}</h2></summary>
    ${start ? html`<${Chosen} start=${start} onLeave=${leave} />` : html`<${Sources} />`}
  </details>`;
}

function Sources() {
  const file = useRef();
  const chosen = (event) => event.target.files[0] && useAsStart(event.target.files[0]);
  return html`<p class="hint">${t("startHint")}</p>
    <div class="sources">
      <button type="button" onClick=${() => file.current.click()}><${Icon} name="picture" />${t("openFile")}</button>
      <input type="file" hidden id="start-file" ref=${file} accept="image/*" onChange=${chosen} />
      <${CameraButton} />
      <button type="button" onClick=${startBlank}><${Icon} name="brush" />${t("sketch")}</button>
    </div>`;
}

/** The page's own camera; over plain HTTP, where pages may not use one, a phone's. */
function CameraButton() {
  const file = useRef();
  const phone = window.matchMedia("(pointer: coarse)").matches;
  if (!navigator.mediaDevices && !phone) return null;
  const open = () => (navigator.mediaDevices ? change({ dialog: "camera" }) : file.current.click());
  const taken = (event) => event.target.files[0] && useAsStart(event.target.files[0]);
  return html`<button type="button" onClick=${open}><${Icon} name="camera" />${t("camera")}</button>
    <input type="file" hidden ref=${file} accept="image/*" capture="environment" onChange=${taken} />`;
}

function Chosen({ start, onLeave }) {
  const masked = Boolean(start.mask) || start.sides.some(Boolean);
  const strength = state.values.strength ?? (masked ? 1 : STRENGTH);
  return html`<div class="chosen">
      ${start.image && html`<img src=${addressOf(start.image)} alt=${t("startPicture")} />`}
      <div class="sources">
        <button type="button" onClick=${() => change({ shown: { kind: "editor" } })}><${Icon} name="brush" />${t("draw")}</button>
        <button type="button" class="quiet" onClick=${onLeave}><${Icon} name="close" />${t("withoutStart")}</button>
      </div>
    </div>
    <label class="field"
      ><span>${t("strength")}: ${Math.round(strength * 100)} %</span>
      <input type="range" min="0" max="1" step="0.01" value=${strength} onInput=${(event) => setValue("strength", event.target.valueAsNumber)} /></label
    >
    <p class="hint">${t(masked ? "maskedHint" : "strengthHint")}</p>`;
}

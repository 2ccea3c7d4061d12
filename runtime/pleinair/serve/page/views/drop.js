/** Pictures dropped on the page or pasted: to start from, or to take their settings. */

import { html, useEffect, useState } from "../vendored/htm-preact.js";
import { restoreFrom } from "../core/restoring.js";
import { useAsStart } from "../core/start.js";
import { change, state } from "../core/state.js";
import { t } from "../core/words.js";

export function DropZone() {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const enter = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event) => event.relatedTarget === null && setOver(false);
    const drop = (event) => {
      event.preventDefault();
      setOver(false);
      const [file] = event.dataTransfer.files;
      if (!file) return;
      const { drop, control } = event.target.closest?.("[data-drop]")?.dataset ?? {};
      if (drop === "start") useAsStart(file);
      else if (drop === "control") follow(control, file);
      else restoreFrom(file);
    };
    const paste = (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
      if (!file) return;
      event.preventDefault();
      useAsStart(file);
    };
    const listeners = { dragenter: enter, dragover: enter, dragleave: leave, drop, paste };
    for (const [name, listener] of Object.entries(listeners)) window.addEventListener(name, listener);
    return () => {
      for (const [name, listener] of Object.entries(listeners)) window.removeEventListener(name, listener);
    };
  }, []);
  return html`<div class=${`drop ${over ? "over" : ""}`} aria-hidden="true">
    <div data-drop="start"><p>${t("dropStart")}</p></div>
    ${state.controls.map(({ name }) => html`<div data-drop="control" data-control=${name}><p>${t("dropControl", { name })}</p></div>`)}
    <div data-drop="settings"><p>${t("dropSettings")}</p></div>
  </div>`;
}

/** Gives a ControlNet the picture that it follows. */
function follow(name, image) {
  change({ controls: state.controls.map((each) => (each.name === name ? { ...each, image } : each)) });
}

/** What the page tells the user beside its work. */

import { html } from "../vendored/htm-preact.js";
import { dismiss, state } from "../core/state.js";
import { t } from "../core/words.js";
import { Icon } from "./icons.js";

export function Notices() {
  return html`<div class="notices" role="log" aria-live="polite" aria-label=${t("notices")}>
    ${state.notices.map(
      (each) => html`<div key=${each.id} class=${`notice ${each.kind}`}>
        <p>${each.text}</p>
        <button class="round" aria-label=${t("close")} onClick=${() => dismiss(each.id)}><${Icon} name="close" /></button>
      </div>`,
    )}
  </div>`;
}

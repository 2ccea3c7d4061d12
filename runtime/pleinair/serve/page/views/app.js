/** The page from top to bottom. */

import { html } from "../vendored/htm-preact.js";
import { AddOns } from "./addons.js";
import { Dialogs } from "./dialogs.js";
import { DropZone } from "./drop.js";
import { Go } from "./go.js";
import { Header } from "./header.js";
import { Notices } from "./notices.js";
import { Options } from "./options.js";
import { Prompt } from "./prompt.js";
import { Series } from "./series.js";
import { Shelf } from "./shelf.js";
import { Stage } from "./stage.js";
import { Start } from "./start.js";
import { state } from "../core/state.js";
import { t } from "../core/words.js";

export function App() {
  return html`
    <a class="skip" href="#stage">${t("skip")}</a>
    <${Header} />
    <main class="studio">
      <section class="panel" aria-label=${t("settings")}>
        <${Prompt} />
        <${Go} />
        <${Start} />
        <${AddOns} />
        <${Options} />
        <${Series} />
      </section>
      <div class="room">
        <${Stage} />
        <${Shelf} />
      </div>
    </main>
    <p class="unseen" role="status">${state.said}</p>
    <${Notices} />
    <${Dialogs} />
    <${DropZone} />
  `;
}

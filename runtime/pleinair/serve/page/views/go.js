/** The button, which Ctrl+Enter presses from anywhere. */

import { html, useEffect, useState } from "../vendored/htm-preact.js";
import { told } from "../core/api.js";
import { currentOrder } from "../core/order.js";
import { isOver } from "../core/following.js";
import { cancel, paint } from "../core/painting.js";
import { dismiss, modelAtHand, notify, state } from "../core/state.js";
import { optionLabel, t } from "../core/words.js";

export function Go() {
  useEffect(() => {
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
  const [placing, setPlacing] = useState(false);
  const running = state.jobs.filter((each) => !isOver(each));
  const ready = modelAtHand() && state.reachable && !placing;
  return html`<div class="go">
    <button class="paint" id="paint" type="button" disabled=${!ready} data-placing=${placing} onClick=${() => place(setPlacing)}>
      ${running.length ? t("paintNext") : t("paint")}
    </button>
    ${
      running.length > 0 &&
      html`<button type="button" class="stop" onClick=${() => running.forEach(cancel)}>
      ${running.length > 1 ? t("cancelAll", { count: running.length }) : t("cancel")}
    </button>`
    }
  </div>`;
}

async function place(setPlacing) {
  setPlacing(true);
  for (const each of state.notices.filter(({ kind }) => kind === "error")) dismiss(each.id); // of the last try
  setTimeout(() => setPlacing(false), 600); // a double click orders one picture
  try {
    await state.start?.renewed; // what was drawn a moment ago belongs to it
    await paint(currentOrder());
  } catch (error) {
    const message = told(error);
    const named = error.field && !message.toLowerCase().includes(error.field) ? `${optionLabel(error.field)}: ` : "";
    notify(named + message, "error");
  }
}

function pressed(event) {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  document.getElementById("paint").click();
}

/** The name, how the server is, and the choice of language and light. */

import { html } from "../vendored/htm-preact.js";
import { LANGUAGES, prefer, preferences, THEMES } from "../core/preferences.js";
import { shortOfMemory } from "../core/server.js";
import { change, state } from "../core/state.js";
import { duration, gigabytes, t } from "../core/words.js";
import { Icon } from "./icons.js";

export function Header() {
  const next = THEMES[(THEMES.indexOf(preferences.theme) + 1) % THEMES.length];
  const theme = `${t("theme")}: ${t(`theme_${preferences.theme}`)}`;
  return html`<header class="top">
    <h1 class="wordmark">pleinair</h1>
    <${Health} />
    <nav class="tools" aria-label=${t("page")}>
      <label class="bare"
        ><span class="unseen">${t("language")}</span>
        <select value=${preferences.language} onChange=${(event) => prefer("language", event.target.value)}>
          ${Object.entries(LANGUAGES).map(([code, name]) => html`<option value=${code} lang=${code}>${name}</option>`)}
        </select></label
      >
      <button class="round" title=${theme} aria-label=${theme} onClick=${() => prefer("theme", next)}>
        <${Icon} name="light" />
      </button>
      <button class="round" title=${t("keys")} aria-label=${t("keys")} onClick=${() => change({ dialog: "keys" })}>
        <${Icon} name="keys" />
      </button>
    </nav>
  </header>`;
}

/** How the server is; a screen reader hears of trouble and of a queue, but not of each gigabyte. */
function Health() {
  const { server, reachable } = state;
  const short = reachable && shortOfMemory();
  const { queue, memory } = server ?? {};
  const trouble = [];
  if (!reachable) trouble.push(t("away"));
  else if (queue?.length > 0) trouble.push(waiting(queue));
  if (short) trouble.push(t("memoryShort", sizes(memory)));
  const free = reachable && !short && memory?.free && memory.total ? t("memoryFree", sizes(memory)) : "";
  return html`<p class=${`health ${reachable ? "" : "bad"} ${short ? "short" : ""}`}>
    <span role="status">${trouble.join(" · ")}</span>${trouble.length > 0 && free && " · "}${free}
  </p>`;
}

function waiting({ length, expected_wait_s: wait }) {
  return wait ? t("queueWait", { length, wait: duration(wait) }) : t("queue", { length });
}

function sizes({ free, total }) {
  return { free: gigabytes(free), total: gigabytes(total) };
}

/** The name, how the server is, and the choice of language and light. */

import { html } from "../vendored/htm-preact.js";
import { prefer, preferences } from "../core/preferences.js";
import { shortOfMemory } from "../core/server.js";
import { change, state } from "../core/state.js";
import { duration, gigabytes, t } from "../core/words.js";
import { Icon } from "./icons.js";

const THEMES = ["auto", "light", "dark"];

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
          <option value="en" lang="en">English</option>
          <option value="de" lang="de">Deutsch</option>
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

function Health() {
  const { server, reachable } = state;
  const words = [];
  if (!reachable) words.push(t("away"));
  else if (server) {
    const { queue, memory } = server;
    if (queue?.length > 0) words.push(waiting(queue));
    if (memory?.free && memory.total) words.push(t(shortOfMemory() ? "memoryShort" : "memoryFree", sizes(memory)));
  }
  const kind = !reachable ? "bad" : shortOfMemory() ? "short" : "good";
  return html`<p class=${`health ${kind}`} role="status">${words.join(" · ")}</p>`;
}

function waiting({ length, expected_wait_s: wait }) {
  return wait ? t("queueWait", { length, wait: duration(wait) }) : t("queue", { length });
}

function sizes({ free, total }) {
  return { free: gigabytes(free), total: gigabytes(total) };
}

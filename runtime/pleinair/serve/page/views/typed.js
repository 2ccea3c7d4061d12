/** An input whose text stays as it is typed, however often the page is drawn anew; `onType(text)` has each change. */

import { html, useState } from "../vendored/htm-preact.js";

export function Typed({ value, onType, ...more }) {
  const [draft, setDraft] = useState(null);
  const take = (event) => {
    setDraft(event.target.value);
    onType(event.target.value);
  };
  return html`<input ...${more} value=${draft ?? value} onInput=${take} onChange=${() => setDraft(null)} />`;
}

/** "" and what is no number -> undefined. */
export function numberOf(text) {
  return text.trim() === "" || Number.isNaN(Number(text)) ? undefined : Number(text);
}

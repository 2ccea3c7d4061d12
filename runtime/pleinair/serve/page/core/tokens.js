/** How the model reads the prompt: its tokens, and the words that it does not know. */

import { getJson } from "./api.js";
import { change } from "./state.js";

const REST = 350; // milliseconds without a key before the server is asked

/** Asks once the user rests; returns what calls that off. */
export function countTokens(model, prompt) {
  if (!model || !prompt) return undefined;
  const asking = new AbortController();
  const timer = setTimeout(async () => {
    try {
      change({ tokens: await getJson("tokens", { method: "POST", json: { model, prompt }, signal: asking.signal }) });
    } catch {
      change({ tokens: null }); // a prompt that cannot be read is refused when it is painted, and says why there
    }
  }, REST);
  return () => {
    clearTimeout(timer);
    asking.abort();
  };
}

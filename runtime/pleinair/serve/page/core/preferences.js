/** What the user likes: language and light, kept in this browser. */

import { change } from "./state.js";
import { keep, kept } from "./storage.js";

const NAMES = { language: "pleinair.language", theme: "pleinair.theme" };

export const LANGUAGES = { en: "English", de: "Deutsch" };
export const THEMES = ["auto", "light", "dark"];

const native = navigator.language.toLowerCase().startsWith("de") ? "de" : "en";

export const preferences = {
  language: chosen("language", Object.keys(LANGUAGES)) ?? native,
  theme: chosen("theme", THEMES) ?? "auto",
};

function chosen(name, choices) {
  const value = kept(NAMES[name]);
  return choices.includes(value) ? value : null;
}

export function prefer(name, value) {
  preferences[name] = value;
  keep(NAMES[name], value);
  follow();
  change({});
}

export function follow() {
  document.documentElement.lang = preferences.language;
  document.documentElement.dataset.theme = preferences.theme;
}

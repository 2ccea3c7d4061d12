/** What the user likes: language and light, kept in this browser. */

import { change } from "./state.js";

const NAMES = { language: "pleinair.language", theme: "pleinair.theme" };

export const preferences = {
  language: localStorage.getItem(NAMES.language) ?? (navigator.language.toLowerCase().startsWith("de") ? "de" : "en"),
  theme: localStorage.getItem(NAMES.theme) ?? "auto",
};

export function prefer(name, value) {
  preferences[name] = value;
  localStorage.setItem(NAMES[name], value);
  follow();
  change({});
}

export function follow() {
  document.documentElement.lang = preferences.language;
  document.documentElement.dataset.theme = preferences.theme;
}

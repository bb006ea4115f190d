// Light, dark, or as the system has it.

import { byId } from "./dom.js";

const ORDER = ["auto", "light", "dark"];
const KEY = "mespot-theme";
const heard = [];

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a browser that keeps nothing
  }
}

function apply(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  byId("theme").textContent = `Theme: ${name}`;
  byId("theme").dataset.name = name;
  heard.forEach((call) => call());
}

export function onTheme(call) {
  heard.push(call);
}

export function nextTheme() {
  const name = ORDER[(ORDER.indexOf(byId("theme").dataset.name) + 1) % ORDER.length];
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // it holds for this visit
  }
  apply(name);
}

export function startTheme() {
  const name = stored();
  apply(ORDER.includes(name) ? name : "auto");
  byId("theme").onclick = nextTheme;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => heard.forEach((c) => c()));
}

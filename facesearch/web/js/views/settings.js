/**
 * Settings: collections, keys, operating points, the network and its licence, the audit log, and this tab.
 */

import { Problem } from "../api.js";
import { failure, h, put, waiting } from "../dom.js";
import { audit } from "./settings_audit.js";
import { collections } from "./settings_collections.js";
import { keys } from "./settings_keys.js";
import { model, points, tab } from "./settings_facts.js";

const PARTS = {
  collections: ["Collections", collections],
  keys: ["Keys", keys],
  points: ["Operating points", points],
  model: ["Network", model],
  audit: ["Audit log", audit],
  tab: ["This tab", tab],
};

export async function settings(place, page, [wanted = "collections"]) {
  const name = wanted in PARTS ? wanted : "collections";
  const body = h("section", { class: "stack", "aria-label": PARTS[name][0] }, waiting("One moment…"));
  put(
    place,
    h("div", { class: "head" }, h("h1", {}, "Settings")),
    h(
      "div",
      { class: "settings" },
      h("nav", { class: "settings-nav", "aria-label": "Settings" }, Object.entries(PARTS).map(([key, [title]]) => h(
        "a",
        { href: `#/settings/${key}`, "aria-current": key === name ? "page" : null },
        title,
      ))),
      body,
    ),
  );
  const fill = h("div", { class: "stack" });
  try {
    await PARTS[name][1](fill, page);
    put(body, fill);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    put(body, h("h2", {}, PARTS[name][0]), failure(error, () => settings(place, page, [name])));
  }
}

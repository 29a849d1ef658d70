/**
 * Everybody enrolled: a grid with pictures, a search, tags, and pages that are asked for as they are wanted.
 */

import { Problem, api } from "../api.js";
import { announce, button, failure, field, h, nothing, put, waiting } from "../dom.js";
import { thumbnail } from "../thumbnails.js";
import { plural } from "../words.js";

const PAGE = 60;
const PAUSE_MS = 250;

function card(one) {
  return h(
    "li",
    {},
    h(
      "a",
      { class: "person", href: `#/people/${one.identity_id}` },
      thumbnail(one.collection, one.identity_id, one.thumbnail_template_id, one),
      h(
        "div",
        { class: "person-text" },
        h("span", { class: "person-name" }, one.label),
        h("span", { class: "edge" }, plural(one.n_faces, "face")),
        one.tags.length ? h("span", { class: "tags" }, one.tags.map((tag) => h("span", { class: "tag" }, tag))) : null,
      ),
    ),
  );
}

export async function people(place, page) {
  const asked = { contains: "", tag: [] };
  const known = new Set();
  let running = null;
  let timer = null;

  const summary = h("p", { class: "edge", id: "people-count" });
  const search = h("input", { type: "search", autocomplete: "off", spellcheck: "false", "aria-describedby": "people-count", on: { input: () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => {
      asked.contains = search.value.trim();
      load();
    }, PAUSE_MS);
  } } });
  const tags = h("div", { class: "tags", role: "group", "aria-label": "Only people with these tags" });
  const list = h("ul", { class: "grid" });
  const more = h("div", { class: "row" });
  const body = h("div", { class: "stack", "aria-busy": "true" });

  function showTags() {
    const pressed = (tag) => asked.tag.includes(tag);
    put(tags, [...known].sort().map((tag) => h("button", {
      type: "button",
      class: "tag",
      "aria-pressed": String(pressed(tag)),
      on: { click: () => {
        asked.tag = pressed(tag) ? asked.tag.filter((one) => one !== tag) : [...asked.tag, tag];
        load().then(() => [...tags.children].find((one) => one.textContent === tag)?.focus());
      } },
    }, tag)));
  }

  function empty() {
    if (asked.contains || asked.tag.length) {
      return nothing("search", "Nobody found", `Nobody in “${page.collection}” ${asked.contains ? `is called anything with “${asked.contains}”` : "carries these tags"}.`, button("Show everybody", () => {
        search.value = "";
        asked.contains = "";
        asked.tag = [];
        load();
        search.focus();
      }));
    }
    return nothing(
      "people",
      "Nobody is enrolled yet",
      `“${page.collection}” is empty. Enroll somebody with one good photograph, and they can be found in others.`,
      page.allows("enroll") ? h("a", { class: "button primary", href: "#/enroll" }, "Enroll people") : null,
    );
  }

  async function load(cursor = null) {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    body.setAttribute("aria-busy", "true");
    if (cursor === null && !list.childElementCount) put(body, waiting("Looking people up…"));
    let answer;
    try {
      answer = await api.people(page.collection, { ...asked, cursor, limit: PAGE }, signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      // A collection comes to be with its first person: until then there is none of its name.
      if (error.code !== "unknown_collection" || page.collections.some((one) => one.name === page.collection)) {
        put(body, failure(error, () => load(cursor)));
        return;
      }
      answer = { items: [], next_cursor: null };
    }
    if (cursor === null) put(list);
    for (const one of answer.items) one.tags.forEach((tag) => known.add(tag));
    const first = answer.items.map(card);
    list.append(...first);
    showTags();
    const shown = list.childElementCount;
    const total = page.collections.find((one) => one.name === page.collection)?.n_identities;
    const isFiltered = asked.contains || asked.tag.length;
    summary.textContent = isFiltered || total === undefined || total < shown
      ? `${plural(shown, "person", "people")}${answer.next_cursor ? " so far" : ""}`
      : `${shown} of ${plural(total, "person", "people")}`;
    put(more, answer.next_cursor ? button("Show more", async () => {
      await load(answer.next_cursor);
      list.children[shown]?.querySelector("a").focus();
    }) : null);
    put(body, shown ? [list, more] : empty());
    body.setAttribute("aria-busy", "false");
    if (cursor !== null || isFiltered) announce(summary.textContent);
  }

  put(
    place,
    h(
      "div",
      { class: "head" },
      h("div", {}, h("h1", {}, "People"), summary),
      page.allows("enroll") ? h("a", { class: "button primary", href: "#/enroll" }, "Enroll people") : null,
    ),
    h("div", { class: "finder" }, field("Search by name", search), tags),
    body,
  );
  page.reloadCollections().catch(() => null).then(() => load());
  return () => {
    running?.abort();
    window.clearTimeout(timer);
  };
}

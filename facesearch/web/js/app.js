/**
 * Starts the page: asks who may work here, keeps the header, and shows the view that the address names.
 */

import { Problem, api, onUnauthorized } from "./api.js";
import { announce, button, failure, field, h, icon, notice, put, waiting } from "./dom.js";
import { session } from "./session.js";
import { forgetPictures } from "./thumbnails.js";
import { enroll } from "./views/enroll.js";
import { identify } from "./views/identify.js";
import { people } from "./views/people.js";
import { person } from "./views/person.js";
import { settings } from "./views/settings.js";
import { verify } from "./views/verify.js";

const VIEWS = { people, enroll, verify, identify, settings };
const TITLES = { people: "People", enroll: "Enroll", verify: "Verify", identify: "Identify", settings: "Settings" };
const THEMES = { system: ["system", "Theme: as the system"], light: ["sun", "Theme: light"], dark: ["moon", "Theme: dark"] };

const main = document.getElementById("main");
const nav = document.querySelector(".nav");
const switcher = document.getElementById("collection");

/** What every view is handed. */
const page = {
  me: null,
  collections: [],
  points: null,
  get collection() {
    return session.collection;
  },
  allows(scope) {
    return this.me !== null && (this.me.keys === "off" || (this.me.scopes ?? []).includes(scope));
  },
  /** Asks for the operating points once; there are none for a key that may not see them. */
  async operatingPoints() {
    if (this.points !== null) return this.points;
    try {
      this.points = await api.operatingPoints();
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "forbidden") throw error;
      this.points = { points: [], saved: [], score_histograms: null };
    }
    return this.points;
  },
  async reloadCollections() {
    const found = [];
    let cursor = null;
    do {
      const answer = await api.collections(cursor);
      found.push(...answer.items);
      cursor = answer.next_cursor;
    } while (cursor);
    this.collections = found;
    showCollections();
  },
  choose(name) {
    session.collection = name;
    forgetPictures();
    showCollections();
  },
  forgetKey() {
    session.key = null;
    session.collection = null;
    this.me = null;
    this.points = null;
    forgetPictures();
    start();
  },
};

let leave = null;
let shown = 0;

function showCollections() {
  const names = page.collections.map((one) => one.name);
  if (!names.includes(session.collection)) session.collection = names.includes("default") || names.length === 0 ? "default" : names[0];
  const listed = names.includes(session.collection) ? names : [session.collection, ...names];
  put(switcher, listed.map((name) => h("option", { value: name }, name)));
  switcher.value = session.collection;
  switcher.closest("label").hidden = false;
}

function showTheme() {
  const control = document.getElementById("theme");
  const [sign, words] = THEMES[session.theme];
  put(control, icon(sign));
  control.setAttribute("aria-label", `${words}. Change it`);
  control.title = words;
}

function route() {
  const [, name = "people", ...rest] = window.location.hash.split("/");
  return VIEWS[name] ? [name, rest.map(decodeURIComponent)] : ["people", []];
}

async function show({ keepFocus = false } = {}) {
  if (page.me === null) return;
  const [name, rest] = route();
  shown += 1;
  const mine = shown;
  leave?.();
  leave = null;
  document.title = `${TITLES[name]} · facesearch`;
  for (const link of document.querySelectorAll(".nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = h("div", {}, waiting("One moment…"));
  main.setAttribute("aria-busy", "true");
  main.dataset.place = window.location.hash;
  put(main, place);
  window.scrollTo(0, 0);
  if (!keepFocus) main.focus({ preventScroll: true });
  try {
    const view = name === "people" && rest.length ? person : VIEWS[name];
    const ended = await view(place, page, rest);
    if (mine === shown) leave = ended ?? null;
    else ended?.();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (mine === shown) put(place, failure(error, () => show()));
  } finally {
    if (mine === shown) main.removeAttribute("aria-busy");
  }
  if (!keepFocus) announce(TITLES[name]);
}

/** Asks for the key, once a tab. */
function askForKey(reason = null) {
  leave?.();
  leave = null;
  page.me = null;
  delete main.dataset.place;
  main.removeAttribute("aria-busy");
  nav.hidden = true;
  switcher.closest("label").hidden = true;
  document.title = "Key · facesearch";
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, name: "key", "aria-describedby": "key-hint" });
  const trouble = h("div", {}, reason && notice("bad", reason));
  const submit = async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) {
      put(trouble, notice("bad", "Type or paste a key first."));
      input.focus();
      return;
    }
    try {
      await api.me(text);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      put(trouble, failure(error));
      input.select();
      return;
    }
    session.key = text;
    start({ keepFocus: false });
  };
  put(
    main,
    h(
      "div",
      { class: "gate panel" },
      h(
        "form",
        { class: "stack", on: { submit }, novalidate: true },
        h("h1", {}, "Your key"),
        h("p", {}, "This service knows people by their faces, so it asks who you are. Your operator makes a key with ", h("code", {}, "facesearch keys create"), "."),
        trouble,
        field("API key", input),
        h("p", { class: "hint", id: "key-hint" }, "It is kept in this tab until you close it, and sent nowhere else."),
        h("div", { class: "row" }, h("button", { type: "submit", class: "button primary" }, icon("key"), "Continue")),
      ),
    ),
  );
  input.focus();
}

let asking = false;

/** `keepFocus` is for a page that just opened: the first step of Tab goes to the link that skips the header. */
async function start({ keepFocus = true } = {}) {
  put(main, waiting("One moment…"));
  asking = true;
  try {
    page.me = await api.me();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) askForKey(session.key ? error.message : null);
    else put(main, failure(error, () => start()));
    return;
  } finally {
    asking = false;
  }
  nav.hidden = false;
  try {
    await page.reloadCollections();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // A key may be for identifying only and see no list: then the collection is the one of its settings.
    page.collections = (page.me.collections ?? []).map((name) => ({ name }));
    showCollections();
  }
  await show({ keepFocus });
}

onUnauthorized((error) => {
  if (asking || page.me === null) return;
  session.key = null;
  askForKey(error.message);
});

switcher.addEventListener("change", () => {
  page.choose(switcher.value);
  if (route()[0] === "people" && route()[1].length) window.location.hash = "#/people";
  else show({ keepFocus: true });
});

document.getElementById("theme").addEventListener("click", () => {
  const order = ["system", "light", "dark"];
  session.theme = order[(order.indexOf(session.theme) + 1) % order.length];
  showTheme();
  announce(THEMES[session.theme][1]);
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

// A photograph dropped beside its place must not replace the page.
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => event.preventDefault());
window.addEventListener("hashchange", () => show());
showTheme();
start();

/**
 * Keys of the service: made and shown once, changed for a new one, revoked.
 */

import { Problem, api } from "../api.js";
import { confirm, open } from "../dialog.js";
import { button, failure, field, h, nothing, notice, put, toast } from "../dom.js";
import { day, moment } from "../words.js";

const SCOPES = {
  read: "See who is enrolled",
  verify: "Compare two photographs",
  identify: "Search for people",
  enroll: "Enroll, change and remove people",
  templates: "Have vectors, export and import",
  admin: "Keys, collections, audit log",
};

function showOnce(text, title) {
  return open(title, (close) => h(
    "div",
    { class: "stack" },
    notice("warn", "This is the only time it is shown. Copy it to a safe place now; the service keeps a digest only."),
    h("div", { class: "secret" }, h("span", { id: "new-key" }, text), button("Copy", async () => {
      await navigator.clipboard.writeText(text);
      toast("Copied.");
    }, { kind: "small", icon: "copy" })),
    h("div", { class: "row end" }, button("I have it", () => close(true), { kind: "primary" })),
  ));
}

function stateOf(key) {
  if (key.revoked_at) return ["bad", `Revoked ${day(key.revoked_at)}`];
  if (key.expires_at && new Date(key.expires_at) < new Date()) return ["bad", `Expired ${day(key.expires_at)}`];
  return ["good", key.expires_at ? `Until ${day(key.expires_at)}` : "In use"];
}

export async function keys(place, page) {
  if (page.me.keys === "off") {
    put(place, h("h2", {}, "Keys"), notice("warn", "Keys are off: whoever reaches this machine's own address may do everything. Start the service without --keys off to ask for keys."));
    return;
  }
  if (!page.allows("admin")) {
    put(place, h("h2", {}, "Keys"), notice("", "Your key may not look after keys: it lacks the scope “admin”."));
    return;
  }
  const { items } = await api.keys();

  function row(key) {
    const [tone, words] = stateOf(key);
    return h(
      "li",
      { class: "panel stack" },
      h("div", { class: "row" }, h("h3", {}, key.name), h("span", { class: `state ${tone}` }, words), key.key_id === page.me.key_id && h("span", { class: "tag" }, "this tab's key")),
      h("p", { class: "edge" }, `fs_${key.key_id}_… · made ${moment(key.created_at)} · ${key.collections ? key.collections.join(", ") : "all collections"}${key.requests_per_minute ? ` · ${key.requests_per_minute} requests a minute` : ""}`),
      h("div", { class: "tags" }, key.scopes.map((scope) => h("span", { class: "tag" }, scope))),
      !key.revoked_at && h(
        "div",
        { class: "row" },
        button("Change for a new one", () => rotate(key), { kind: "small", icon: "refresh", "aria-label": `Change ${key.name} for a new key` }),
        button("Revoke", () => revoke(key), { kind: "small danger", "aria-label": `Revoke ${key.name}` }),
      ),
    );
  }

  async function rotate(key) {
    const made = await confirm(`Change ${key.name} for a new key?`, {
      body: h("p", {}, "The old key stops working at once. The new one may do the same."),
      verb: "Make the new key",
      kind: "primary",
      act: () => api.rotateKey(key.key_id),
    });
    if (made === null) return;
    await showOnce(made.text, `New key for ${key.name}`);
    if (key.key_id === page.me.key_id) page.forgetKey();
    else await keys(place, page);
  }

  async function revoke(key) {
    const done = await confirm(`Revoke ${key.name}?`, {
      body: h("p", {}, "Whoever uses this key is shut out within a second. A revoked key cannot be brought back."),
      verb: "Revoke key",
      act: () => api.revokeKey(key.key_id),
    });
    if (done === null) return;
    toast(`${key.name} was revoked.`);
    if (key.key_id === page.me.key_id) page.forgetKey();
    else await keys(place, page);
  }

  put(
    place,
    h("div", { class: "row" }, h("h2", {}, "Keys")),
    maker(place, page),
    items.length ? h("ul", { class: "stack", "aria-label": "Keys" }, items.map(row)) : nothing("key", "No keys yet", "Programs and people each need a key of their own."),
  );
}

function maker(place, page) {
  const name = h("input", { type: "text", autocomplete: "off", required: true });
  const boxes = Object.entries(SCOPES).map(([scope, words]) => ({
    scope,
    words,
    input: h("input", { type: "checkbox", checked: ["read", "verify", "identify"].includes(scope) }),
  }));
  const limited = h("input", { type: "text", autocomplete: "off", placeholder: "all" });
  const until = h("input", { type: "date" });
  const trouble = h("div", {});
  const make = async (event) => {
    event.preventDefault();
    const names = limited.value.split(",").map((one) => one.trim()).filter(Boolean);
    try {
      const made = await api.addKey({
        name: name.value.trim(),
        scopes: boxes.filter((one) => one.input.checked).map((one) => one.scope),
        collections: names.length ? names : null,
        expires_at: until.value ? `${until.value}T23:59:59Z` : null,
      });
      await showOnce(made.text, `Key for ${made.key?.name ?? name.value}`);
      await keys(place, page);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      put(trouble, failure(error));
    }
  };
  return h(
    "details",
    { class: "panel" },
    h("summary", {}, h("strong", {}, "Make a key")),
    h(
      "form",
      { class: "stack", on: { submit: make }, novalidate: true },
      field("What it is for", name),
      h("fieldset", { class: "stack" }, h("legend", {}, "It may"), h("div", { class: "scopes" }, boxes.map((one) => h(
        "label",
        { class: "check" },
        one.input,
        h("span", {}, one.words, " ", h("span", { class: "edge" }, one.scope)),
      )))),
      h("div", { class: "enroll-options" }, field("Only in these collections, separated by commas", limited), field("Until (empty: for good)", until)),
      trouble,
      h("div", { class: "row" }, h("button", { type: "submit", class: "button primary" }, "Make key")),
    ),
  );
}

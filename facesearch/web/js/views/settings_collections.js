/**
 * Collections: how large each is, making one, removing one with everybody in it.
 */

import { Problem, api } from "../api.js";
import { confirm } from "../dialog.js";
import { button, failure, field, h, nothing, put, toast } from "../dom.js";
import { count } from "../words.js";

export async function collections(place, page) {
  await page.reloadCollections();
  const may = page.allows("admin");

  function row(one) {
    const isOpen = one.name === page.collection;
    return h(
      "li",
      { class: "panel row" },
      h(
        "div",
        { class: "stack" },
        h("h3", {}, one.name),
        h("p", { class: "edge" }, one.n_identities === undefined ? "" : `${count(one.n_identities)} people · ${count(one.n_templates)} faces · revision ${one.revision}`),
      ),
      h(
        "div",
        { class: "row" },
        isOpen ? h("span", { class: "state good" }, "Open") : button("Open", async () => {
          page.choose(one.name);
          toast(`“${one.name}” is open.`);
          await collections(place, page);
        }, { kind: "small", "aria-label": `Open ${one.name}` }),
        may && button("Remove", () => remove(one), { kind: "small danger", icon: "trash", "aria-label": `Remove ${one.name}` }),
      ),
    );
  }

  async function remove(one) {
    const done = await confirm(`Remove “${one.name}”?`, {
      body: h("p", {}, `Everybody in it goes: ${count(one.n_identities)} people with ${count(one.n_templates)} faces. This cannot be undone.`),
      verb: "Remove collection",
      act: () => api.removeCollection(one.name),
    });
    if (done !== null) {
      toast(`“${one.name}” was removed.`);
      await collections(place, page);
    }
  }

  const name = h("input", { type: "text", autocomplete: "off", required: true });
  const trouble = h("div", {});
  const make = async (event) => {
    event.preventDefault();
    try {
      const made = await api.addCollection(name.value.trim());
      page.choose(made.name);
      toast(`“${made.name}” was made and is open.`);
      await collections(place, page);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      put(trouble, failure(error));
    }
  };
  put(
    place,
    h("h2", {}, "Collections"),
    h("p", { class: "hint" }, "A collection is a gallery of its own: nobody in one is found from another."),
    page.collections.length ? h("ul", { class: "stack" }, page.collections.map(row)) : nothing("folder", "No collection yet", "The first one comes to be when somebody is enrolled, or here."),
    may && h(
      "form",
      { class: "panel stack", on: { submit: make }, novalidate: true },
      h("h3", {}, "Make a collection"),
      field("Name", name),
      trouble,
      h("div", { class: "row" }, h("button", { type: "submit", class: "button primary" }, "Make collection")),
    ),
  );
}

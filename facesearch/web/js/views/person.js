/**
 * One person: the faces enrolled, name and tags, merging with another entry, removal.
 */

import { Problem, api } from "../api.js";
import { confirm, open } from "../dialog.js";
import { announce, button, failure, field, h, icon, notice, put, toast, waiting } from "../dom.js";
import { forgetPictures, thumbnail } from "../thumbnails.js";
import { day, moment, plural } from "../words.js";

async function allFaces(collection, id) {
  const found = [];
  let cursor = null;
  do {
    const answer = await api.faces(collection, id, { cursor, limit: 500 });
    found.push(...answer.items);
    cursor = answer.next_cursor;
  } while (cursor);
  return found;
}

const tagsOf = (text) => text.split(",").map((tag) => tag.trim()).filter(Boolean);

export async function person(place, page, [id]) {
  const { collection } = page;
  let current;
  const load = async () => {
    current = await api.person(collection, id);
    show(await allFaces(collection, id));
  };

  function faceCard(face, isLast) {
    const usable = face.quality?.score;
    return h(
      "li",
      { class: "face-card" },
      thumbnail(collection, id, face.picture ? face.template_id : null, current),
      h(
        "div",
        {},
        h("span", { class: "edge" }, `№ ${face.template_id} · ${day(face.enrolled_at)}`),
        usable !== undefined && h("span", { class: "hint" }, usable >= 0.5 ? "Good photograph" : "Weak photograph"),
        page.allows("enroll") && button("Remove", () => removeFace(face, isLast), { kind: "small danger", "aria-label": `Remove face ${face.template_id}` }),
      ),
    );
  }

  async function removeFace(face, isLast) {
    if (isLast) {
      removePerson("This is the only face. Without it, nothing of this person can be found.");
      return;
    }
    const done = await confirm("Remove this face?", {
      body: h("p", {}, `${current.label} will be found by the other faces only.`),
      verb: "Remove face",
      act: () => api.removeFace(collection, id, face.template_id),
    });
    if (done !== null) {
      toast("The face was removed.");
      await load();
    }
  }

  async function removePerson(why = null) {
    const erase = h("input", { type: "checkbox" });
    const done = await confirm(`Remove ${current.label}?`, {
      body: h(
        "div",
        { class: "stack" },
        why && h("p", {}, why),
        h("p", {}, "The name, the tags, the vectors and any kept pictures are deleted. This cannot be undone."),
        h("label", { class: "check" }, erase, h("span", {}, "Erase every trace: also rewrite the search index on disk and forget appearances in indexed videos. Slower; for requests to be forgotten.")),
      ),
      verb: "Remove person",
      act: () => api.remove(collection, id, erase.checked),
    });
    if (done !== null) {
      forgetPictures();
      toast(`${current.label} was removed.`);
      window.location.hash = "#/people";
    }
  }

  async function merge() {
    const into = await open(`Merge ${current.label} into…`, (close) => mergeChooser(close), { kind: "wide" });
    if (into !== null) {
      toast(`${current.label} is now part of ${into.label}.`);
      window.location.hash = `#/people/${into.identity_id}`;
    }
  }

  function mergeChooser(close) {
    const results = h("div", { class: "merge-list", role: "radiogroup", "aria-label": "The person who stays" });
    const trouble = h("div", {});
    let chosen = null;
    let asked = 0;
    const doIt = button("Merge", async () => {
      doIt.disabled = true;
      try {
        await api.merge(collection, id, chosen.identity_id);
        forgetPictures();
        close(chosen);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        put(trouble, failure(error));
        doIt.disabled = false;
      }
    }, { kind: "primary", icon: "merge", disabled: true });
    const find = async (text) => {
      asked += 1;
      const mine = asked;
      try {
        const found = (await api.people(collection, { contains: text, limit: 20 })).items.filter((one) => String(one.identity_id) !== String(id));
        if (mine !== asked) return;
        put(results, found.length ? found.map((one) => h(
          "label",
          { class: "merge-choice" },
          h("input", { type: "radio", name: "into", checked: one.identity_id === chosen?.identity_id, on: { change: () => {
            chosen = one;
            doIt.disabled = false;
          } } }),
          thumbnail(collection, one.identity_id, one.thumbnail_template_id, { ...one, kind: "tiny" }),
          h("span", {}, one.label, h("br"), h("span", { class: "edge" }, plural(one.n_faces, "face"))),
        )) : h("p", { class: "hint" }, "Nobody else is called that."));
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        put(results, failure(error));
      }
    };
    find("");
    return h(
      "div",
      { class: "stack" },
      h("p", {}, `All faces of ${current.label} become the other person's, and the name ${current.label} goes. The tags of both are kept.`),
      field("Search by name", h("input", { type: "search", autocomplete: "off", on: { input: (event) => find(event.target.value.trim()) } })),
      results,
      trouble,
      h("div", { class: "row end" }, button("Cancel", () => close(null)), doIt),
    );
  }

  function details() {
    const label = h("input", { type: "text", value: current.label, autocomplete: "off", required: true });
    const tags = h("input", { type: "text", value: current.tags.join(", "), autocomplete: "off" });
    const trouble = h("div", {});
    const save = async (event) => {
      event.preventDefault();
      try {
        current = await api.change(collection, id, { label: label.value, tags: tagsOf(tags.value) }, current.etag);
        toast("Saved.");
        await load();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        const isStale = error.code === "precondition_failed";
        put(trouble, isStale
          ? notice("warn", "Somebody else changed this person in the meantime.", button("Load their version", load, { kind: "small" }))
          : failure(error));
      }
    };
    return h(
      "form",
      { class: "panel stack", on: { submit: save }, novalidate: true, "aria-label": "Name and tags" },
      field("Name", label),
      field("Tags, separated by commas", tags),
      trouble,
      h("div", { class: "row" }, h("button", { type: "submit", class: "button primary" }, "Save")),
    );
  }

  function show(faces) {
    const may = page.allows("enroll");
    put(
      place,
      h("p", { class: "way-back" }, h("a", { href: "#/people" }, icon("back"), "All people")),
      h(
        "div",
        { class: "head" },
        h(
          "div",
          {},
          h("h1", { class: "title-name" }, current.label),
          h("p", { class: "edge" }, `${plural(faces.length, "face")} · enrolled ${moment(current.enrolled_at)} · № ${current.identity_id}`),
        ),
        may && h("a", { class: "button", href: `#/enroll/${encodeURIComponent(current.label)}` }, "Add photographs"),
      ),
      h(
        "div",
        { class: "split" },
        h(
          "section",
          { class: "stack", "aria-label": "Faces" },
          h("ul", { class: "faces" }, faces.map((face) => faceCard(face, faces.length === 1))),
          faces.every((face) => !face.picture) && h("p", { class: "hint" }, "No pictures are kept here: only vectors, from which no face can be shown. The operator can keep crops (setting keep)."),
        ),
        may && h(
          "div",
          { class: "stack" },
          details(),
          h(
            "div",
            { class: "panel stack" },
            h("h2", {}, "Twice in the list?"),
            h("p", { class: "hint" }, "Merge this entry into another one of the same person."),
            h("div", { class: "row" }, button("Merge into…", merge, { icon: "merge" })),
          ),
          h(
            "div",
            { class: "panel stack" },
            h("h2", {}, "Remove"),
            h("p", { class: "hint" }, "Deletes everything that is known of this person."),
            h("div", { class: "row" }, button("Remove person", () => removePerson(), { icon: "trash", kind: "danger" })),
          ),
        ),
      ),
    );
    announce(`${current.label}, ${plural(faces.length, "face")}`);
  }

  put(place, waiting("Looking this person up…"));
  try {
    await load();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const isGone = error.status === 404;
    put(place, isGone
      ? notice("", "This person is not in the collection (any more).", h("a", { href: "#/people" }, "All people"))
      : failure(error, () => person(place, page, [id])));
  }
}

/**
 * Who is this? Every face of a photograph, or of a region drawn on it, searched in the collection.
 */

import { Problem, api } from "../api.js";
import { alignedCrop } from "../align.js";
import { confirm } from "../dialog.js";
import { announce, button, failure, field, h, icon, notice, nothing, put, toast, waiting } from "../dom.js";
import { dropZone, onDrop } from "../drop.js";
import { Photograph } from "../photographs.js";
import { choice } from "../rates.js";
import { RegionDrawer } from "../region.js";
import { gauge } from "../scale.js";
import { stage } from "../stage.js";
import { thumbnail } from "../thumbnails.js";
import { oneIn, plural, score as told } from "../words.js";

const FPIRS = [1e-1, 1e-2, 1e-3];

const WHY = {
  empty_gallery: "Nobody is enrolled in this collection.",
  rejected: "The people it resembled were said not to be this face.",
  below_threshold: "Nobody enrolled is alike enough.",
};

export async function identify(place, page) {
  const rates = FPIRS.map((fpir) => ({ text: oneIn(fpir), value: { fpir } }));
  const asked = { rate: rates[1].value, k: 5, tag: "" };
  let photograph = null;
  let answer = null;
  let region = null;
  let chosen = 0;
  let running = null;

  const left = h("div", { class: "stack" });
  const right = h("div", { class: "answers" });
  onDrop(left, take);

  async function take([{ file }]) {
    clear();
    put(left, waiting("Reading the photograph…"));
    try {
      photograph = await Photograph.read(file);
    } catch (error) {
      empty(notice("bad", error.message));
      return;
    }
    await search();
  }

  function clear() {
    running?.abort();
    photograph?.release();
    photograph = null;
    answer = null;
    region = null;
    chosen = 0;
  }

  function empty(trouble = null) {
    clear();
    put(left, trouble, dropZone("Drop a photograph here", take, { name: "Photograph to search with" }));
    put(right, nothing("identify", "Nobody asked for yet", "The people it resembles most will be listed here, and whether one of them is alike enough."));
  }

  const regionText = () => region?.map((value) => value.toFixed(1)).join(",");

  async function search() {
    if (!photograph) return;
    running?.abort();
    running = new AbortController();
    showPhotograph();
    put(right, waiting(`Searching “${page.collection}”…`));
    try {
      const tag = asked.tag.split(",").map((one) => one.trim()).filter(Boolean);
      answer = await api.identify(page.collection, { photo: photograph.file, roi: regionText(), k: asked.k, tag, ...asked.rate }, running.signal);
      chosen = 0;
      showPhotograph();
      showAnswers();
      announce(summary());
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      answer = null;
      if (error.code === "no_face") showNobody();
      else put(right, failure(error, search));
    }
  }

  function showNobody() {
    const where = region ? "No face was found in this region." : "No face was found in this photograph. Try one where faces are larger.";
    put(right, notice("warn", where));
    announce(where);
  }

  const summary = () => {
    const known = answer.faces.filter((face) => face.is_match).length;
    return `${plural(answer.faces.length, "face")} found, ${known} recognised, ${answer.faces.length - known} unknown.`;
  };

  function showPhotograph() {
    const faces = (answer?.faces ?? []).map((face) => ({ box: face.box, landmarks: face.landmarks, name: face.label ?? "unknown", isWeak: !face.is_match }));
    const shown = stage(photograph, faces, { chosen: answer ? chosen : null, alt: "The photograph searched with", onchoose: (index) => {
      chosen = index;
      showPhotograph();
      showAnswers();
      left.querySelectorAll("button.box")[index]?.focus();
      document.getElementById(`answer-${index}`)?.scrollIntoView({ block: "nearest" });
    } });
    const drawer = new RegionDrawer(shown, photograph, region, (drawn) => {
      region = drawn;
      search();
    });
    put(
      left,
      shown,
      h(
        "div",
        { class: "row" },
        drawer.button,
        region && button("Whole photograph", () => {
          region = null;
          search();
        }, { icon: "photo" }),
        button("Another photograph", () => {
          empty();
          left.querySelector("button").focus();
        }),
      ),
      drawer.hint,
    );
  }

  function showAnswers() {
    put(right, h("p", { class: "edge" }, summary()), answer.faces.map(faceAnswer));
  }

  function faceAnswer(face, index) {
    return h(
      "article",
      { class: `answer${index === chosen && answer.faces.length > 1 ? " is-chosen" : ""}`, id: `answer-${index}`, "aria-labelledby": `answer-name-${index}` },
      h(
        "div",
        { class: "answer-head" },
        alignedCrop(photograph, face),
        h(
          "div",
          {},
          h("h2", { id: `answer-name-${index}` }, face.is_match ? face.label : "Unknown"),
          h("p", { class: `state ${face.is_match ? "good" : "plain"}` }, icon(face.is_match ? "check" : "question"), face.is_match ? "Recognised" : WHY[face.reason] ?? "Nobody enrolled is alike enough."),
          h("p", { class: "edge" }, `threshold ${told(face.threshold)} · ${plural(face.n_templates, "face")} searched`),
        ),
      ),
      candidates(face, index),
    );
  }

  function candidates(face, index) {
    const rows = face.candidates.map((one) => candidate(face, index, one));
    if (rows.length === 0) return null;
    const [first, rest] = [rows.slice(0, 1), rows.slice(1)];
    return h(
      "div",
      {},
      h("ol", { "aria-label": "Most alike" }, first),
      rest.length ? h("details", { open: answer.faces.length === 1 }, h("summary", {}, `${rest.length} less alike`), h("ol", { "aria-label": "Less alike", start: "2" }, rest)) : null,
    );
  }

  function candidate(face, index, one) {
    const threshold = one.floor !== null && one.floor !== undefined ? Math.max(face.threshold, one.floor) : face.threshold;
    return h(
      "li",
      { class: "candidate" },
      thumbnail(page.collection, one.identity_id, one.template_id, { label: one.label, kind: "tiny" }),
      h(
        "div",
        {},
        h("a", { href: `#/people/${one.identity_id}` }, one.label),
        h("div", { class: "candidate-score" }, gauge(one.score, threshold), h("span", { class: "edge" }, told(one.score))),
        h("span", { class: "visually-hidden" }, one.score >= threshold ? "above the threshold" : "below the threshold"),
      ),
      page.allows("enroll") && (one.rank === 1 || one.score >= threshold) ? button("Not this person", () => reject(index, one), { kind: "small", "aria-label": `Face ${index + 1} is not ${one.label}` }) : null,
    );
  }

  async function reject(index, one) {
    const stricter = h("input", { type: "checkbox" });
    const kept = await confirm(`Not ${one.label}?`, {
      body: h(
        "div",
        { class: "stack" },
        h("p", {}, `This face will not be taken for ${one.label} again. The vector of this face is kept for that, not the photograph.`),
        h("label", { class: "check" }, stricter, h("span", {}, `Be stricter from now on: nobody is ${one.label} without being more alike than this face.`)),
      ),
      verb: "Not this person",
      kind: "primary",
      // The same region and number name the same face again: faces come by falling score of the detector.
      act: () => api.feedback(page.collection, { photo: photograph.file, roi: regionText(), face: index, identity_id: one.identity_id, kind: "reject", raise_threshold: stricter.checked || null }),
    });
    if (kept === null) return;
    await search();
    const undo = async () => {
      await api.takeBack(page.collection, kept.feedback_id);
      toast("Taken back.");
      await search();
    };
    right.prepend(notice("", `Noted: this face is not ${one.label}.`, button("Undo", undo, { kind: "small" })));
    announce(`Noted: this face is not ${one.label}.`);
  }

  put(
    place,
    h("div", { class: "head" }, h("div", {}, h("h1", {}, "Identify"), h("p", {}, "Who is on this photograph? Every face is searched; it is not kept."))),
    h(
      "div",
      { class: "identify" },
      h(
        "div",
        { class: "stack" },
        left,
        h(
          "div",
          { class: "panel stack" },
          choice("How rarely a stranger may be taken for somebody", rates, asked.rate, (value) => {
            asked.rate = value;
            search();
          }),
          h(
            "div",
            { class: "enroll-options" },
            field("Candidates a face", h("select", { on: { change: (event) => {
              asked.k = Number(event.target.value);
              search();
            } } }, [1, 3, 5, 10, 20].map((k) => h("option", { value: String(k), selected: k === asked.k }, String(k))))),
            field("Only people tagged", h("input", { type: "text", autocomplete: "off", placeholder: "any", on: { change: (event) => {
              asked.tag = event.target.value;
              search();
            } } })),
          ),
        ),
      ),
      h("section", { "aria-label": "Who it may be" }, right),
    ),
  );
  empty();
  return clear;
}

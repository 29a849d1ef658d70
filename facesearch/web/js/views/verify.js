/**
 * Are these two the same person? Two photographs, their aligned crops, and the score on its scale.
 */

import { Problem, api } from "../api.js";
import { alignedCrop } from "../align.js";
import { announce, button, failure, h, icon, notice, put, waiting } from "../dom.js";
import { dropZone, onDrop } from "../drop.js";
import { Photograph } from "../photographs.js";
import { choice, fmrChoices } from "../rates.js";
import { scale } from "../scale.js";
import { stage } from "../stage.js";
import { oneIn, plural, quality, reason } from "../words.js";

class Slot {
  constructor(name, onchange) {
    this.name = name;
    this.onchange = onchange;
    this.photograph = null;
    this.faces = [];
    this.chosen = 0;
    this.turn = 0;
    this.element = h("section", { class: "slot", "aria-label": name });
    onDrop(this.element, (files) => this.take(files));
    this.empty();
  }

  get isReady() {
    return this.photograph !== null && this.faces.length > 0;
  }

  get face() {
    return this.faces[this.chosen];
  }

  empty(trouble = null) {
    this.drop();
    put(this.element, h("h2", {}, this.name), trouble, dropZone("Drop a photograph here", (files) => this.take(files), { name: this.name }));
  }

  drop() {
    this.photograph?.release();
    this.photograph = null;
    this.faces = [];
    this.chosen = 0;
    this.turn += 1;
  }

  async take([{ file }]) {
    this.drop();
    const mine = this.turn;
    put(this.element, h("h2", {}, this.name), waiting("Looking for faces…"));
    this.onchange();
    try {
      const photograph = await Photograph.read(file);
      const found = await api.detect({ photo: file }).catch((error) => {
        photograph.release();
        throw error;
      });
      if (mine !== this.turn) {
        photograph.release();
        return;
      }
      this.photograph = photograph;
      this.faces = found.faces;
      this.show();
    } catch (error) {
      if (mine === this.turn) this.empty(notice("bad", error.message));
    }
    this.onchange();
  }

  show() {
    const several = this.faces.length > 1;
    const choose = several ? (index) => {
      this.chosen = index;
      this.show();
      this.element.querySelectorAll("button.box")[index].focus();
      this.onchange();
    } : null;
    const told = this.faces.length ? quality(this.face.quality) : null;
    put(
      this.element,
      h("div", { class: "row" }, h("h2", {}, this.name), button("Another photograph", () => {
        this.empty();
        this.onchange();
        this.element.querySelector("button").focus();
      }, { kind: "small" })),
      stage(this.photograph, this.faces, { chosen: this.chosen, onchoose: choose, alt: this.name }),
      this.faces.length === 0 && notice("warn", "No face was found in this photograph. Try one where the face is larger and turned to the camera."),
      several && h("p", { class: "hint" }, `${plural(this.faces.length, "face")} found: click the one you mean.`),
      told && told.tone !== "good" && h("ul", { class: "reasons" }, (this.face.quality?.reasons ?? ["weak_detection"]).map((one) => h("li", {}, icon("warning"), reason(one)))),
    );
  }
}

function sentence(answer) {
  const point = answer.operating_point ? `the saved point “${answer.operating_point}”` : `false matches of ${oneIn(answer.fmr)}`;
  if (answer.is_match) return `Taken for the same person: the score reaches the threshold for ${point}.`;
  return `Not taken for the same person: the score stays below the threshold for ${point}.`;
}

export async function verify(place, page) {
  const { points, saved = [], score_histograms: shares = null } = await page.operatingPoints();
  const choices = fmrChoices(points, saved);
  let chosen = choices.find((one) => one.value.fmr === 1e-4)?.value ?? choices[0]?.value ?? {};
  let running = null;
  const result = h("div", {});
  const slots = [new Slot("First photograph", compare), new Slot("Second photograph", compare)];

  async function compare() {
    running?.abort();
    if (!slots.every((slot) => slot.isReady)) {
      put(result);
      return;
    }
    running = new AbortController();
    put(result, h("div", { class: "panel" }, waiting("Comparing…")));
    const [a, b] = slots;
    try {
      const fields = { photo_a: a.photograph.file, photo_b: b.photograph.file, face_a: a.chosen, face_b: b.chosen, ...chosen };
      show(await api.verify(fields, running.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      put(result, failure(error, compare));
    }
  }

  function show(answer) {
    const verdict = answer.is_match ? "Match" : "No match";
    put(
      result,
      h(
        "section",
        { class: "panel stack", "aria-label": "Result" },
        h(
          "div",
          { class: `verdict${answer.is_match ? " is-match" : ""}` },
          h("div", { class: "crops", role: "img", "aria-label": "Both faces as the network sees them" }, slots.map((slot) => alignedCrop(slot.photograph, slot.face))),
          h("div", { class: "stack" }, h("h2", {}, icon(answer.is_match ? "check" : "cross"), verdict), h("p", {}, sentence(answer))),
        ),
        scale(answer.score, answer.threshold, answer.fmr, shares),
        answer.fmr_supported === false && notice("warn", "So rare a false match was not measured: the tightest measured threshold was used."),
      ),
    );
    announce(`${verdict}. ${sentence(answer)}`);
  }

  put(
    place,
    h("div", { class: "head" }, h("div", {}, h("h1", {}, "Verify"), h("p", {}, "Do two photographs show the same person? Neither is kept."))),
    h("div", { class: "pair" }, slots.map((slot) => slot.element)),
    h("div", { class: "stack" }, choices.length > 0 && choice("How rare a false match has to be", choices, chosen, (value) => {
      chosen = value;
      compare();
    }), result),
  );
  return () => {
    running?.abort();
    slots.forEach((slot) => slot.drop());
  };
}

/**
 * One photograph on its way into the collection: looked at, named, enrolled, or refused with the reason and a way on.
 */

import { api } from "./api.js";
import { button, field, h, icon, put } from "./dom.js";
import { Photograph } from "./photographs.js";
import { stage } from "./stage.js";
import { plural, problem, quality, reason } from "./words.js";

/** Refusals that somebody who looks at the photograph may overrule: what to ask, and the field that says yes. */
const OVERRULED = {
  duplicate_person: ["Enroll anyway", { allow_duplicate: true }],
  identity_mismatch: ["It is the same person", { allow_mismatch: true }],
  low_quality_face: ["Enroll anyway", { allow_low_quality: true }],
};

/** How the library's messages begin: with the photograph they are about, which is seen here. */
const DIGEST = /^image [0-9a-f]{12}: /;

const STATES = {
  waiting: ["plain", null, "Waiting"],
  looking: ["plain", null, "Looking for faces…"],
  ready: ["plain", null, "Ready"],
  enrolling: ["plain", null, "Enrolling…"],
  done: ["good", "check", "Enrolled"],
  asking: ["warn", "warning", "Needs your word"],
  failed: ["bad", "cross", "Not enrolled"],
};

export class EnrollItem {
  constructor(file, { label, page, onchange, onremove }) {
    this.file = file;
    this.page = page;
    this.onchange = onchange;
    this.onremove = onremove;
    this.state = "waiting";
    this.photograph = null;
    this.faces = [];
    this.chosen = null;
    this.message = null;
    this.refusal = null;
    this.result = null;
    this.input = h("input", { type: "text", autocomplete: "off", value: label, on: { input: () => this.onchange() } });
    this.element = h("li", { class: "queue-item" });
    this.show();
  }

  get label() {
    return this.input.value.trim();
  }

  /** Whether it can still be named. */
  get isOpen() {
    return ["waiting", "looking", "ready", "asking", "failed"].includes(this.state);
  }

  /** Whether everything is known that enrolling needs. */
  get isReady() {
    return this.state === "ready" && this.chosen !== null && this.label !== "";
  }

  setLabel(label) {
    this.input.value = label;
  }

  leave() {
    this.photograph?.release();
    this.photograph = null;
    this.element.remove();
  }

  become(state, message = null) {
    this.state = state;
    this.message = message;
    this.show();
    this.onchange();
  }

  /** Finds the faces. */
  async look() {
    this.become("looking");
    try {
      this.photograph ??= await Photograph.read(this.file);
      this.faces = (await api.detect({ photo: this.file })).faces;
    } catch (error) {
      this.refusal = null;
      this.become("failed", error.message);
      return;
    }
    if (this.faces.length === 0) {
      this.become("failed", problem("no_face"));
      return;
    }
    this.chosen = this.faces.length === 1 ? 0 : null;
    this.become("ready");
  }

  /** Enrolls the chosen face. */
  async enroll(tags, overruled = {}) {
    this.tags = tags;
    this.become("enrolling");
    try {
      const answer = await api.enroll(this.page.collection, { photo: this.file, label: this.label, tag: tags, face: this.chosen, ...overruled });
      this.result = answer;
      this.refusal = null;
      this.become("done");
    } catch (error) {
      this.refuse(error.code, error.message, overruled);
    }
  }

  refuse(code, message, overruled) {
    const asked = OVERRULED[code];
    const isNew = asked && !Object.keys(asked[1]).every((name) => name in overruled);
    this.refusal = isNew ? { words: asked[0], fields: { ...overruled, ...asked[1] } } : null;
    this.become(isNew ? "asking" : "failed", message.replace(DIGEST, ""));
  }

  details() {
    const several = this.faces.length > 1;
    const face = this.chosen === null ? null : this.faces[this.chosen];
    const told = face ? quality(face.quality) : null;
    return [
      several && this.isOpen && h("p", { class: `state ${this.chosen === null ? "warn" : "plain"}` }, this.chosen === null
        ? `${plural(this.faces.length, "face")}: pick the one you mean on the photograph.`
        : `Face ${this.chosen + 1} of ${this.faces.length} is meant.`),
      told && h("p", { class: `state ${told.tone}` }, icon(told.tone === "good" ? "check" : "warning"), told.text),
      face?.quality?.reasons.length ? h("ul", { class: "reasons" }, face.quality.reasons.map((one) => h("li", {}, reason(one)))) : null,
    ];
  }

  actions() {
    const made = [];
    if (this.state === "asking" && this.refusal) {
      const { words, fields } = this.refusal;
      made.push(button(words, () => this.enroll(this.tags, fields), { kind: "small primary" }));
    }
    if (this.state === "failed" || this.state === "asking") {
      made.push(button("Try again", () => (this.faces.length ? this.enroll(this.tags ?? []) : this.look()), { icon: "refresh", kind: "small" }));
    }
    if (this.state === "done") {
      made.push(h("a", { class: "button small", href: `#/people/${this.result.identity.identity_id}` }, `Open ${this.result.identity.label}`));
    }
    return made.length ? h("div", { class: "row" }, made) : null;
  }

  show() {
    const [tone, sign, words] = this.state === "ready" && this.chosen === null ? ["warn", "warning", "Choose a face"] : STATES[this.state];
    const choose = this.faces.length > 1 && this.isOpen ? (index) => {
      this.chosen = index;
      this.become("ready");
      this.element.querySelectorAll("button.box")[index].focus();
    } : null;
    this.element.className = `queue-item is-${this.state}`;
    const hadFocus = document.activeElement === this.input;
    put(
      this.element,
      this.photograph
        ? stage(this.photograph, this.faces, { chosen: this.chosen, onchoose: choose, kind: "small", alt: this.file.name })
        : h("div", { class: "picture" }, icon("photo")),
      h(
        "div",
        { class: "queue-body" },
        h("p", { class: "edge file-name" }, this.file.name),
        this.isOpen && this.faces.length ? field("Name", this.input) : this.label && h("h2", {}, this.label),
        this.details(),
        h("p", { class: `state ${tone}` }, sign ? icon(sign) : null, words),
        this.message && h("p", { class: "hint" }, this.message),
        this.actions(),
      ),
      this.state === "enrolling" ? null : button("", () => {
        this.leave();
        this.onremove();
      }, { icon: "cross", kind: "icon-button small", "aria-label": `Take ${this.file.name} off the list` }),
    );
    if (hadFocus) this.input.focus();
  }
}

/**
 * Choosing how rare a false match has to be: the points of the embedder, and those that were saved under a name.
 */

import { h } from "./dom.js";
import { oneIn } from "./words.js";

let number = 0;

/**
 * Returns a group of radio buttons.
 *
 * `choices` are `{text, value}`; `onchange(value)` is called with the chosen one's value.
 */
export function choice(legend, choices, chosen, onchange) {
  number += 1;
  const name = `choice-${number}`;
  return h(
    "fieldset",
    { class: "stack" },
    h("legend", {}, legend),
    h("div", { class: "rate" }, choices.map((one) => h(
      "label",
      {},
      h("input", { type: "radio", name, checked: one.value === chosen, on: { change: () => onchange(one.value) } }),
      h("span", {}, one.text),
    ))),
  );
}

/** Returns the choices of a 1:1 decision: measured rates, then saved points. */
export function fmrChoices(points, saved) {
  const measured = points.map((point) => ({ text: oneIn(point.fmr), value: { fmr: point.fmr } }));
  const named = saved.map((point) => ({ text: point.name, value: { operating_point: point.name } }));
  return [...measured, ...named];
}

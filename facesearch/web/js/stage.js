/**
 * A photograph with its faces drawn as found. Faces are buttons where they can be chosen, so that a keyboard reaches them.
 */

import { h } from "./dom.js";

const percent = (part, whole) => `${Math.max(0, Math.min(100, (100 * part) / whole))}%`;

/** Returns the place of a box as style properties, in per cent of the photograph. */
export function placeOf([x1, y1, x2, y2], photograph) {
  const [left, top] = [Math.max(0, x1), Math.max(0, y1)];
  return {
    left: percent(left, photograph.width),
    top: percent(top, photograph.height),
    width: percent(Math.min(x2, photograph.width) - left, photograph.width),
    height: percent(Math.min(y2, photograph.height) - top, photograph.height),
  };
}

/**
 * Returns a photograph with boxes.
 *
 * `faces` are `{box, landmarks?, name?, isWeak?}`; the chosen one's landmarks are dots; `chosen` is an index or null; `onchoose(index)` makes the faces buttons.
 */
export function stage(photograph, faces, { chosen = null, onchoose = null, kind = "", alt = "The photograph" } = {}) {
  const boxes = faces.map((face, index) => {
    const isChosen = index === chosen;
    const attributes = {
      class: `box${isChosen ? " is-chosen" : ""}${face.isWeak ? " is-weak" : ""}`,
      place: placeOf(face.box, photograph),
    };
    const label = face.name ? h("span", { class: "box-name", "aria-hidden": "true" }, face.name) : null;
    if (!onchoose) return h("div", attributes, label);
    return h("button", {
      ...attributes,
      type: "button",
      "aria-pressed": String(isChosen),
      "aria-label": `Face ${index + 1} of ${faces.length}${face.name ? `: ${face.name}` : ""}`,
      on: { click: () => onchoose(index) },
    }, label);
  });
  const landmarks = (faces[chosen]?.landmarks ?? []).map(([x, y]) => h("span", {
    class: "landmark",
    place: { left: percent(x, photograph.width), top: percent(y, photograph.height) },
  }));
  return h("div", { class: `stage ${kind}`.trim() }, h("img", { src: photograph.url, alt }), boxes, landmarks);
}

/**
 * Builds elements out of text that nobody has to trust: children are text nodes or elements, never markup.
 *
 * It knows nothing of faces and calls no server.
 */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "place") {
      // Through the object model, not as an attribute: the page's security policy allows no inline style.
      for (const [property, amount] of Object.entries(value)) element.style.setProperty(property, amount);
    } else if (name === "value" || name === "checked" || name === "srcObject") {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Returns an HTML element; `on` are listeners by event, `place` style properties, other attributes are themselves. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Returns an SVG element. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Returns an icon of the sprite; icons are decoration, the words beside them (or a label) say what they mean. */
export function icon(name) {
  return s("svg", { "aria-hidden": "true", focusable: "false" }, s("use", { href: `icons/sprite.svg#${name}` }));
}

/** Returns a button; `attributes.icon` names an icon to put before the text. */
export function button(text, onclick, { icon: name, kind = "", ...attributes } = {}) {
  return h("button", { type: "button", class: `button ${kind}`.trim(), on: { click: onclick }, ...attributes }, name && icon(name), text);
}

/** Returns a labelled field around a control. */
export function field(name, control, hint = null) {
  return h("label", { class: "field" }, h("span", {}, name), control, hint && h("span", { class: "hint" }, hint));
}

/** Replaces what an element holds. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Has a screen reader say a sentence. */
export function announce(text) {
  const live = document.getElementById("live");
  live.textContent = "";
  window.setTimeout(() => { live.textContent = text; }, 50);
}

/** Shows a sentence for some seconds, and has it said. */
export function toast(text) {
  const shown = h("div", { class: "toast" }, text);
  document.getElementById("toasts").append(shown);
  announce(text);
  window.setTimeout(() => shown.remove(), 5000);
}

/** Returns the sign that something is under way. */
export function waiting(text) {
  return h("p", { class: "waiting" }, h("span", { class: "spinner", "aria-hidden": "true" }), text);
}

/** Returns a place that says there is nothing yet, and what to do about it. */
export function nothing(name, title, text, ...actions) {
  return h("div", { class: "nothing" }, icon(name), h("h2", {}, title), h("p", {}, text), actions.length ? h("div", { class: "row" }, actions) : null);
}

/** Returns a notice; `kind` is "", "warn" or "bad". */
export function notice(kind, text, ...actions) {
  return h(
    "div",
    { class: `notice ${kind}`.trim(), role: kind === "bad" ? "alert" : null },
    icon(kind ? "warning" : "question"),
    h("div", {}, h("p", {}, text), actions.length ? h("div", { class: "row" }, actions) : null),
  );
}

/** Returns what is shown instead of something that could not be had; `again` tries once more. */
export function failure(error, again = null) {
  return notice("bad", error.message, again && button("Try again", again, { icon: "refresh", kind: "small" }));
}

/** Returns a table; cells are text, elements, or `{number: text}`. */
export function table(caption, columns, rows) {
  const isNumber = (cell) => cell !== null && typeof cell === "object" && "number" in cell;
  const cell = (tag, one) => (isNumber(one) ? h(tag, { class: "number" }, one.number) : h(tag, {}, one));
  return h(
    "div",
    { class: "table-frame", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "visually-hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((one) => cell("th", one)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((one) => cell("td", one))))),
    ),
  );
}

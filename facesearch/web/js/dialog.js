/**
 * Dialogs over the browser's own <dialog>: it traps the focus, closes on Escape and gives the focus back.
 */

import { button, failure, h, put } from "./dom.js";

let number = 0;

/**
 * Opens a dialog and returns a promise of what `close(value)` was given, or null where it was dismissed.
 *
 * `content(close)` returns what it holds below its title.
 */
export function open(title, content, { kind = "" } = {}) {
  return new Promise((resolve) => {
    number += 1;
    const heading = h("h2", { id: `dialog-${number}` }, title);
    const dialog = h("dialog", { class: kind, "aria-labelledby": heading.id });
    let answer = null;
    const close = (value = null) => {
      answer = value;
      dialog.close();
    };
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.append(h("div", { class: "stack" }, heading, content(close)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Asks before something is done, does it, and stays open with the reason where it fails.
 *
 * Returns a promise of what `act` returned, or null where it was not done.
 */
export function confirm(title, { body, act, verb, kind = "danger" }) {
  return open(title, (close) => {
    const trouble = h("div", {});
    const doIt = button(verb, async () => {
      doIt.disabled = true;
      try {
        close((await act()) ?? true);
      } catch (error) {
        put(trouble, failure(error));
        doIt.disabled = false;
      }
    }, { kind });
    return h(
      "div",
      { class: "stack" },
      body,
      trouble,
      h("div", { class: "row end" }, button("Cancel", () => close(null), { autofocus: true }), doIt),
    );
  });
}

/**
 * A place to drop photographs on, with buttons that do the same: pick files, pick a folder, take one.
 */

import { takePhotograph } from "./camera.js";
import { button, h, icon } from "./dom.js";
import { dropped, picked } from "./photographs.js";

/**
 * Returns the place; `onfiles` is called with a list of `{file, folder}`.
 *
 * `several` allows more than one file and folders.
 */
export function dropZone(text, onfiles, { several = false, name = "Photographs" } = {}) {
  const input = (attributes) => h("input", { type: "file", hidden: true, ...attributes, on: { change: (event) => {
    const files = picked(event.target);
    event.target.value = "";
    if (files.length) onfiles(files);
  } } });
  const files = input({ accept: "image/*", multiple: several, "aria-label": `${name}: choose files` });
  const folder = several && input({ webkitdirectory: true, "aria-label": `${name}: choose a folder` });
  const zone = h(
    "div",
    { class: "drop", role: "group", "aria-label": name },
    icon("photo"),
    h("p", {}, text),
    h(
      "div",
      { class: "row" },
      button(several ? "Choose files" : "Choose a file", () => files.click(), { kind: "primary" }),
      several && button("Choose a folder", () => folder.click(), { icon: "folder" }),
      button("Camera", async () => {
        const file = await takePhotograph();
        if (file) onfiles([{ file, folder: null }]);
      }, { icon: "camera" }),
    ),
    files,
    folder,
  );
  onDrop(zone, onfiles);
  return zone;
}

/** Has an element take files that are dropped on it. */
export function onDrop(element, onfiles) {
  let depth = 0;
  const over = (change) => {
    depth = Math.max(0, depth + change);
    element.classList.toggle("is-over", depth > 0);
  };
  element.addEventListener("dragenter", (event) => { event.preventDefault(); over(1); });
  element.addEventListener("dragleave", () => over(-1));
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", async (event) => {
    event.preventDefault();
    over(-depth);
    const files = await dropped(event.dataTransfer);
    if (files.length) onfiles(files);
  });
}

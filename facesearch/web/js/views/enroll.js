/**
 * Enrolling people: photographs in, faces drawn as found, a name each, and what became of every one.
 */

import { api } from "../api.js";
import { announce, button, field, h, put } from "../dom.js";
import { dropZone, onDrop } from "../drop.js";
import { EnrollItem } from "../enroll_item.js";
import { looksLikePhotograph } from "../photographs.js";
import { forgetPictures } from "../thumbnails.js";
import { plural } from "../words.js";

const AT_ONCE = 2;

/** Runs at most `AT_ONCE` pieces of work at a time, in order. */
class Line {
  constructor() {
    this.waiting = [];
    this.running = 0;
  }

  add(work) {
    this.waiting.push(work);
    this.next();
  }

  async next() {
    if (this.running >= AT_ONCE || this.waiting.length === 0) return;
    this.running += 1;
    try {
      await this.waiting.shift()();
    } finally {
      this.running -= 1;
      this.next();
    }
  }
}

export async function enroll(place, page, [givenLabel = ""]) {
  const line = new Line();
  let items = [];
  let isEnding = false;
  let isRunning = false;

  const common = h("input", { type: "text", autocomplete: "off", value: givenLabel });
  const tags = h("input", { type: "text", autocomplete: "off", placeholder: "staff, 2026" });
  const overwrite = button("Use for all", () => {
    items.filter((item) => item.isOpen).forEach((item) => item.setLabel(common.value));
    tell();
  });
  const queue = h("ul", { class: "queue", "aria-label": "Photographs" });
  const status = h("p", { class: "edge" });
  const bar = h("progress", { max: "1", value: 0, "aria-label": "Photographs done" });
  const start = button("Enroll", run, { kind: "primary", icon: "enroll" });
  const clear = button("Clear finished", () => {
    items.filter((item) => item.state === "done").forEach((item) => item.leave());
    items = items.filter((item) => item.state !== "done");
    tell();
  }, { kind: "small" });
  const tools = h("div", { class: "queue-tools", hidden: true }, status, h("div", { class: "row" }, clear, start), bar);

  function add(files) {
    const photographs = files.filter(({ file }) => looksLikePhotograph(file));
    for (const { file, folder } of photographs) {
      const item = new EnrollItem(file, { label: folder ?? common.value, page, onchange: tell, onremove: () => {
        items = items.filter((one) => one !== item);
        tell();
      } });
      items.push(item);
      queue.append(item.element);
      line.add(() => (isEnding ? null : item.look()));
    }
    const left = files.length - photographs.length;
    announce(`${plural(photographs.length, "photograph")} added${left ? `, ${plural(left, "other file")} left out` : ""}.`);
    tell();
  }

  function tell() {
    const counted = (state) => items.filter((item) => item.state === state).length;
    const ready = items.filter((item) => item.isReady);
    const [done, failed, looking] = [counted("done"), counted("failed"), counted("looking") + counted("waiting")];
    const nameless = items.filter((item) => item.isOpen && item.state === "ready" && !item.label).length;
    const parts = [plural(items.length, "photograph")];
    if (looking) parts.push(`${looking} being looked at`);
    if (ready.length) parts.push(`${ready.length} ready`);
    if (nameless) parts.push(`${nameless} without a name`);
    if (done) parts.push(`${done} enrolled`);
    if (failed) parts.push(`${failed} failed`);
    status.textContent = parts.join(" · ");
    bar.max = Math.max(1, items.length);
    bar.value = done + failed;
    tools.hidden = items.length === 0;
    clear.hidden = done === 0;
    start.lastChild.textContent = ready.length ? `Enroll ${plural(ready.length, "photograph")}` : "Enroll";
    start.disabled = ready.length === 0 || isRunning;
    overwrite.hidden = !items.some((item) => item.isOpen);
  }

  async function run() {
    isRunning = true;
    // One after another: two photographs of a new person at once would both want to be the first.
    const chosen = items.filter((item) => item.isReady);
    for (const item of chosen) {
      if (isEnding) return;
      tell();
      await item.enroll(tagList());
    }
    isRunning = false;
    tell();
    forgetPictures();
    announce(`Finished. ${status.textContent}.`);
    await page.reloadCollections().catch(() => null);
  }

  const tagList = () => tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);

  if (!page.allows("enroll")) {
    put(place, h("h1", {}, "Enroll"), h("p", {}, "Your key may not enroll people: it lacks the scope “enroll”."));
    return null;
  }
  put(
    place,
    h("div", { class: "head" }, h("div", {}, h("h1", {}, "Enroll"), h("p", {}, "One good photograph of a person is enough, several are better. Photographs in a folder get the folder’s name."))),
    h(
      "div",
      { class: "stack" },
      dropZone("Drop photographs or folders here", add, { several: true, name: "Photographs to enroll" }),
      h(
        "div",
        { class: "enroll-options panel" },
        h("div", { class: "with-button" }, field("Name for photographs without a folder", common), overwrite),
        field("Tags for everybody enrolled now, separated by commas", tags),
      ),
      tools,
      queue,
    ),
  );
  onDrop(queue, add);
  tell();
  return () => {
    isEnding = true;
    items.forEach((item) => item.leave());
  };
}

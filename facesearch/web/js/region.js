/**
 * A region drawn on a photograph: by dragging, or with the keyboard (arrows move it, with Shift they resize it, Enter takes it).
 */

import { button, h } from "./dom.js";
import { placeOf } from "./stage.js";

const STEP = 0.02;
const LEAST_PX = 12;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value, low, high) => Math.max(low, Math.min(high, value));

export class RegionDrawer {
  /** `onregion([x1, y1, x2, y2])` is called with pixels of the photograph. */
  constructor(shown, photograph, region, onregion) {
    this.shown = shown;
    this.photograph = photograph;
    this.onregion = onregion;
    this.frame = null;
    this.start = null;
    this.box = region;
    this.hint = h("p", { class: "hint", hidden: true }, "Drag over the photograph. With the keyboard: arrows move the region, Shift and arrows resize it, Enter searches it, Escape gives up.");
    this.button = button("Draw a region", () => this.toggle(), { icon: "region", "aria-pressed": "false" });
    if (region) this.draw();
    shown.addEventListener("pointerdown", (event) => this.begin(event));
    shown.addEventListener("pointermove", (event) => this.move(event));
    shown.addEventListener("pointerup", (event) => this.end(event));
    shown.addEventListener("pointercancel", () => { this.start = null; });
  }

  get isDrawing() {
    return this.shown.classList.contains("is-drawing");
  }

  toggle() {
    const isOn = this.shown.classList.toggle("is-drawing");
    this.button.setAttribute("aria-pressed", String(isOn));
    this.hint.hidden = !isOn;
    if (!isOn) {
      this.frame?.remove();
      this.frame = null;
      return;
    }
    const { width, height } = this.photograph;
    this.box ??= [0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height];
    this.draw();
    this.frame.focus();
  }

  draw() {
    if (!this.frame) {
      this.frame = h("div", { class: "region", on: { keydown: (event) => this.key(event) } });
      this.shown.append(this.frame);
    }
    if (this.isDrawing) {
      this.frame.tabIndex = 0;
      this.frame.setAttribute("role", "application");
    }
    const [x1, y1, x2, y2] = this.box.map(Math.round);
    this.frame.setAttribute("aria-label", `Region from ${x1}, ${y1} to ${x2}, ${y2} pixels. Arrows move it, Shift and arrows resize it, Enter searches it.`);
    for (const [name, value] of Object.entries(placeOf(this.box, this.photograph))) this.frame.style.setProperty(name, value);
  }

  key(event) {
    const { width, height } = this.photograph;
    if (event.key === "Enter") this.onregion(this.box);
    else if (event.key === "Escape") {
      this.toggle();
      this.button.focus();
    } else if (MOVES[event.key]) {
      const [dx, dy] = [MOVES[event.key][0] * STEP * width, MOVES[event.key][1] * STEP * height];
      const [x1, y1, x2, y2] = this.box;
      if (event.shiftKey) this.box = [x1, y1, within(x2 + dx, x1 + LEAST_PX, width), within(y2 + dy, y1 + LEAST_PX, height)];
      else {
        const [mx, my] = [within(dx, -x1, width - x2), within(dy, -y1, height - y2)];
        this.box = [x1 + mx, y1 + my, x2 + mx, y2 + my];
      }
      this.draw();
    } else return;
    event.preventDefault();
  }

  point(event) {
    const area = this.shown.getBoundingClientRect();
    const { width, height } = this.photograph;
    return [within(((event.clientX - area.left) / area.width) * width, 0, width), within(((event.clientY - area.top) / area.height) * height, 0, height)];
  }

  begin(event) {
    if (!this.isDrawing || event.button !== 0) return;
    event.preventDefault();
    this.shown.setPointerCapture(event.pointerId);
    this.start = this.point(event);
  }

  move(event) {
    if (!this.start) return;
    const [x, y] = this.point(event);
    this.box = [Math.min(x, this.start[0]), Math.min(y, this.start[1]), Math.max(x, this.start[0]), Math.max(y, this.start[1])];
    this.draw();
  }

  end(event) {
    if (!this.start) return;
    this.move(event);
    this.start = null;
    const [x1, y1, x2, y2] = this.box;
    if (x2 - x1 >= LEAST_PX && y2 - y1 >= LEAST_PX) this.onregion(this.box);
  }
}

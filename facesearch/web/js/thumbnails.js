/**
 * Pictures of enrolled people: kept crops where the operator keeps them, initials elsewhere.
 *
 * They need the key, so they are fetched and shown as objects of this page; at most 300 are held.
 */

import { Problem, api } from "./api.js";
import { h } from "./dom.js";
import { initials } from "./words.js";

const HELD = 300;
const held = new Map();
/** Templates that no picture was kept of: not asked for again. */
const missing = new Set();
const visible = typeof IntersectionObserver === "undefined" ? null : new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    visible.unobserve(entry.target);
    pending.get(entry.target)?.();
    pending.delete(entry.target);
  }
}, { rootMargin: "200px" });
const pending = new WeakMap();

function remember(name, url) {
  held.set(name, url);
  if (held.size > HELD) {
    const [oldest, old] = held.entries().next().value;
    held.delete(oldest);
    URL.revokeObjectURL(old);
  }
}

/** Forgets every picture: another collection or key, or somebody was removed. */
export function forgetPictures() {
  held.forEach((url) => URL.revokeObjectURL(url));
  held.clear();
  missing.clear();
}

/** Returns the picture of a template; initials until it is there, and where there is none. */
export function thumbnail(collection, identity, template, { label, kind = "" }) {
  const frame = h("div", { class: `picture ${kind}`.trim(), "aria-hidden": "true" }, initials(label));
  const name = `${collection}/${template}`;
  if (template === null || template === undefined || missing.has(name)) return frame;
  const show = (url) => frame.replaceChildren(h("img", { src: url, alt: "" }));
  const load = async () => {
    try {
      if (!held.has(name)) remember(name, URL.createObjectURL(await api.picture(collection, identity, template)));
      show(held.get(name));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 404) missing.add(name);
    }
  };
  if (held.has(name)) show(held.get(name));
  else if (visible) {
    pending.set(frame, load);
    visible.observe(frame);
  } else load();
  return frame;
}

/**
 * The score between two hills: how scores of different people and of one person are spread, the threshold, and what they mean.
 */

import { h, s } from "./dom.js";
import { count, ofSoMany, oneIn, score as told } from "./words.js";

const LOW = -0.4;
const HIGH = 1.0;
const TICKS = [-0.2, 0, 0.2, 0.4, 0.6, 0.8, 1];

const at = (score) => (100 * (Math.max(LOW, Math.min(HIGH, score)) - LOW)) / (HIGH - LOW);
const percent = (score) => `${at(score).toFixed(3)}%`;

/** Returns the share of a histogram at or above a score; inside a bin it is spread evenly. */
export function tail(shares, which, score) {
  let sum = 0;
  shares[which].forEach((share, place) => {
    const start = shares.start + place * shares.width;
    const part = Math.max(0, Math.min(1, (start + shares.width - score) / shares.width));
    sum += share * part;
  });
  return sum;
}

function hill(shares, which, peak) {
  const points = shares[which].map((share, place) => {
    const middle = shares.start + (place + 0.5) * shares.width;
    return `${at(middle).toFixed(2)},${(100 - (95 * share) / peak).toFixed(2)}`;
  });
  const [first, last] = [at(shares.start), at(shares.start + shares.width * shares[which].length)];
  return s("polygon", { class: `scale-${which.replace("_", "-")}`, points: `${first},100 ${points.join(" ")} ${last},100` });
}

const summit = (shares, which) => shares.start + (shares[which].indexOf(Math.max(...shares[which])) + 0.5) * shares.width;

/** Returns in a sentence how often different people, and one person's photographs, score at least this. */
export function meaning(score, shares) {
  if (!shares) return null;
  const strangers = ofSoMany(tail(shares, "non_mated", score));
  const same = ofSoMany(tail(shares, "mated", score));
  const first = strangers && tail(shares, "non_mated", score) > 1 / shares.n_non_mated
    ? `Of ${count(strangers.of)} pairs of different people, ${strangers.hits === strangers.of ? "nearly all score" : strangers.hits === 1 ? "about 1 scores" : `about ${count(strangers.hits)} score`} this high or higher`
    : `None of the ${count(shares.n_non_mated)} measured pairs of different people scored this high`;
  const hundred = Math.round(100 * tail(shares, "mated", score));
  const second = hundred >= 1
    ? `of 100 pairs of photographs of one person, ${hundred >= 100 ? "nearly all do" : `about ${hundred} ${hundred === 1 ? "does" : "do"}`}`
    : `of pairs of one person, ${same ? `about ${same.hits} in ${count(same.of)} do` : "hardly any do"}`;
  return `${first}; ${second}.`;
}

/**
 * Returns the scale of one comparison.
 *
 * `shares` are the embedder's histograms, or null: then only the threshold is shown.
 */
export function scale(score, threshold, fmr, shares) {
  const words = meaning(score, shares);
  const summary = `Score ${told(score)}, threshold ${told(threshold)}${fmr ? ` (false matches: ${oneIn(fmr)})` : ""}. ${words ?? ""}`;
  const flag = (text, value, isLeft) => h("span", { class: `scale-flag${isLeft ? " to-left" : ""}` }, text);
  // The two flags point away from each other, so that they never cover one another.
  const scoreLeft = score < threshold || score > 0.8;
  const peak = shares ? Math.max(...shares.mated, ...shares.non_mated) : 1;
  return h(
    "figure",
    { class: "scale" },
    h(
      "div",
      { class: "scale-plot", role: "img", "aria-label": summary.trim() },
      shares && s("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, hill(shares, "non_mated", peak), hill(shares, "mated", peak)),
      shares && h("span", { class: "scale-name", place: { left: percent(summit(shares, "non_mated")), top: "0.25rem" } }, "different people"),
      shares && h("span", { class: "scale-name", place: { left: percent(summit(shares, "mated")), top: "0.25rem" } }, "same person"),
      h("div", { class: "scale-threshold", place: { left: percent(threshold) } }, flag(`threshold ${told(threshold)}`, threshold, !scoreLeft)),
      h("div", { class: "scale-score", place: { left: percent(score) } }, flag(told(score), score, scoreLeft && at(score) > 12)),
      TICKS.map((tick) => h("span", { class: "scale-tick", place: { left: percent(tick) } }, tick < 0 ? `−${-tick}` : String(tick))),
    ),
    h(
      "figcaption",
      { class: "stack" },
      words && h("p", {}, words),
      h("p", { class: "hint" }, shares
        ? `Measured on ${shares.measured_on}: ${count(shares.n_people)} people, ${count(shares.n_mated)} pairs of one person, ${count(shares.n_non_mated)} of different people, every person weighing the same. Your photographs may differ.`
        : "Nobody has measured how this network's scores are spread: only the threshold can be shown."),
    ),
  );
}

/** Returns a small bar of a candidate's score with the threshold marked; the number stands beside it. */
export function gauge(score, threshold) {
  const width = (value) => `${Math.max(0, Math.min(100, 100 * value)).toFixed(2)}%`;
  return h(
    "div",
    { class: "gauge", "aria-hidden": "true" },
    h("div", { class: `gauge-fill${score >= threshold ? " is-above" : ""}`, place: { width: width(score) } }),
    h("div", { class: "gauge-mark", place: { left: width(threshold) } }),
  );
}

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

/** Pairs that must have scored as high before a share is told: fewer are no rate. */
const LEAST_PAIRS = 10;

function strangersSentence(score, shares) {
  const share = tail(shares, "non_mated", score);
  const told = ofSoMany(share);
  if (told === null || share === 0) return `None of the ${count(shares.n_non_mated)} measured pairs of different people scored this high`;
  if (share * shares.n_non_mated < LEAST_PAIRS) return `Next to none of the ${count(shares.n_non_mated)} measured pairs of different people scored this high`;
  if (told.hits === told.of) return "Nearly all pairs of different people score this high or higher";
  return `Of ${count(told.of)} pairs of different people, ${told.hits === 1 ? "about 1 scores" : `about ${count(told.hits)} score`} this high or higher`;
}

function sameSentence(score, shares) {
  const share = tail(shares, "mated", score);
  const hundred = Math.round(100 * share);
  if (hundred >= 100) return "of pairs of photographs of one person, nearly all do";
  if (hundred >= 1) return `of 100 pairs of photographs of one person, about ${hundred} ${hundred === 1 ? "does" : "do"}`;
  return "of pairs of photographs of one person, hardly any do";
}

/** Returns in a sentence how often different people, and one person's photographs, score at least this. */
export function meaning(score, shares) {
  if (!shares) return null;
  return `${strangersSentence(score, shares)}; ${sameSentence(score, shares)}.`;
}

/**
 * Returns the scale of one comparison.
 *
 * `score` may be null: then only the threshold is marked. `shares` are the embedder's histograms, or null.
 */
export function scale(score, threshold, fmr, shares) {
  const words = meaning(score ?? threshold, shares);
  const summary = `${score === null ? "Threshold" : `Score ${told(score)}, threshold`} ${told(threshold)}${fmr ? ` (false matches: ${oneIn(fmr)})` : ""}. ${words ?? ""}`;
  const flag = (text, isLeft) => h("span", { class: `scale-flag${isLeft ? " to-left" : ""}` }, text);
  // The two flags point away from each other, so that they never cover one another.
  const isLeft = score !== null && score < threshold;
  const peak = shares ? Math.max(...shares.mated, ...shares.non_mated) : 1;
  return h(
    "figure",
    { class: "scale" },
    h(
      "div",
      { class: "scale-plot", role: "img", "aria-label": summary.trim() },
      shares && s("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, hill(shares, "non_mated", peak), hill(shares, "mated", peak)),
      h("div", { class: "scale-threshold", place: { left: percent(threshold) } }, flag(`threshold ${told(threshold)}`, score === null || !isLeft)),
      score !== null && h("div", { class: "scale-score", place: { left: percent(score) } }, flag(told(score), (isLeft && at(score) > 14) || at(score) > 86)),
      TICKS.map((tick) => h("span", { class: "scale-tick", place: { left: percent(tick) } }, tick < 0 ? `−${-tick}` : String(tick))),
    ),
    h(
      "figcaption",
      { class: "stack" },
      shares && h("p", { class: "legend" }, h("span", { class: "swatch non-mated" }), "different people", h("span", { class: "swatch mated" }), "same person"),
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

/**
 * Numbers and codes in plain words. Rates are always told as "1 in so many".
 */

const THOUSANDS = new Intl.NumberFormat("en-GB");
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });

/** Returns a count with separators. */
export const count = (number) => THOUSANDS.format(number);

/** Returns "1 face", "3 faces". */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Returns a score as it is shown everywhere: three digits, with a true minus. */
export const score = (value) => (value < 0 ? `−${Math.abs(value).toFixed(3)}` : value.toFixed(3));

/** Returns a time of the service in the reader's own zone. */
export const moment = (text) => (text ? MOMENT.format(new Date(text)) : "—");

/** Returns its day. */
export const day = (text) => (text ? DAY.format(new Date(text)) : "—");

/** Returns a rate as "1 in 10,000". */
export function oneIn(rate) {
  if (!(rate > 0)) return "none";
  const whole = 1 / rate;
  const digits = Math.max(0, Math.floor(Math.log10(whole)) - 1);
  return `1 in ${count(Math.round(whole / 10 ** digits) * 10 ** digits)}`;
}

/** Returns a share as "3 of 1,000": the smallest power of ten of which it is at least one. */
export function ofSoMany(share) {
  if (share >= 1) return { hits: 100, of: 100 };
  for (let of = 10; of <= 1e7; of *= 10) {
    const hits = share * of;
    if (hits >= 0.95) return { hits: Math.round(hits), of };
  }
  return null;
}

const REASONS = {
  too_small: "The face is small: few pixels to tell people apart by.",
  blurred: "The face is blurred.",
  turned_away: "The face is turned away from the camera.",
  too_dark: "The face is too dark.",
  too_bright: "The face is burnt out by light.",
  occluded: "Part of the face is hidden: eyes or mouth are hard to see.",
  weak_detection: "It may not be a face: the detector is unsure.",
};

/** Returns a quality reason's code as a sentence. */
export const reason = (code) => REASONS[code] ?? String(code).replaceAll("_", " ");

/** Returns how usable a face is, in a word and a tone. */
export function quality(found) {
  if (!found) return { tone: "bad", text: "cannot be aligned" };
  if (found.reasons.length === 0) return { tone: "good", text: "good photograph" };
  return { tone: "warn", text: found.reasons.length === 1 ? "usable with care" : "hard to recognise" };
}

const CODES = {
  duplicate_template: "This face of this photograph is enrolled already.",
  no_face: "No face was found in this photograph.",
  image_undecodable: "This file is no photograph that can be read.",
  image_too_large: "This photograph has too many pixels.",
  body_too_large: "This photograph is too large to send.",
  rate_limited: "This key has made too many requests. Wait a moment.",
  overloaded: "The service is busy. Wait a moment and try again.",
  unauthorized: "The key is not known, has expired or was revoked.",
};

/** Returns what to say of a problem that the service answered with. */
export const problem = (code, detail) => CODES[code] ?? detail;

/** Returns up to two initials of a label. */
export function initials(label) {
  const words = label.split(/[\s_]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const first = (word) => [...word].find((letter) => /[\p{L}\p{N}]/u.test(letter)) ?? "";
  if (words.length === 0) return "?";
  return (first(words[0]) + (words.length > 1 ? first(words[words.length - 1]) : "")).toUpperCase();
}

/**
 * What is only read: operating points, the network with its licence; and what this tab remembers.
 */

import { api } from "../api.js";
import { button, h, icon, nothing, put, table } from "../dom.js";
import { scale } from "../scale.js";
import { session } from "../session.js";
import { count, moment, oneIn } from "../words.js";

const number = (text) => ({ number: text });

export async function points(place, page) {
  const told = await page.operatingPoints();
  const rows = told.points.map((point) => [oneIn(point.fmr), number(point.threshold.toFixed(4)), number(count(point.n_non_mated))]);
  const saved = told.saved ?? [];
  const usual = told.points.find((point) => point.fmr === 1e-4) ?? told.points[0];
  put(
    place,
    h("h2", {}, "Operating points"),
    h("p", { class: "hint" }, "A threshold is chosen by how often it may take two strangers for one person. These were measured for the network in use."),
    h("div", { class: "panel" }, rows.length
      ? table("Measured thresholds", ["False matches", number("Threshold"), number("Comparisons")], rows)
      : nothing("settings", "Not calibrated", "Nobody has measured this network: facesearch models calibrate does it with your photographs.")),
    h("h2", {}, "Saved points"),
    saved.length
      ? h("div", { class: "panel" }, table("Saved points", ["Name", "Kind", "Rate", number("Threshold"), "Saved"], saved.map((point) => [
        point.name, String(point.kind).toUpperCase(), oneIn(point.rate), number(point.threshold.toFixed(4)), moment(point.created_at),
      ])))
      : h("p", { class: "hint" }, "None. An operator saves points measured on their own photographs with facesearch calibrate."),
    told.score_histograms && usual ? h("div", { class: "panel" }, scale(null, usual.threshold, usual.fmr, told.score_histograms)) : null,
  );
}

function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function accuracy(card) {
  const figures = Object.entries(card.lfw ?? {}).filter(([, one]) => one.accuracy !== null && one.accuracy !== undefined);
  return figures.map(([way, one]) => `${(100 * one.accuracy).toFixed(2)} % (${way})`).join(", ");
}

export async function model(place) {
  const answer = await api.models();
  put(
    place,
    h("h2", {}, "Network"),
    h("ul", { class: "stack" }, answer.items.map((card) => h(
      "li",
      { class: "panel stack" },
      h("div", { class: "row" }, h("h3", {}, card.name), card.embedder_id === answer.in_use && h("span", { class: "state good" }, icon("check"), "In use")),
      facts([
        ["Embedder", h("code", {}, card.embedder_id)],
        ["Licence", card.licence],
        ["What it means", card.licence_terms],
        ["Source", card.source],
        ["Vector", `${card.dim} numbers`],
        ["Input", `${card.crop_px} × ${card.crop_px} pixels, ${card.alignment}`],
        ["LFW, View 2", accuracy(card)],
        ["Calibrated", card.is_calibrated ? "yes" : "no: it can compare, not decide"],
        ["SHA-256", h("code", {}, card.sha256)],
      ]),
      card.card && h("details", {}, h("summary", {}, "Model card"), h("pre", { class: "card", tabindex: "0", "aria-label": `Model card of ${card.name}` }, card.card)),
    ))),
  );
}

export async function tab(place, page) {
  const { me } = page;
  const themes = h("select", { on: { change: (event) => {
    session.theme = event.target.value;
  } } }, [["system", "As the system"], ["light", "Light"], ["dark", "Dark"]].map(([value, text]) => h("option", { value, selected: value === session.theme }, text)));
  put(
    place,
    h("h2", {}, "This tab"),
    h(
      "div",
      { class: "panel stack" },
      me.keys === "off"
        ? h("p", {}, "Keys are off on this service.")
        : facts([
          ["Key", me.name],
          ["It may", (me.scopes ?? []).join(", ")],
          ["Collections", me.collections ? me.collections.join(", ") : "all"],
          ["Until", me.expires_at ? moment(me.expires_at) : "revoked"],
        ]),
      h("label", { class: "field" }, h("span", {}, "Theme"), themes),
      me.keys === "off" ? null : h("div", { class: "row" }, button("Forget the key", () => page.forgetKey(), { icon: "key" })),
    ),
    h("p", { class: "hint" }, "The page asks nobody but this service, sets no cookie, and keeps no photograph."),
  );
}

/**
 * The audit log: what was decided and changed, by whom; and whether the chain of its rows is whole.
 */

import { Problem, api } from "../api.js";
import { button, failure, h, icon, nothing, notice, put, table, waiting } from "../dom.js";
import { count, moment, score } from "../words.js";

const PAGE = 50;

const number = (text) => ({ number: text });

function row(one) {
  const people = one.identity_ids;
  return [
    number(count(one.number)),
    moment(one.at),
    one.action,
    h("code", {}, one.actor),
    people.length ? people.slice(0, 5).join(", ") + (people.length > 5 ? "…" : "") : one.subject || "—",
    number(one.score === null ? "—" : score(one.score)),
    number(one.threshold === null ? "—" : score(one.threshold)),
    one.outcome.replaceAll("_", " "),
  ];
}

export async function audit(place, page) {
  if (!page.allows("admin")) {
    put(place, h("h2", {}, "Audit log"), notice("", "Your key may not read the audit log: it lacks the scope “admin”."));
    return;
  }
  const columns = [number("№"), "When", "What", "Who", "About", number("Score"), number("Threshold"), "Outcome"];
  const rows = h("div", { class: "stack" });
  const report = h("div", { role: "status" });
  let found = [];
  let next = null;

  async function load() {
    const answer = await api.audit({ limit: PAGE, cursor: next });
    found = [...found, ...answer.items];
    next = answer.next_cursor;
    put(
      rows,
      found.length ? table("Entries of the audit log", columns, found.map(row)) : nothing("settings", "Nothing yet", "Every decision and change will be a row here."),
      next && h("div", { class: "row" }, button("Show more", async () => {
        try {
          await load();
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          put(report, failure(error));
        }
      })),
    );
  }

  async function verify() {
    put(report, waiting("Reckoning the chain again…"));
    try {
      const told = await api.verifyAudit();
      put(report, told.is_whole
        ? h("p", { class: "state good" }, icon("check"), `Whole: ${count(told.n_rows)} rows, none altered, none missing.`)
        : notice("bad", `Not whole: ${told.reason}`));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      put(report, failure(error));
    }
  }

  await load();
  put(
    place,
    h("div", { class: "row" }, h("h2", {}, "Audit log"), button("Verify", verify, { icon: "check", kind: "small" })),
    h("p", { class: "hint" }, "People are named by number: no name, picture or vector is ever written here."),
    report,
    h("div", { class: "panel audit" }, rows),
  );
}

// The evaluations by lives there are, and the reports on them.
import { ask, byId, h, life, say, table, when } from "./common.js";

const link = (kind, name) => h("a", { href: `/${kind}/${encodeURIComponent(name)}` }, name);
const plural = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

function show({ evaluations, reports }) {
  const newest = (a, b) => (Date.parse(b.time) || 0) - (Date.parse(a.time) || 0);
  const why = (row) => (row.error ? h("span", { class: "warning" }, row.error) : null);
  const line = (row) => [link("evaluations", row.name), life(row), row.env ?? "-", (row.modes ?? []).join(", "), when(row.time), why(row)];
  byId("list").replaceChildren(evaluations.length ? table(["evaluation", "state", "env", "modes", "last change", ""], evaluations.sort(newest).map(line)) : "");
  const report = (row) => [link("reports", row.name), row.title ?? "-", when(row.time), why(row)];
  byId("reports").replaceChildren(reports.length ? table(["report", "title", "written", ""], reports.sort(newest).map(report)) : "None yet: lockstep report makes one of the results of an evaluation.");
  say(evaluations.length || reports.length
    ? `${plural(evaluations.length, "evaluation")}, ${plural(reports.length, "report")}`
    : "There are no evaluations here yet: lockstep eval makes them where agents live on and on, such as with --env goodharts -m all; --results-dir says where they are.");
}

/** Shows what there is now; a link that has the focus keeps it. */
async function load() {
  const found = await ask("/api/v1/evaluations");
  const href = byId("content").contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  show(found);
  if (href) [...byId("content").querySelectorAll("a")].find((link) => link.getAttribute("href") === href)?.focus();
}

try {
  await load();
  setInterval(() => !document.hidden && load().catch(() => {}), 5000);
} catch (error) {
  say(error.message, true);
}

// A report on an evaluation: its text with tables, and its figures in the colours of the page.
import { ask, byId, h, say, when } from "./common.js";
import { markdown } from "./markdown.js";

const name = decodeURIComponent(location.pathname.split("/")[2]);
const api = `/api/v1/reports/${encodeURIComponent(name)}`;
document.title = `${name} · lockstep`;

try {
  const report = await ask(api);
  const addressOf = (path) => {
    const file = path.split("/").at(-1);
    return report.files.includes(file) ? `${api}/files/${encodeURIComponent(file)}` : null;
  };
  const parts = markdown(report.text, addressOf);
  const title = parts.find((part) => part.tagName === "H1");
  byId("name").textContent = title?.textContent ?? name;
  byId("text-of-report").replaceChildren(...parts.filter((part) => part !== title));
  const texts = report.files.filter((file) => !file.endsWith(".png"));
  byId("downloads").replaceChildren(...texts.map((file) => h("a", { class: "button", href: addressOf(file), download: file }, file)));
  say(`${name}, written ${when(report.time)}`);
} catch (error) {
  byId("name").textContent = name;
  say(error.message, true);
}

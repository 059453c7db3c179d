// The Markdown of reports as elements: headings, paragraphs, lists, tables and pictures. Whatever else there is stays the text that it is.
import { h } from "./common.js";

/** Elements for a text; `addressOf(path)` is the address of a picture, or null if there is none. */
export function markdown(text, addressOf) {
  const lines = text.split("\n");
  const parts = [];
  while (lines.length) {
    const line = lines[0];
    const kind = BLOCKS.find(({ begins }) => begins(line));
    if (!line.trim()) lines.shift();
    else if (kind) parts.push(kind.make(take(lines, kind.ends), addressOf));
    else parts.push(h("p", {}, inline(take(lines, isOver).join(" "))));
  }
  return parts;
}

/** The lines up to one that is no part of the block; the first one always is. */
function take(lines, ends) {
  const own = [lines.shift()];
  while (lines.length && !ends(lines[0], own)) own.push(lines.shift());
  return own;
}

const isItem = (line) => /^[-*] /.test(line);
const isOver = (line) => !line.trim() || BLOCKS.some(({ begins }) => begins(line));

const BLOCKS = [
  { begins: (line) => /^#{1,6} /.test(line), ends: () => true, make: ([line]) => heading(line) },
  { begins: (line) => line.startsWith("|"), ends: (line) => !line.startsWith("|"), make: grid },
  { begins: isItem, ends: (line) => !isItem(line), make: (lines) => h("ul", {}, lines.map((line) => h("li", {}, inline(line.slice(2))))) },
  { begins: (line) => line.startsWith("<picture>"), ends: (_, own) => own.at(-1).includes("</picture>"), make: (lines, addressOf) => picture(lines.join(" "), addressOf) },
];

function heading(line) {
  const [, marks, text] = line.match(/^(#+) (.*)$/);
  return h(`h${Math.min(marks.length, 4)}`, {}, inline(text));
}

/** Bold words and code among others. */
function inline(text) {
  return text.split(/(\*\*[^*]+\*\*|`[^`]+`)/).filter(Boolean).map((part) => {
    if (/^\*\*[^*]+\*\*$/.test(part)) return h("b", {}, part.slice(2, -2));
    return /^`[^`]+`$/.test(part) ? h("code", {}, part.slice(1, -1)) : part;
  });
}

function grid(lines) {
  const cells = (line) => line.replace(/^\||\|\s*$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
  const [head, rule, ...rows] = lines.map(cells);
  const has = rule?.every((cell) => /^:?-+:?$/.test(cell));
  const classOf = (i) => (has && rule[i]?.endsWith(":") ? "number" : null);
  const row = (tag, values) => h("tr", {}, values.map((value, i) => h(tag, { class: classOf(i), scope: tag === "th" ? "col" : null }, inline(value))));
  const body = has || !rule ? rows : [rule, ...rows];
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, row("th", head)), h("tbody", {}, body.map((values) => row("td", values)))));
}

/** A picture in light and dark; its name if there is no such file. */
function picture(html, addressOf) {
  const attribute = (name) => html.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1] ?? "";
  const [light, dark, alt] = [addressOf(attribute("src")), addressOf(attribute("srcset")), attribute("alt")];
  if (!light) return h("p", { class: "warning" }, `There is no figure ${attribute("src") || alt}.`);
  return h("picture", {}, dark ? h("source", { media: "(prefers-color-scheme: dark)", srcset: dark }) : null, h("img", { src: light, alt }));
}

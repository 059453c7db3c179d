// A picture of a game: shapes where the server has such, and letters in colours, which are all there is elsewhere and what a screen reader reads.
import { h } from "./common.js";
import { sceneOf } from "./scene.js";

/** The sixteen colours of terminals by their names, as they look on the dark ground of a picture. */
const INKS = {
  black: "#14171a", red: "#e0645c", green: "#5fb878", yellow: "#d9b44a", blue: "#6aa5e8", magenta: "#c58ad9", cyan: "#55bcc4", gray: "#b9c0c7",
  darkgray: "#77808a", lightred: "#ff8a80", lightgreen: "#8fe0a4", lightyellow: "#ffe08a", lightblue: "#9cc9ff", lightmagenta: "#e8b4f7", lightcyan: "#8fe6ec", white: "#ffffff",
};
const ink = (word) => (/^#[0-9a-f]{6}$/i.test(word) ? word : INKS[word.toLowerCase().replaceAll(/[-_ ]/g, "")]);

/** Pieces of text with the look that words such as `light-red bold on:blue` describe. */
function line(pieces) {
  return pieces.map(([text, words]) => {
    const span = h("span", {}, text);
    for (const word of words.split(" ").filter(Boolean)) {
      if (word === "bold") span.style.fontWeight = "bold";
      else if (word === "dim") span.style.opacity = "0.6";
      else if (word === "underlined") span.style.textDecoration = "underline";
      else if (word === "reversed") span.style.filter = "invert(1)";
      else if (word.startsWith("on:")) span.style.background = ink(word.slice(3)) ?? "";
      else span.style.color = ink(word) ?? "";
    }
    return span;
  });
}

export const lines = (texts) => (texts ?? []).flatMap((pieces) => [...line(pieces), "\n"]);

/** Shows a drawing in a place: its scene with the letters folded away below, or the letters. What was unfolded stays so. */
export function showDrawing(place, drawing, options) {
  const letters = () => h("pre", { class: "picture" }, lines(drawing.board), lines(drawing.legend));
  if (!drawing) return place.replaceChildren(h("p", { class: "quiet" }, "No picture was recorded."));
  if (!drawing.scene) return place.replaceChildren(letters());
  const open = place.querySelector("details")?.open ?? false;
  const text = h("details", { class: "quiet", open }, h("summary", {}, "The same in letters"), letters());
  place.replaceChildren(sceneOf(drawing.scene, options), text);
}

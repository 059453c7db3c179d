// A scene as SVG: shapes in inks, which the style sheet turns into the colours of the theme, and spots where a person points to act.

const SPACE = "http://www.w3.org/2000/svg";
/** Units of the picture for one of the scene: letters of less than a unit are set badly. */
const SCALE = 100;
const INKS = new Set(["text", "quiet", "line", "ground", "raised", "accent", "good", "bad", "warn", "blue", "orange", "red", "green", "purple", "yellow", "sky"]);

function s(tag, attributes, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const big = (x) => Math.round(SCALE * x * 10) / 10;
const list = (points) => points.map((point) => point.map(big).join(",")).join(" ");

/** The element of a form, and whether its ink is that of its outline. */
const FORMS = {
  disc: ({ at, radius }) => [s("circle", { cx: big(at[0]), cy: big(at[1]), r: big(radius) })],
  ring: ({ at, radius, width }) => [s("circle", { cx: big(at[0]), cy: big(at[1]), r: big(radius), "stroke-width": big(width) }), true],
  block: ({ at, size, round }) => [s("rect", { x: big(at[0]), y: big(at[1]), width: big(size[0]), height: big(size[1]), rx: big(round) })],
  line: ({ points, width }) => [s("polyline", { points: list(points), "stroke-width": big(width) }), true],
  strokes: ({ ends, width }) => [s("path", { d: ends.map((points) => `M${list(points).replace(" ", "L")}`).join(""), "stroke-width": big(width) }), true],
  area: ({ points }) => [s("polygon", { points: list(points) })],
  text: ({ at, size, text, middle }) => [s("text", { x: big(at[0]), y: big(at[1]), "font-size": big(size), "text-anchor": middle ? "middle" : "start", "dominant-baseline": "central" }, text)],
};

function shapeOf(shape) {
  const form = Object.keys(FORMS).find((name) => name in shape);
  if (!form) return null;
  const [element, outline] = FORMS[form](shape[form]);
  element.setAttribute("class", `${outline ? "outline" : "filled"} ink-${INKS.has(shape.ink) ? shape.ink : "text"}`);
  if (shape.opacity != null) element.setAttribute("opacity", shape.opacity);
  return element;
}

/** A place to act: what is said of the action stands there, and pointing at it takes it. */
function spotOf(spot, { legal = [], chosen = null, labels = [], act }) {
  const [x, y, width, height] = [...spot.at, ...spot.size].map(big);
  const state = `spot${legal[spot.action] ? " legal" : ""}${spot.action === chosen ? " chosen" : ""}`;
  const parts = [s("rect", { x, y, width, height, rx: 8, class: state })];
  const said = labels[spot.action] ?? [];
  const letters = spot.letters ?? (spot.size[1] > 1.5 ? 0.26 : 0.17); // a narrow spot has room for small ones
  said.forEach((text, i) => {
    const below = spot.label[1] + letters * (i - (said.length - 1) / 2);
    parts.push(s("text", { x: big(spot.label[0]), y: big(below), "font-size": big(i ? 0.8 * letters : letters), "text-anchor": "middle", "dominant-baseline": "central", class: "label" }, text));
  });
  const group = s("g", { "data-action": spot.action }, ...parts);
  if (legal[spot.action]) group.addEventListener("click", () => act(spot.action));
  return group;
}

/** What marks the action that was taken. */
function takenOf({ at, size }) {
  const [x, y, width, height] = [...at, ...size].map(big);
  return s("rect", { x, y, width, height, rx: 8, class: "spot taken" });
}

/** The picture. With `act` its spots can be pointed at; that of the action `taken` is marked. It is hidden from those who listen: they have the letters and the buttons. */
export function sceneOf(scene, options = {}) {
  const shapes = scene.shapes.map(shapeOf).filter(Boolean);
  const spots = options.act ? (scene.spots ?? []).map((spot) => spotOf(spot, options)) : [];
  const marks = (scene.spots ?? []).filter(({ action }) => action === options.taken).map(takenOf);
  const box = `0 0 ${big(scene.width)} ${big(scene.height)}`;
  const picture = s("svg", { viewBox: box, class: "scene", "aria-hidden": "true" }, ...shapes, ...marks, ...spots);
  picture.style.aspectRatio = `${scene.width} / ${scene.height}`;
  return picture;
}

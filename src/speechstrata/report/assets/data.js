"use strict";
/* The report's data: curves, and what is chosen of them. Text from the data enters the page as text only. */

const report = JSON.parse(document.getElementById("report-data").textContent);
const byId = (id) => document.getElementById(id);

/** An element: make("td", {class: "best"}, "text", child, ...). Strings become text nodes, never markup. */
function make(tag, attributes, ...children) {
  const svg = ["svg", "path", "circle", "line", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/* The points come as columns, texts as codes; a curve is the points of one (setting, score, variant, reference, model, step). */
const points = report.points.mean.map((_, row) => {
  const point = {};
  for (const [name, column] of Object.entries(report.points)) point[name] = column.codes ? column.texts[column.codes[row]] : column[row];
  return point;
});
const modelOf = new Map(report.models.map((model) => [model.label, model]));
const settingOf = new Map(report.settings.map((setting) => [setting.key, setting]));
const scoreOf = new Map(report.scores.map((score) => [score.name, score]));
const baselineOf = (point) => scoreOf.get(point.score).baseline;
const allSteps = [...new Set(points.map((point) => point.step).filter((step) => step !== null))].sort((a, b) => a - b);
const variants = report.variants.map((variant) => variant.name);

const encoders = report.models.filter((model) => !model.control);
const chosen = {
  models: new Set(report.models.filter((model) => model.shown).map((model) => model.label)),
  scores: new Set(report.scores.map((score) => score.name)),
  variants: new Set(encoders.length > 1 ? variants.filter((name) => name === "") : variants.filter((name) => name !== "null-kept")),
  axis: "layers", step: "last", spread: true, taps: true, conv: false, zero: false, references: {},
};

/** Three decimals, with a true minus sign and no minus before zero. */
function number(value) {
  if (value === null || value === undefined) return "";
  const text = Math.abs(value).toFixed(3);
  return value < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
}
const count = (value) => value.toLocaleString("en-GB");
const milliseconds = (value) => `${Number(value.toPrecision(4))} ms`;
const speakersOf = (corpus) => (corpus.speakers ? `, ${corpus.speakers} speaker${corpus.speakers > 1 ? "s" : ""}` : "");
const unitNames = { frame: "frames", phone: "phones", word: "words", sentence: "sentence pairs" };
const unitsOf = (unit) => unitNames[unit] || `${unit}s`;

/** The range of a count over points and their sample sets, or null. */
function spanOf(list, name) {
  const known = list.filter((point) => point[name] !== null);
  if (!known.length) return null;
  const [low, high] = [Math.min(...known.map((point) => point[name])), Math.max(...known.map((point) => point[`${name}_high`]))];
  return low === high ? count(low) : `${count(low)}\u2013${count(high)}`;
}

/** Points grouped by a key, in order of appearance. */
function grouped(list, key) {
  const groups = new Map();
  for (const item of list) {
    const name = key(item);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return groups;
}

/** A model's last step, or the chosen one; controls without steps always count. */
function atChosenStep(point) {
  if (point.step === null || chosen.axis === "steps") return true;
  const steps = modelOf.get(point.model).steps;
  return point.step === (chosen.step === "last" ? steps[steps.length - 1] : Number(chosen.step));
}

/** Whether a layer is drawn: the convolutional front-end only for frames, unless asked for or nothing else is there. */
function layerShown(point) {
  const front = ["conv", "projection", "fbank"].includes(point.kind);
  return !front || point.unit === "frame" || chosen.conv || modelOf.get(point.model).shallow;
}

function selected() {
  return points.filter((point) => chosen.models.has(point.model) && chosen.scores.has(point.score) &&
    chosen.variants.has(point.variant) && atChosenStep(point));
}

/** The highest point of a curve, or undefined. */
function best(curve) {
  return curve.reduce((top, point) => (top === undefined || point.mean > top.mean ? point : top), undefined);
}

const curveKey = (point) => JSON.stringify([point.setting, point.score, point.variant, point.reference, point.model, point.step]);
const curves = grouped(points, curveKey);

const placeKey = (setting, score, variant, model, layer) => JSON.stringify([setting, score, variant, model, layer]);
const atPlace = grouped(points, (point) => placeKey(point.setting, point.score, point.variant, point.model, point.layer));

/** The point of another model or variant beside this one: the same setting, score and layer, the nearest reference and step. */
function beside(point, model, variant, layer) {
  const near = atPlace.get(placeKey(point.setting, point.score, variant, model, layer)) || [];
  const fits = (other) => (other.reference === point.reference) * 2 + (other.step === point.step);
  return near.reduce((nearest, other) => (nearest === undefined || fits(other) > fits(nearest) ? other : nearest), undefined);
}

/** What a point is read against: lines of "name: value". */
function controlsBeside(point) {
  const lines = [];
  const itself = modelOf.get(point.model);
  for (const model of report.models) {
    if (!model.control || itself.control) continue;
    if (model.control_of !== null && model.control_of !== point.model) continue;
    const other = beside(point, model.label, point.variant, model.single ? model.layers[0] : point.layer);
    if (other) lines.push(`${model.label}: ${number(other.mean)}`);
  }
  for (const variant of report.variants) {
    if (!variant.control || point.variant !== "") continue;
    const other = beside(point, point.model, variant.name, point.layer);
    if (other) lines.push(`${variant.title.replace("control: ", "")}: ${number(other.mean)}`);
  }
  if (point.baseline !== null) lines.push(`${baselineOf(point)}: ${number(point.baseline)}`);
  return lines;
}

/** Over what a point is a mean. */
function setsOf(point) {
  const each = point.sets / point.seeds;
  const sets = `${Number(each.toFixed(1))} sample set${each === 1 ? "" : "s"}`;
  return point.seeds > 1 ? `${point.seeds} training seeds, ${sets} each` : sets;
}

/** Everything about a point, as lines of plain text. */
function describe(point) {
  const setting = settingOf.get(point.setting);
  const spread = point.sets > 1 ? ` [${number(point.low)} to ${number(point.high)}, ${setsOf(point)}]` : " (one sample set)";
  const sample = [`n = ${spanOf([point], "n")} ${unitsOf(point.unit)}`];
  if (point.classes !== null) sample.push(`${spanOf([point], "classes")} types`);
  if (point.k !== null) sample.push(`k = ${spanOf([point], "k")}`);
  const lines = [
    `${point.model}, ${point.layer}, ${milliseconds(point.stride_ms)} per frame`,
    `${number(point.mean)}${spread}`,
    sample.join(", "),
  ];
  if (point.step !== null) lines.push(`training step ${count(point.step)}`);
  if (point.variant !== "") lines.push(variantOf(point.variant).title);
  if (point.reference !== "") lines.push(`against ${point.reference}`);
  if (point.nats !== null) lines.push(`${number(point.nats)} nats`);
  lines.push(...controlsBeside(point));
  if (point.warning !== "") lines.push(`Note: ${point.warning}`);
  lines.push(setting.title);
  return lines;
}

const variantOf = (name) => report.variants.find((variant) => variant.name === name);

/** The scores that hold several references for one model; each of them is then a curve and a column of its own. */
const severalReferences = new Set([...grouped(points, (point) => JSON.stringify([point.setting, point.score, point.variant, point.model, point.layer, point.step])).values()]
  .filter((list) => list.length > 1).map((list) => list[0].score));
/* With more references than a table can hold, the tables show the one that the chart shows. */
const manyReferences = 4;
const referencesOf = new Map(report.scores.map((score) => [score.name, [...new Set(points.filter((point) => point.score === score.name).map((point) => point.reference))]
  .sort((a, b) => a.localeCompare(b, "en", { numeric: true }))]));
function shownReference(score) {
  const references = referencesOf.get(score);
  return references.includes(chosen.references[score]) ? chosen.references[score] : references[0];
}
const inTables = (point) => !severalReferences.has(point.score) || referencesOf.get(point.score).length <= manyReferences || point.reference === shownReference(point.score);
const columnReference = (point) => (severalReferences.has(point.score) ? point.reference : "");

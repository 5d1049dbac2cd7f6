/* The tables: best layers, values (sortable), glossary, problems, origin. */

function table(caption, head, rows, options = {}) {
  const element = make("table", {}, caption ? make("caption", {}, caption) : null, make("thead", {}, head), make("tbody", {}, rows));
  return make("div", { class: `scroll${options.full ? " full" : ""}${options.whole ? " whole" : ""}`, tabindex: 0, role: "region", "aria-label": options.label || caption || "table" }, element);
}

/** Best layer and score of every encoder, with its own controls in the cell and the controls of all in columns. */
function drawGlance() {
  const host = byId("glance-tables");
  host.replaceChildren();
  for (const setting of report.settings) {
    const here = [...curves.values()].filter((curve) => curve[0].setting === setting.key && curve[0].variant === "" && isLast(curve[0]));
    const present = report.models.filter((model) => here.some((curve) => curve[0].model === model.label));
    const columns = [...present.filter((model) => !model.control), ...present.filter((model) => model.control && model.control_of === null)];
    const rows = [];
    for (const score of report.scores.filter((item) => item.ranked)) {
      const mine = here.filter((curve) => curve[0].score === score.name);
      const several = severalReferences.has(score.name);
      const references = several ? referencesOf.get(score.name) : [null];
      for (const reference of references.length > manyReferences ? [null] : references) {
        const curveOf = (model) => {
          const own = mine.filter((curve) => curve[0].model === model.label);
          const exact = own.filter((curve) => reference === null || curve[0].reference === reference);
          return (exact.length || !model.control ? exact : own).reduce((top, curve) => (top && best(top).mean >= best(curve).mean ? top : curve), undefined);
        };
        if (!columns.some((model) => curveOf(model))) continue;
        const name = !several ? score.name : reference === null ? `${score.name}, the best of ${references.length}` : `${score.name}, ${reference}`;
        rows.push(make("tr", {}, make("th", { scope: "row", class: "text pin" }, score.title, make("small", {}, name)),
          columns.map((model) => glanceCell(model, curveOf, present))));
      }
    }
    const head = make("tr", {}, make("th", { class: "text pin", scope: "col" }, "Score"),
      columns.map((model) => make("th", { scope: "col", title: model.label }, unbroken(short(model.label)), make("small", {}, model.control ? "control" : model.supervision))));
    host.append(table(setting.title, head, rows, { whole: true }));
  }
}

/** A best layer, the layers it cannot be told from, and what its controls reach. */
function glanceCell(model, curveOf, present) {
  const curve = curveOf(model);
  if (!curve) return make("td", { class: "empty" }, "\u2013");
  const top = best(curve);
  if (model.control) return make("td", { title: describe(top).join("\n") }, number(top.mean), make("small", {}, model.single ? milliseconds(top.stride_ms) : top.layer));
  const ties = top.sets < 2 ? [] : curve.filter((point) => point !== top && point.mean >= top.low).map((point) => point.layer);
  const lines = [`${top.layer}, ${milliseconds(top.stride_ms)}`];
  if (ties.length) lines.push(`or ${ties.slice(0, 3).join(", ")}${ties.length > 3 ? "\u2026" : ""}`);
  for (const other of present.filter((item) => item.control_of === model.label)) {
    const own = curveOf(other);
    if (own) lines.push(`${other.supervision === "random weights" ? "random" : short(other.label.replace(`${model.label}, `, ""))} ${number(best(own).mean)}`);
  }
  for (const variant of report.variants.filter((item) => item.control)) {
    const other = beside(top, model.label, variant.name, top.layer);
    if (other) lines.push(`${variant.title.replace("control: ", "").replace(/^word /, "")} ${number(other.mean)}`);
  }
  if (top.baseline !== null) lines.push(`${baselineOf(top).replace("permutation baseline", "labels permuted")} ${number(top.baseline)}`);
  return make("td", { title: describe(top).join("\n") }, make("b", {}, number(top.mean)), lines.map((line) => make("small", {}, line)));
}

const short = (label) => {
  const averaged = label.length > 36 ? (label.match(/^averaged:[0-9.]+ms:/) ?? [""])[0] : "";
  const name = label.slice(averaged.length);
  if (name.length <= 36) return averaged + name;
  const folders = name.split("/"); /* as many as fit: the last one is "model" for many models */
  while (folders.length > 1 && folders.join("/").length > 36) folders.shift();
  const tail = folders.join("/");
  return averaged + (tail && tail.length <= 36 ? tail : `\u2026${name.slice(-35)}`);
};
/** A name that is broken at its spaces, not at the hyphens within its words. */
const unbroken = (name) => name.split(" ").flatMap((word, at) => [at ? " " : null, word.length > 20 ? word : make("span", { class: "word" }, word)]);
function isLast(point) {
  const steps = modelOf.get(point.model).steps;
  return point.step === null || point.step === steps[steps.length - 1];
}

let sorting = { column: "index", up: true };

/** Layer x score for the chosen models, one table per setting. */
function drawValues() {
  const host = byId("value-tables");
  host.replaceChildren();
  const chosenPoints = selected().filter(inTables);
  for (const setting of report.settings) {
    const here = chosenPoints.filter((point) => point.setting === setting.key);
    if (!here.length) continue;
    const columns = [...grouped(here, (point) => JSON.stringify([point.score, point.variant, columnReference(point)])).keys()].map((key) => JSON.parse(key));
    columns.sort((a, b) => report.scores.findIndex((s) => s.name === a[0]) - report.scores.findIndex((s) => s.name === b[0]) || variants.indexOf(a[1]) - variants.indexOf(b[1]));
    const rows = [...grouped(here, (point) => JSON.stringify([point.model, point.step, point.layer])).values()].map((list) => ({
      point: list[0],
      cells: new Map(list.map((point) => [JSON.stringify([point.score, point.variant, columnReference(point)]), point])),
    }));
    host.append(valueTable(setting, columns.map((column) => [JSON.stringify(column), column]), rows));
  }
  if (!host.children.length) host.append(make("p", { class: "empty" }, "Nothing is chosen."));
}


function valueTable(setting, columns, rows) {
  const place = new Map(report.models.map((model, at) => [model.label, at]));
  const natural = (a, b) => place.get(a.point.model) - place.get(b.point.model) || (a.point.step || 0) - (b.point.step || 0) || a.point.index - b.point.index;
  const keys = {
    index: null,
    model: (row) => place.get(row.point.model), layer: (row) => row.point.index, stride: (row) => row.point.stride_ms, step: (row) => row.point.step || 0,
  };
  const keyOf = keys[sorting.column] !== undefined ? keys[sorting.column] : (row) => (row.cells.has(sorting.column) ? row.cells.get(sorting.column).mean : null);
  const sorted = [...rows].sort((a, b) => {
    if (keyOf === null) return natural(a, b);
    const [left, right] = [keyOf(a), keyOf(b)];
    if (left === null || right === null) return (left === null) - (right === null) || natural(a, b);
    return (sorting.up ? left - right : right - left) || natural(a, b);
  });
  const heading = (column, text, attributes) => {
    const state = sorting.column === column ? (sorting.up ? "ascending" : "descending") : "none";
    const printing = document.documentElement.classList.contains("printing"); /* buttons vanish from the heading of later pages */
    const button = printing ? make("span", {}, text) : make("button", { type: "button", onclick: () => sortBy(column, setting.key) }, text);
    return make("th", { scope: "col", "aria-sort": state, "data-column": column, ...attributes }, button);
  };
  const withSteps = rows.some((row) => row.point.step !== null);
  const head = make("tr", {}, heading("model", "Model", { class: "text pin" }), heading("layer", "Layer", { class: "text" }), heading("stride", "ms"),
    withSteps ? heading("step", "Step") : null,
    columns.map(([key, [score, variant, reference]]) => heading(key, [...scoreOf.get(score).short, ...variant.split("-"), reference].filter(Boolean).join("\n"))));
  const tops = new Map();
  const range = new Map(columns.map(([key]) => {
    const values = rows.map((row) => row.cells.get(key)).filter(Boolean).map((point) => point.mean);
    return [key, [Math.min(...values), Math.max(...values)]];
  }));
  for (const row of rows) {
    for (const [key, point] of row.cells) {
      const name = `${key}|${point.model}|${point.step}`;
      if (scoreOf.get(point.score).ranked && !(tops.has(name) && tops.get(name).mean >= point.mean)) tops.set(name, point);
    }
  }
  const body = sorted.map(({ point, cells }) => {
    const model = modelOf.get(point.model);
    return make("tr", { class: model.control ? "control" : null },
      make("th", { scope: "row", class: "text pin", title: point.model }, short(point.model)), make("td", { class: "text" }, point.layer),
      make("td", {}, Number(point.stride_ms.toPrecision(4)).toString()), withSteps ? make("td", {}, point.step === null ? "" : count(point.step)) : null,
      columns.map(([key]) => {
        const cell = cells.get(key);
        if (!cell) return make("td", {});
        const top = tops.get(`${key}|${cell.model}|${cell.step}`) === cell && !model.single;
        const [low, high] = range.get(key);
        const shade = high > low ? ((cell.mean - low) / (high - low)) * 0.22 : 0;
        return make("td", { class: top ? "best" : null, style: `background:rgba(${css("--tint")},${shade.toFixed(3)})`, title: cell.warning || null },
          top ? make("b", {}, number(cell.mean)) : number(cell.mean), cell.warning ? "\u2009*" : "",
          cell.sets > 1 ? make("small", {}, `${number(cell.low)}\u2013${number(cell.high)}`) : null);
      }));
  });
  return table(setting.title, head, body, { label: `Values, ${setting.title}`, full: true });
}

function sortBy(column, settingKey) {
  const byValue = column.startsWith("[");
  if (sorting.column === column) sorting = sorting.up === !byValue ? { column, up: byValue } : { column: "index", up: true };
  else sorting = { column, up: !byValue };
  drawValues();
  const at = report.settings.findIndex((setting) => setting.key === settingKey);
  const host = byId("value-tables").children[Math.min(at, byId("value-tables").children.length - 1)];
  const again = [...host.querySelectorAll("th[data-column]")].find((th) => th.dataset.column === column);
  if (again) again.querySelector("button").focus();
}

function drawGlossary() {
  const entry = (title, name, paragraphs) => make("div", { class: "entry" }, make("h3", {}, title, name ? make("small", {}, name) : null), make("div", {}, paragraphs));
  const words = (head, text) => (text ? make("p", {}, make("b", {}, `${head} `), text) : null);
  byId("glossary-list").replaceChildren(
    ...report.scores.map((score) => entry(score.title, `${score.name}, per ${score.unit}`,
      [words("High:", score.means), words("It does not say:", score.not_means), words("Read it against:", score.controls)])),
    ...report.controls.map(([name, text]) => entry(`Control: ${name}`, "", [make("p", {}, text)])),
    ...report.variants.filter((variant) => variant.name !== "").map((variant) => entry(variant.title[0].toUpperCase() + variant.title.slice(1), variant.name, [make("p", {}, variant.text)])),
    entry("Spread", "", [make("p", {}, `The band around a curve and the small numbers in the tables: ${report.spread}. The sample sets are drawn from the same corpus: they show how much a score depends on the spans drawn, not how it would move with another corpus or another training run.`)]),
    entry("Resolution", "", [make("p", {}, "Milliseconds from one frame of a layer to the next. Every layer is pooled at its own resolution.")]),
  );
}

function drawProblems() {
  const host = byId("problem-list");
  if (!report.problems.length) { host.replaceChildren(make("p", { class: "lead" }, "None: nothing was skipped.")); return; }
  const several = report.runs.length > 1;
  const head = make("tr", {}, (several ? ["Run"] : []).concat(["What", "Where", "Reason", "Remedy"]).map((name) => make("th", { class: "text", scope: "col" }, name)));
  const rows = report.problems.map((problem) => make("tr", {}, several ? make("td", { class: "text" }, problem.run) : null,
    ["what", "where", "reason", "remedy"].map((name) => make("td", { class: "text wrapping" }, problem[name]))));
  const element = table("", head, rows, { label: "Problems", full: true });
  host.replaceChildren(rows.length > 20 ? make("p", { class: "lead" }, `${count(rows.length)} things were skipped.`) : make("p", { class: "lead" }, "Skipped, with the reason; everything else was scored."), element);
}

function drawOrigin() {
  const list = (pairs) => make("dl", { class: "words" }, pairs.filter(([, value]) => value !== null && value !== "" && value !== undefined)
    .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value instanceof Node ? value : String(value))]));
  const flat = (mapping) => Object.entries(mapping || {}).map(([name, value]) => `${name} ${value}`).join(", ");
  byId("origin-list").replaceChildren(...drawConfiguration(), ...report.runs.map((run) => {
    const from = run.provenance;
    const corpus = from.corpus;
    const text = JSON.stringify({ config: run.config, provenance: from }, null, 2);
    return make("div", {}, report.runs.length > 1 || report.paper ? make("h3", {}, run.name) : null, list([
      ["Command", make("code", {}, from.command)],
      ["Made", `${run.created}, speechstrata ${from.speechstrata}`],
      ["Corpus", `${corpus.name}: ${count(corpus.utterances)} utterances, ${corpus.hours.toFixed(2)} h` + speakersOf(corpus)],
      ["", null],
      ["About the corpus", corpus.description], ["Licence", corpus.licence], ["Corpus fingerprint", make("code", {}, corpus.fingerprint)],
      ["Largest speaker", corpus.largest_speaker_share === null ? "" : `${(100 * corpus.largest_speaker_share).toFixed(0)}% of the speech`],
      ["Protocol", `${from.protocol.name}: ${from.protocol.text}`],
      ["Models", make("div", {}, from.models.map((model) => make("div", {}, `${model.name} (${model.supervision}` +
        (model.parameters ? `, ${count(model.parameters)} parameters` : "") + `, ${model.layers.length} ${model.layers.length === 1 ? "layer" : "layers"}) `, make("code", {}, model.fingerprint))))],
      ["Seeds", (from.seeds || []).join(", ")], ["Packages", flat(from.packages)], ["Machine", flat(from.machine)],
    ]), ...copyable("Configuration and provenance", text));
  }));
  const links = report.figures.map((name) => make("li", {}, `${name}: `, make("a", { href: `figures/${name}.pdf` }, "PDF"), " ", make("a", { href: `figures/${name}.png` }, "PNG")));
  if (links.length) byId("figure-list").replaceChildren(make("details", { class: "screen-only" }, make("summary", {}, "Figures and tables beside this page"),
    make("ul", {}, links, make("li", {}, make("a", { href: "scores.csv" }, "scores.csv")), make("li", {}, make("a", { href: "tables.tex" }, "tables.tex")))));
}

/** A text with a button that copies it. */
function copyable(title, text) {
  const copy = make("button", { type: "button", class: "copy", onclick: () => copyText(text, copy) }, "Copy");
  return [make("p", { class: "row" }, make("strong", {}, title), copy), make("pre", { tabindex: 0 }, text)];
}

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "visually-hidden" }, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function downloadCsv() {
  const names = Object.keys(report.points);
  const cell = (value) => {
    let text = value === null ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; /* a spreadsheet would run it */
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const title = (point, name) => (name === "setting" ? settingOf.get(point.setting).title : point[name]);
  const lines = [names.join(","), ...points.map((point) => names.map((name) => cell(title(point, name))).join(","))];
  const link = make("a", { href: URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" })), download: "scores.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

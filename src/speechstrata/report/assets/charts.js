/* The curves, drawn with plotly; one chart per score, one set of axes per corpus and protocol. */

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
};
const colourOf = (model) => (isDark() ? model.dark : model.colour);
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const faded = (hex, alpha) => `rgba(${[1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(",")},${alpha})`;
const dashes = { "": "solid", "vectors-permuted": "dot", "types-disjoint": "dashdot", "null-kept": "longdash" };
const dashOf = (variant) => (variant in dashes ? dashes[variant] : "longdashdot");
const markSize = (stride) => (stride < 30 ? 7 : stride < 60 ? 9 : 11);

/** A small drawing of a model's line, for the legend and the choices. */
function swatch(model) {
  const style = `stroke:${colourOf(model)};stroke-width:2.2;fill:none`;
  const svg = make("svg", { class: "swatch", width: 30, height: 14, viewBox: "0 0 30 14", "aria-hidden": "true" },
    make("line", { x1: 1, x2: 29, y1: 7, y2: 7, style, "stroke-dasharray": model.control ? "5 3" : null }));
  const shapes = {
    circle: "M15 3a4 4 0 1 0 .01 0z", square: "M11.5 3.5h7v7h-7z", "triangle-up": "M15 2.5l4.5 8h-9z", diamond: "M15 2l5 5-5 5-5-5z",
    "triangle-down": "M15 11.5l4.5-8h-9z", cross: "M13.5 2.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    x: "M11 4.4L12.4 3 15 5.6 17.6 3 19 4.4 16.4 7 19 9.6 17.6 11 15 8.4 12.4 11 11 9.6 13.6 7z",
  };
  if (!model.control) svg.append(make("path", { d: shapes[model.symbol], style: `fill:${colourOf(model)};stroke:none` }));
  return svg;
}

/** Where the layers of these points stand: by name for one architecture, by number or depth for several. */
function layerAxis(drawn) {
  const present = [...grouped(drawn, (point) => point.model)].filter(([label]) => !modelOf.get(label).single);
  const families = new Set(present.map(([label]) => JSON.stringify(modelOf.get(label).layers)));
  if (families.size <= 1 && chosen.axis === "layers") {
    const there = new Set(present.flatMap(([, list]) => list.map((point) => point.layer)));
    const names = present.length ? modelOf.get(present[0][0]).layers.filter((name) => there.has(name)) : [];
    const rank = new Map(names.map((name, place) => [name, place]));
    return { x: (point) => rank.get(point.layer), values: names.map((_, place) => place), texts: names, title: "", low: -0.5, high: names.length - 0.5 };
  }
  const totals = new Set(present.map(([label]) => modelOf.get(label).transformers));
  const total = totals.size === 1 && chosen.axis === "layers" ? [...totals][0] : null;
  const scale = total || 1;
  const places = present.flatMap(([, list]) => list.map((point) => point.place * scale));
  const edge = total ? 0.5 : 0.03;
  const axis = { x: (point) => point.place * scale, low: Math.min(0, ...places) - edge, high: Math.max(scale, ...places) + edge };
  if (total) {
    axis.values = Array.from({ length: total + 1 }, (_, place) => place);
    axis.texts = axis.values.map((place) => `T${place}`);
    for (const [place, names] of grouped(drawn.filter((point) => point.place < 0), (point) => Math.round(point.place * scale * 1e6) / 1e6)) {
      const alike = [...new Set(names.map((point) => point.layer))];
      if (alike.length === 1) { axis.values.push(place); axis.texts.push(alike[0]); }
    }
    axis.title = "";
  } else {
    axis.values = [0, 0.25, 0.5, 0.75, 1];
    axis.texts = axis.values.map(String);
    axis.title = "share of the Transformer layers passed";
  }
  return axis;
}

/** An axis over training steps: a model's best layer at each step. */
function stepAxis(drawn) {
  const steps = [...new Set(drawn.map((point) => point.step).filter((step) => step !== null))].sort((a, b) => a - b);
  const log = steps[0] > 0 && steps[steps.length - 1] / steps[0] >= 20;
  const place = (step) => (log ? Math.log10(step) : step);
  const ends = [place(steps[0]), place(steps[steps.length - 1])];
  const edge = (ends[1] - ends[0]) * 0.05 || 0.5;
  return {
    x: (point) => place(point.step), values: steps.map(place), texts: steps.map((step) => (step >= 1000 ? `${step / 1000}k` : `${step}`)),
    title: "training step (best layer of each)", low: ends[0] - edge, high: ends[1] + edge,
  };
}

/** The traces of one set of axes, and for each curve its points in order, for the keyboard. */
function tracesOf(drawn, axis) {
  const traces = [];
  const rails = [];
  const overSteps = chosen.axis === "steps";
  const first = variants.find((name) => chosen.variants.has(name)); /* controls have one line each, of this variant */
  const wanted = drawn.filter((point) => point.variant === first || !modelOf.get(point.model).control);
  const groups = grouped(wanted, (point) => JSON.stringify([point.model, point.variant, point.reference]));
  for (const list of groups.values()) {
    const model = modelOf.get(list[0].model);
    const colour = colourOf(model);
    const dash = model.control ? "dash" : dashOf(list[0].variant);
    const thin = model.control || list[0].variant !== "";
    if (model.single || (overSteps && list[0].step === null)) {
      const level = best(list);
      const xs = [axis.low, ...axis.values, axis.high].sort((a, b) => a - b);
      rails.push(xs.slice(1, -1).map((_, at) => [traces.length, at + 1, level]));
      traces.push({ x: xs, y: xs.map(() => level.mean), mode: "lines", line: { color: colour, width: 1.6, dash }, text: xs.map(() => hoverText(level)), hovertemplate: "%{text}<extra></extra>" });
      continue;
    }
    let curve = list;
    if (overSteps) curve = [...grouped(list, (point) => point.step).values()].map(best);
    curve = [...curve].sort((a, b) => (overSteps ? a.step - b.step : a.index - b.index));
    const main = curve.filter((point) => overSteps || !point.tap);
    const taps = curve.filter((point) => !overSteps && point.tap && chosen.taps);
    if (chosen.spread && main.length > 1 && main.some((point) => point.sets > 1)) {
      const band = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", x: main.map(axis.x) };
      traces.push({ ...band, y: main.map((point) => point.low) });
      traces.push({ ...band, y: main.map((point) => point.high), fill: "tonexty", fillcolor: faded(colour, thin ? 0.12 : 0.2) });
    }
    const common = (chosenPoints) => ({
      x: chosenPoints.map(axis.x), y: chosenPoints.map((point) => point.mean),
      text: chosenPoints.map(hoverText), hovertemplate: "%{text}<extra></extra>",
    });
    const where = new Map();
    main.forEach((point, at) => where.set(point, [traces.length, at]));
    traces.push({
      ...common(main), mode: thin ? "lines" : "lines+markers", line: { color: colour, width: thin ? 1.5 : 2.2, dash },
      marker: { symbol: model.symbol, size: main.map((point) => markSize(point.stride_ms)), color: colour, line: { color: css("--ground"), width: 1 } },
    });
    if (taps.length && !model.control) {
      taps.forEach((point, at) => where.set(point, [traces.length, at]));
      traces.push({
        ...common(taps), mode: "markers",
        marker: { symbol: `${model.symbol}-open`, size: taps.map((point) => markSize(point.stride_ms)), color: colour, line: { width: 1.6 }, opacity: thin ? 0.6 : 1 },
        error_y: chosen.spread ? { type: "data", symmetric: false, array: taps.map((p) => p.high - p.mean), arrayminus: taps.map((p) => p.mean - p.low), color: colour, thickness: 1, width: 0 } : undefined,
      });
    }
    rails.push(curve.filter((point) => where.has(point)).map((point) => [...where.get(point), point]));
    if (!model.control && main.some((point) => point.baseline !== null)) {
      const based = main.filter((point) => point.baseline !== null);
      traces.push({ x: based.map(axis.x), y: based.map((point) => point.baseline), mode: "lines", line: { color: colour, width: 1.4, dash: "1px,3px" }, hoverinfo: "skip" });
    }
  }
  return { traces, rails };
}

const wrapLine = (line) => line.replace(/(.{1,48})(\s+|$)/g, "$1\n").trim().split("\n");
function hoverText(point) {
  const [head, value, ...rest] = describe(point);
  const lines = (list) => list.flatMap(wrapLine).map(escaped).join("<br>");
  return `<b>${lines([head])}</b><br>${lines([value])}<br>${lines(rest)}`;
}

/** Draw one set of axes into `host`; returns a function that moves a cursor over the points by keys. */
function drawPlot(host, drawn, score) {
  const axis = chosen.axis === "steps" ? stepAxis(drawn) : layerAxis(drawn);
  const { traces, rails } = tracesOf(drawn, axis);
  const width = host.clientWidth || 380;
  const room = (width - 60) / Math.max(axis.values.length, 1);
  const every = Math.max(1, Math.ceil(13 / room));
  const longest = Math.max(0, ...axis.texts.map((text) => text.length));
  const turned = axis.title === "" && longest * 6.3 + 6 > room * every;
  const order = axis.values.map((value, at) => [value, axis.texts[at]]).sort((a, b) => a[0] - b[0]).filter((_, at) => at % every === 0);
  const text = css("--text");
  const layout = {
    margin: { l: 46, r: 8, t: 8, b: (turned ? Math.min(longest * 6, 70) : 16) + 10 + (axis.title ? 16 : 0) },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", hoverdistance: 30,
    dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: text },
    hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--line"), font: { color: text, size: 12 }, align: "left" },
    xaxis: {
      range: [axis.low, axis.high], tickvals: order.map((tick) => tick[0]), ticktext: order.map((tick) => escaped(tick[1])), tickangle: turned ? -90 : 0,
      showgrid: false, zeroline: false, linecolor: css("--soft"), linewidth: 1, ticks: "outside", ticklen: 3, tickcolor: css("--soft"),
      title: axis.title ? { text: axis.title, font: { size: 11, color: css("--soft") }, standoff: 6 } : undefined,
    },
    yaxis: {
      gridcolor: css("--grid"), zeroline: false, nticks: 6, rangemode: chosen.zero ? "tozero" : "normal", automargin: false,
      title: { text: score.axis, font: { size: 11, color: css("--soft") }, standoff: 4 },
    },
  };
  const config = {
    responsive: true, displayModeBar: false, doubleClick: "reset",
  };
  Plotly.newPlot(host, traces, layout, config);
  return rails.filter((rail) => rail.length);
}

/** Arrow keys move a cursor over the points of a chart: left and right along a curve, up and down between curves. */
function keyboard(host, rails) {
  let curve = 0;
  let place = -1;
  host.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -1e6], End: [0, 1e6] };
    if (event.key === "Escape") Plotly.Fx.unhover(host);
    if (!(event.key in moves) || !rails.length || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const [up, right] = moves[event.key];
    curve = (curve + up + rails.length) % rails.length;
    place = Math.max(0, Math.min(rails[curve].length - 1, place + right));
    const [curveNumber, pointNumber, point] = rails[curve][place];
    Plotly.Fx.hover(host, [{ curveNumber, pointNumber }]);
    byId("live").textContent = describe(point).join(". ");
  });
  host.addEventListener("blur", () => { if (host.data) Plotly.Fx.unhover(host); }); /* a purged chart has no data */
}

/** n, types, clusters and sample sets of what is drawn, and whether curves differ in what moves their scores. */
function captionOf(drawn) {
  const parts = [`n = ${spanOf(drawn, "n")} ${unitsOf(drawn[0].unit)}`];
  if (spanOf(drawn, "classes")) parts.push(`${spanOf(drawn, "classes")} types`);
  if (spanOf(drawn, "k")) parts.push(`k = ${spanOf(drawn, "k")}`);
  const trained = drawn.filter((point) => !modelOf.get(point.model).control);
  const list = trained.length ? trained : drawn;
  const span = (values) => (Math.min(...values) === Math.max(...values) ? `${values[0]}` : `${Math.min(...values)}\u2013${Math.max(...values)}`);
  const [seeds, sets] = [span(list.map((point) => point.seeds)), span(list.map((point) => Math.round(point.sets / point.seeds)))];
  const each = sets === "1" ? "one sample set" : `${sets} sample sets`;
  parts.push(seeds === "1" ? each : `${seeds} training seeds, ${each} each`);
  const sizes = new Set([...grouped(drawn, (point) => point.model).values()].map((own) => `${spanOf(own, "classes")} ${spanOf(own, "k")}`));
  return { text: parts.join(" \u00b7 "), differs: sizes.size > 1 };
}

function chartCard(score, mine) {
  let shown = mine;
  const card = make("article", { class: "chart", "data-score": score.name },
    make("header", {}, make("h3", {}, score.title), make("span", { class: "name" }, score.name)));
  if (severalReferences.has(score.name)) {
    const wanted = shownReference(score.name);
    shown = mine.filter((point) => point.reference === wanted);
    const select = make("select", { onchange: (event) => { chosen.references[score.name] = event.target.value; draw(); } },
      referencesOf.get(score.name).map((name) => make("option", { value: name, selected: name === wanted }, name || "(none)")));
    card.append(make("label", {}, "Against ", select));
  }
  const plots = [];
  for (const [key, drawn] of grouped(shown.filter(layerShown), (point) => point.setting)) {
    const usable = chosen.axis === "steps" && !drawn.some((point) => point.step !== null) ? [] : drawn;
    if (!usable.length) continue;
    const title = settingOf.get(key).title;
    if (report.settings.length > 1) card.append(make("h4", {}, title));
    const host = make("div", { class: "plot", tabindex: 0, role: "group", "aria-label": `${score.title}, ${title}. Arrow keys move between points.` });
    const caption = captionOf(usable);
    card.append(host, make("p", { class: "caption" }, caption.text,
      caption.differs ? make("span", { class: "warn" }, " \u2014 these differ between curves, and so move the scores") : null));
    plots.push([host, usable]);
  }
  if (!plots.length) return null;
  card.append(make("details", {}, make("summary", {}, "What it means"), make("p", {}, score.means), make("p", {}, score.not_means), score.controls ? make("p", {}, `Read it against ${score.controls}`) : null));
  return { card, plots };
}

function drawCharts() {
  const box = byId("charts");
  for (const plot of box.querySelectorAll(".plot")) Plotly.purge(plot);
  box.replaceChildren();
  const mine = grouped(selected(), (point) => point.score);
  for (const score of report.scores) {
    if (!mine.has(score.name)) continue;
    const made = chartCard(score, mine.get(score.name));
    if (!made) continue;
    box.append(made.card);
    for (const [host, drawn] of made.plots) keyboard(host, drawPlot(host, drawn, score));
  }
  if (!box.children.length) box.append(make("p", { class: "empty" }, "Nothing to draw: choose at least one model and one score."));
}

function drawLegend() {
  const shown = report.models.filter((model) => chosen.models.has(model.label));
  const random = (model) => model.control_of !== null && model.supervision === "random weights";
  const together = shown.filter(random).length > 2; /* of many encoders: one entry */
  const entries = shown.filter((model) => !together || !random(model)).map((model) => make("li", {}, swatch(model), make("span", {}, model.label)));
  if (together) entries.push(make("li", {}, swatch({ control: true, colour: css("--soft"), dark: css("--soft") }), make("span", {}, "random weights (same colours)")));
  const keys = [];
  if (chosen.taps && points.some((point) => point.tap)) keys.push("hollow: states between layers (sampling, block inputs, skips)");
  if (new Set(points.filter((point) => !modelOf.get(point.model).single).map((point) => point.stride_ms)).size > 1) keys.push("larger mark: lower resolution");
  if (chosen.spread) keys.push(`band: ${report.spread}`);
  for (const [variant, name] of Object.entries({ "vectors-permuted": "dotted", "types-disjoint": "dash-dot" })) {
    if (chosen.variants.has(variant) && variants.includes(variant)) keys.push(`${name}: ${variantOf(variant).title.replace("control: ", "")}`);
  }
  if (points.some((point) => point.baseline !== null)) keys.push(`finely dotted: ${[...new Set(points.filter((point) => point.baseline !== null).map(baselineOf))].join(", ")}`);
  byId("legend").replaceChildren(...entries);
  byId("key").textContent = keys.join(" \u00b7 ");
}

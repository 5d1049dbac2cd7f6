/* A reproduction's cost beside quality, layer weights, tables and figures; nothing of it is drawn for other reports. */

const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
const billions = (value) => `${(value / 1e9).toPrecision(3)} GMAC`;
const millions = (value) => `${(value / 1e6).toFixed(2)} M`;
const costAxes = {
  macs_per_second: { title: "billion multiply-accumulates per second of audio", text: billions, scale: 1e9 },
  parameters: { title: "million parameters", text: millions, scale: 1e6 },
};

function drawPaper() {
  if (!paperData) return;
  for (const part of document.querySelectorAll("[data-paper]")) part.hidden = false;
  drawFindings();
  const { qualities, points: costs } = paperData.cost;
  for (const id of ["cost", "weights"]) {
    const empty = id === "cost" ? !qualities.length || !costs.length : !paperData.weights.length;
    byId(id).hidden = empty;
    document.querySelector(`.top nav a[href="#${id}"]`).hidden = empty;
  }
  byId("quality").replaceChildren(...[...grouped(qualities, (quality) => quality.group)].map(([name, list]) =>
    make("optgroup", { label: name }, list.map((quality) => make("option", { value: quality.key }, quality.title)))));
  byId("cost-axis").replaceChildren(...Object.entries(costAxes).map(([value, axis]) => make("option", { value }, axis.title)));
  byId("weight-column").replaceChildren(...[["weight", "softmax weights"], ["weight_times_norm", "weights \u00d7 mean norm of the states"]]
    .map(([value, text]) => make("option", { value }, text)));
  for (const id of ["quality", "cost-axis"]) byId(id).addEventListener("change", drawCost);
  byId("weight-column").addEventListener("change", drawWeights);
  costKeys();
  drawCost();
  drawWeights();
  drawPaperTables();
}

/** The points of the chosen quality: [cost, value, model]. */
function costPoints() {
  const quality = paperData.cost.qualities.find((item) => item.key === byId("quality").value);
  const found = paperData.cost.points.filter((point) => quality.values[point.label] && point[byId("cost-axis").value] !== null);
  return { quality, found };
}

function costText(point, quality, random) {
  const value = random ? quality.random[point.label] : quality.values[point.label];
  const lines = [`${point.label}${random ? ", random weights" : ""}`, `${quality.title}: ${number(value.mean)}` + (value.n > 1 ? ` [${number(value.low)} to ${number(value.high)}, ${value.over}]` : ` (${value.over})`)];
  if (value.layer) lines.push(`best layer ${value.layer}, ${milliseconds(value.stride_ms)} per frame`);
  lines.push(`${billions(point.macs_per_second)} per second of audio`, `${millions(point.parameters)} parameters`);
  if (!random && quality.random[point.label]) lines.push(`random weights: ${number(quality.random[point.label].mean)}`);
  if (quality.level !== null) lines.push(`fbank: ${number(quality.level)}`);
  return lines;
}

let costRail = [];

function drawCost() {
  if (!paperData || byId("cost").hidden) return;
  const { quality, found } = costPoints();
  const axis = costAxes[byId("cost-axis").value];
  const x = (point) => point[byId("cost-axis").value] / axis.scale;
  const host = byId("cost-plot");
  const text = css("--text");
  const traces = [];
  costRail = [];
  const xs = found.map(x);
  const [least, most] = [Math.min(...xs), Math.max(...xs)];
  const edge = (most - least || 1) * 0.18;
  if (quality.level !== null) traces.push({ x: [least - edge, most + edge], y: [quality.level, quality.level], mode: "lines", line: { color: css("--soft"), width: 1.4, dash: "dash" }, hovertemplate: `fbank: ${number(quality.level)}<extra></extra>` });
  for (const point of found) {
    const model = modelOf.get(point.label) || point;
    const bars = (value) => ({ type: "data", symmetric: false, array: [value.high - value.mean], arrayminus: [value.mean - value.low], color: colourOf(model), thickness: 1.3, width: 0 });
    const trace = (value, random) => {
      const lines = costText(point, quality, random);
      traces.push({
        x: [x(point)], y: [value.mean], mode: "markers", error_y: bars(value),
        marker: { symbol: model.symbol + (random ? "-open" : ""), size: random ? 9 : 12, color: colourOf(model), line: { color: random ? colourOf(model) : css("--ground"), width: random ? 1.4 : 1 } },
        text: [`<b>${escaped(lines[0])}</b><br>${lines.slice(1).map(escaped).join("<br>")}`], hovertemplate: "%{text}<extra></extra>",
      });
      costRail.push([traces.length - 1, lines]);
    };
    trace(quality.values[point.label], false);
    if (quality.random[point.label]) trace(quality.random[point.label], true);
  }
  const narrow = host.clientWidth < 520;
  const labels = narrow ? [] : apart(found.map((point) => ({ point, x: x(point), y: quality.values[point.label].mean })),
    traces.flatMap((trace) => trace.y), [(host.clientWidth - 64) / 1.36, 0.75 * host.clientHeight]);
  Plotly.newPlot(host, traces, {
    margin: { l: 52, r: 12, t: 10, b: 44 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", hoverdistance: 30,
    dragmode: false, font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: text },
    hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--line"), font: { color: text, size: 12 }, align: "left" },
    annotations: labels.map(({ point, x: left, y, shift, leftward }) => ({ x: left, y, text: escaped(point.label), showarrow: false, xanchor: leftward ? "right" : "left", xshift: leftward ? -9 : 9, yshift: shift, font: { size: 11, color: colourOf(modelOf.get(point.label) || point) } })),
    xaxis: { range: [least - edge, most + edge], title: { text: axis.title, font: { size: 11, color: css("--soft") } }, zeroline: false, showgrid: false, linecolor: css("--soft"), ticks: "outside", ticklen: 3, tickcolor: css("--soft") },
    yaxis: { title: { text: quality.axis, font: { size: 11, color: css("--soft") } }, gridcolor: css("--grid"), zeroline: false, nticks: 6 },
  }, { responsive: true, displayModeBar: false });
  byId("cost-caption").textContent = quality.note;
  drawCostTable(quality, found);
}

/** Labels moved up, in pixels, until none covers another: those that begin within a label's width of each other. */
function apart(labels, heights, [across, down]) {
  const range = (values) => [Math.min(...values), Math.max(...values) - Math.min(...values) || 1];
  const [left, width] = range(labels.map((label) => label.x));
  const [low, height] = range(heights);
  const placed = [];
  for (const label of [...labels].sort((a, b) => a.y - b.y)) {
    label.leftward = label.x > left + width / 2; /* stays within the chart */
    const reach = label.point.label.length * 6.4 + 12;
    const start = ((label.x - left) / width) * across - (label.leftward ? reach : 0);
    const at = { from: start, to: start + reach, y: ((label.y - low) / height) * down };
    const wanted = at.y;
    for (const other of placed) {
      const meets = at.from < other.to && other.from < at.to;
      if (meets && at.y < other.y + 13) at.y = other.y + 13;
    }
    placed.push(at);
    placed.sort((a, b) => a.y - b.y);
    label.shift = at.y - wanted;
  }
  return labels;
}

function drawCostTable(quality, found) {
  const head = make("tr", {}, ["Model", "GMAC per second", "Parameters (M)", quality.title, "Random weights"].map((name, at) => make("th", { scope: "col", class: at ? null : "text pin" }, name)));
  const cell = (value) => (value ? make("td", {}, number(value.mean), value.layer ? make("small", {}, value.layer) : null, value.n > 1 ? make("small", {}, `${number(value.low)}\u2013${number(value.high)}`) : null) : make("td", { class: "empty" }, "\u2013"));
  const rows = found.map((point) => make("tr", {}, make("th", { scope: "row", class: "text pin" }, swatch(modelOf.get(point.label) || point), " ", unbroken(point.label)),
    make("td", {}, (point.macs_per_second / 1e9).toFixed(3)), make("td", {}, (point.parameters / 1e6).toFixed(2)), cell(quality.values[point.label]), cell(quality.random[point.label])));
  byId("cost-table").replaceChildren(table("", head, rows, { label: "Cost and quality" }));
}

function costKeys() {
  const host = byId("cost-plot");
  let place = -1;
  host.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.key === "Escape") Plotly.Fx.unhover(host);
    if (!(event.key in moves) || !costRail.length || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    place = (place + moves[event.key] + costRail.length) % costRail.length;
    const [curveNumber, lines] = costRail[place];
    Plotly.Fx.hover(host, [{ curveNumber, pointNumber: 0 }]);
    byId("cost-live").textContent = lines.join(". ");
  });
  host.addEventListener("blur", () => { if (host.data) Plotly.Fx.unhover(host); });
}

/** A map of layers (the last on top) by tasks; the share of the largest weight as the depth of the colour. */
function weightMap(map, column) {
  const top = Math.max(...paperData.weights.flatMap((item) => item.layers.flatMap((layer) => layer[column] || []).filter((value) => value !== null).map((value) => value.mean)));
  const rows = [...map.layers].reverse().map((layer, at, all) => {
    const seam = at > 0 && all[at - 1].stride_ms !== layer.stride_ms;
    return make("tr", { class: seam ? "seam" : null }, make("th", { scope: "row", class: "text" }, layer.name, make("small", {}, ` ${milliseconds(layer.stride_ms)}`)),
      layer[column].map((value, task) => {
        if (value === null) return make("td", { class: "empty" });
        const share = value.mean / top;
        const about = value.n > 1 ? `, ${number(value.low)} to ${number(value.high)} over ${value.n} probes` : "";
        return make("td", { class: share > 0.6 ? "strong" : null, style: `background:rgba(${css("--tint")},${(0.92 * share).toFixed(3)})`, title: `${map.model}, ${layer.name}, ${map.tasks[task].toUpperCase()}: ${number(value.mean)}${about}` },
          value.mean.toFixed(2).replace(/^0/, ""));
      }));
  });
  const head = make("tr", {}, make("th", { class: "text", scope: "col" }, "Layer"), map.tasks.map((task) => make("th", { scope: "col" }, task.toUpperCase())));
  const caption = [...unbroken(map.model), make("small", {}, map.published ? `published, ${map.source}` : `here, ${map.probes}`)];
  return make("div", { class: "map", tabindex: 0, role: "region", "aria-label": `Layer weights, ${map.model}, ${map.published ? "published" : "here"}` },
    make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, rows)));
}

function drawWeights() {
  if (!paperData || byId("weights").hidden) return;
  const column = byId("weight-column").value;
  byId("weights-lead").textContent = paperData.weight_remarks.join(" ");
  const maps = paperData.weights.filter((map) => map.layers[0][column]);
  const row = (published) => maps.filter((map) => map.published === published).map((map) => weightMap(map, column));
  byId("weight-maps").replaceChildren(make("div", { class: "row-of-maps" }, row(false)), make("div", { class: "row-of-maps published" }, row(true)));
}

function drawPaperTables() {
  byId("paper-tables").replaceChildren(...paperData.tables.map((each) => {
    const head = make("tr", {}, each.heads.map((name, at) => make("th", { scope: "col", class: at ? null : "text pin" }, name)));
    const rows = each.groups.flatMap((group) => [
      group.title ? make("tr", { class: "group" }, make("th", { colspan: each.heads.length, scope: "rowgroup", class: "text" }, group.title)) : null,
      ...group.rows.map((row) => make("tr", { class: group.published ? "published" : null }, row.map((value, at) => (at ? make("td", {}, value) : make("th", { scope: "row", class: "text pin" }, unbroken(value)))))),
    ].filter(Boolean));
    return make("div", {}, make("h3", { class: "minor" }, each.title), make("p", { class: "caption" }, each.caption), table("", head, rows, { label: each.title, whole: true }));
  }));
  byId("paper-figures").replaceChildren(...paperData.figures.map((figure) => make("figure", { "data-figure": figure.name },
    make("img", { src: figure.image, alt: figure.alt, width: figure.width, height: figure.height }),
    make("figcaption", {}, figure.title, make("span", { class: "screen-only" }, " ",
      ["pdf", "png", "csv"].flatMap((suffix) => [make("a", { href: `figures/${figure.name}.${suffix}` }, suffix.toUpperCase()), " "]))))));
}

/** What made a reproduction, to be copied. */
function drawConfiguration() {
  if (!paperData) return [];
  return [make("div", {}, make("h3", {}, "Reproduction"), make("dl", { class: "words" }, make("dt", {}, "Command"), make("dd", {}, make("code", {}, paperData.command))),
    ...copyable("Configuration", JSON.stringify(paperData.config, null, 2)))];
}

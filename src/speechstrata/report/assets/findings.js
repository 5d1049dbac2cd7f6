/* The findings of a reproduction: verdicts, and the statistics that they rest on, each with its interval drawn. */

const paperData = report.paper;
const verdictSigns = { supported: "\u2713", contradicted: "\u2717", "not resolved": "?" };
const expectations = { zero: "no difference", positive: "above 0", negative: "below 0" };

function badge(verdict) {
  const kind = verdict.replace(" ", "-");
  return make("span", { class: `badge ${kind}` }, make("span", { "aria-hidden": "true" }, verdictSigns[verdict] || "?"), verdict);
}

/** A number with as many digits as its size asks for, with a true minus sign. */
function plain(value) {
  if (value === null || value === undefined) return "\u2013";
  const size = Math.abs(value);
  const text = size !== 0 && size < 0.0005 ? size.toExponential(1) : size >= 100 ? size.toFixed(0) : size >= 10 ? size.toFixed(1) : size.toFixed(3);
  return value < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
}

/** Log ratios also in per cent, which is how people read them. */
function percent(statistic, value) {
  if (statistic.unit !== "log ratio" || value === null) return "";
  const change = 100 * (Math.exp(value) - 1);
  return ` (${change < 0 ? "\u2212" : "+"}${Math.abs(change).toFixed(Math.abs(change) < 10 ? 1 : 0)}%)`;
}

function expected(statistic) {
  const text = expectations[statistic.expected] || statistic.expected;
  return statistic.margin === null ? text : `${text} (margin ${plain(statistic.margin)})`;
}

/** What the interval covers: seeds, sample sets, speakers; and what it does not. */
function covers(statistic) {
  const some = (value, one) => `${value} ${one}${value === 1 ? "" : "s"}`;
  const parts = [];
  if (statistic.n_seeds) parts.push(some(statistic.n_seeds, "training seed"));
  if (statistic.n_sample_sets) parts.push(some(statistic.n_sample_sets, statistic.corpus === null ? "probe seed" : "sample set"));
  if (statistic.n_speakers) parts.push(`${statistic.n_speakers} groups of speakers`);
  if (!parts.length) return "Nothing varies: it follows from the configurations";
  const text = `${100 * statistic.level}% interval over ${parts.join(", ")}`;
  return statistic.lacks.length ? `${text}; does not cover ${statistic.lacks.join(", ")}` : text;
}

/** The axis that the statistics of one unit share: symmetric enough to hold 0 and everything drawn. */
function span(statistics) {
  const values = statistics.flatMap((item) => [item.estimate, item.low, item.high, item.published, ...item.values.map((each) => each.value),
    ...(item.margin === null ? [] : [item.margin, -item.margin])]).filter((value) => value !== null);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const edge = (high - low || 1) * 0.06;
  return [low - edge, high + edge];
}

const forestSize = [240, 30];

/** An interval as a drawing: margin as a band, 0 as a line, seeds as dots, the estimate as a mark, the paper's value as a diamond. */
function forest(statistic, [low, high]) {
  const [width, height] = forestSize;
  const at = (value) => Number((((value - low) / (high - low)) * width).toFixed(2));
  const middle = height / 2;
  const line = (x1, x2, y1, y2, kind) => make("line", { x1, x2, y1, y2, class: kind });
  const svg = make("svg", { class: `forest ${statistic.verdict.replace(" ", "-")}`, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": inWords(statistic) });
  svg.append(make("title", {}, inWords(statistic)));
  if (statistic.margin !== null) {
    const [left, right] = [at(Math.max(low, -statistic.margin)), at(Math.min(high, statistic.margin))];
    svg.append(make("path", { class: "margin", d: `M${left} 0H${right}V${height}H${left}z` }));
  }
  svg.append(line(at(0), at(0), 0, height, "zero"));
  if (statistic.estimate !== null) {
    if (statistic.low !== null) svg.append(line(at(statistic.low), at(statistic.high), middle, middle, "interval"));
    for (const { value } of statistic.values) svg.append(make("circle", { cx: at(value), cy: middle + 8, r: 1.8, class: "seed" }));
    svg.append(make("circle", { cx: at(statistic.estimate), cy: middle, r: 4.2, class: statistic.decisive ? "estimate" : "estimate beside" }));
  }
  if (statistic.published !== null) {
    const x = at(statistic.published);
    svg.append(make("path", { class: "published", d: `M${x} ${middle - 12}l4.5 4.5-4.5 4.5-4.5-4.5z` }));
  }
  return svg;
}

function inWords(statistic) {
  if (statistic.estimate === null) return `${statistic.name}: not computed`;
  const interval = statistic.low === null ? "" : `, ${plain(statistic.low)} to ${plain(statistic.high)}`;
  const paper = statistic.published === null ? "" : `; published ${plain(statistic.published)}`;
  return `${statistic.name}: ${plain(statistic.estimate)}${interval} ${statistic.unit}${percent(statistic, statistic.estimate)}${paper}`;
}

/** A score that the evidence names, so that its curves can be shown. */
function scoreIn(statistic) {
  const text = statistic.evidence.join(" ");
  return report.scores.map((score) => score.name).sort((a, b) => b.length - a.length)
    .find((name) => text.split(/[^a-z-]+/).includes(name));
}

/** Show one score's curves, and go there. */
function showScore(name) {
  for (const input of byId("form").querySelectorAll("input[name=score]")) input.checked = input.value === name;
  readChoices();
  draw();
  const plot = byId("charts").querySelector(".plot");
  if (plot) plot.focus({ preventScroll: true });
  byId("explore").scrollIntoView();
}

function statisticRow(statistic, axis) {
  const pairs = [
    ["Definition", statistic.definition],
    ["Why this verdict", statistic.reason],
    ["The claim expects", expected(statistic)],
    ["Covers", statistic.estimate === null ? "" : covers(statistic)],
    ["Seeds", statistic.values.map((each) => `${each.seed}: ${plain(each.value)}`).join(", ")],
    ["Published", statistic.published === null ? "" : `${plain(statistic.published)} (${statistic.published_source}); no part of the estimate`],
    ["Evidence", statistic.evidence.length ? make("ul", {}, statistic.evidence.map((text) => make("li", {}, text))) : ""],
  ].filter(([, value]) => value);
  const score = scoreIn(statistic);
  const where = [statistic.corpus, statistic.role === "replication" ? "replication" : null].filter(Boolean).join(", ");
  return make("div", { class: "statistic" },
    make("div", { class: "name" }, statistic.name, where ? make("small", {}, where) : null),
    forest(statistic, axis),
    make("div", { class: "value" }, make("b", {}, plain(statistic.estimate)), percent(statistic, statistic.estimate),
      statistic.low === statistic.high ? null : make("small", {}, `${plain(statistic.low)} to ${plain(statistic.high)}`)),
    make("div", { class: "ruling" }, badge(statistic.verdict)),
    make("details", {}, make("summary", {}, `Expected: ${expected(statistic)}`), make("dl", { class: "words" },
      pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    score ? make("button", { type: "button", class: "screen-only", onclick: () => showScore(score) }, `Show the curves of ${score}`) : null));
}

/** Statistics of one unit on one axis, with its ends written above. */
function statisticGroup(unit, list) {
  const axis = span(list);
  return make("div", { class: "statistics" },
    make("div", { class: "scale" }, make("span", { class: "name" }, unit),
      make("span", { class: "ends" }, make("span", {}, plain(axis[0])), make("span", {}, plain(axis[1])))),
    list.map((statistic) => statisticRow(statistic, axis)));
}

function statisticGroups(list) {
  return [...grouped(list, (statistic) => statistic.unit)].map(([unit, own]) => statisticGroup(unit, own));
}

function claimCard(claim, number) {
  const decisive = claim.statistics.filter((item) => item.decisive && item.role !== "replication");
  const others = claim.statistics.filter((item) => !decisive.includes(item));
  const head = [make("div", { class: "claim-head" }, number ? make("span", { class: "number" }, `Finding ${claim.id}`) : null, badge(claim.verdict),
    make("span", { class: "source" }, claim.source))];
  const reason = make("p", { class: "reason" }, claim.reason);
  const evidence = [
    ...(decisive.length ? statisticGroups(decisive) : []),
    others.length ? make("details", { class: "others" }, make("summary", {}, `${others.length} further statistic${others.length === 1 ? "" : "s"}, which do not decide`), statisticGroups(others)) : null,
  ];
  if (number) return make("article", { class: "claim", "data-finding": claim.id }, head, make("h3", {}, claim.claim), reason, evidence);
  return make("article", { class: "claim small", "data-claim": claim.id }, head, make("p", { class: "statement" }, claim.claim), reason,
    claim.statistics.length ? make("details", { class: "others" }, make("summary", {}, `${claim.statistics.length} statistic${claim.statistics.length === 1 ? "" : "s"}`), statisticGroups(claim.statistics)) : null);
}

function drawFindings() {
  const { design, findings, claims } = paperData;
  const lead = byId("findings-lead");
  lead.replaceChildren("Each finding rests on statistics stated beforehand: a difference, its interval, and the margin that counts as none. ",
    "Filled marks decide; hollow ones stand beside. Small dots are training seeds, hollow diamonds the paper\u2019s own values, which enter no estimate.");
  byId("findings-rules").replaceChildren(make("summary", {}, "How intervals and verdicts are made"), make("p", {}, design.interval), make("p", {}, design.verdict_rules));
  byId("findings-list").replaceChildren(...findings.map((finding) => claimCard(finding, true)));
  byId("claims-list").replaceChildren(...claims.map((claim) => claimCard(claim, false)));
  byId("claims-title").hidden = !claims.length;
}

/** On paper nothing can be unfolded: the further statistics are. */
function openForPrint(on) {
  for (const details of document.querySelectorAll("details.others")) {
    if (on) { details.dataset.was = details.open; details.open = true; }
    else if ("was" in details.dataset) { details.open = details.dataset.was === "true"; delete details.dataset.was; }
  }
}

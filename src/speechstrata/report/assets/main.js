/* Choices, theme and print; then the first drawing. */

function check(name, value, on, ...content) {
  return make("label", { class: "check" }, make("input", { type: "checkbox", name, value, checked: on }), make("span", {}, content));
}

function drawChoices() {
  byId("pick-models").replaceChildren(...report.models.map((model) => {
    const label = check("model", model.label, chosen.models.has(model.label), swatch(model), model.label);
    if (model.control && model.control_of !== null) label.classList.add("child");
    return label;
  }));
  const scores = byId("pick-scores");
  scores.replaceChildren();
  for (const [unit, list] of grouped(report.scores, (score) => score.unit)) {
    scores.append(check("unit", unit, true, make("b", {}, `per ${unit}`)),
      ...list.map((score) => {
        const label = check("score", score.name, chosen.scores.has(score.name), score.title);
        label.classList.add("child");
        return label;
      }));
  }
  byId("pick-variants").replaceChildren(...report.variants.map((variant) => check("variant", variant.name, chosen.variants.has(variant.name), variant.title)));
  byId("variants-set").hidden = report.variants.length < 2;
  const axes = [["layers", "layers"], ["depth", "depth (share of the layers)"]].concat(allSteps.length > 1 ? [["steps", "training steps"]] : []);
  byId("axis").replaceChildren(...axes.map(([value, text]) => make("option", { value }, text)));
  byId("step").replaceChildren(make("option", { value: "last" }, "the last"), ...allSteps.map((step) => make("option", { value: step }, count(step))));
  byId("step-label").hidden = allSteps.length < 2;
  byId("taps-label").hidden = !points.some((point) => point.tap);
}

/** The scores of a unit are switched together by its box, which says whether all, some or none are on. */
function unitBoxes() {
  return [...byId("form").querySelectorAll("input[name=unit]")].map((box) => [box,
    report.scores.filter((score) => score.unit === box.value).map((score) => [...byId("form").querySelectorAll("input[name=score]")].find((input) => input.value === score.name))]);
}

function markUnits() {
  for (const [box, inputs] of unitBoxes()) {
    const on = inputs.filter((input) => input.checked).length;
    box.checked = on === inputs.length;
    box.indeterminate = on > 0 && on < inputs.length;
  }
}

function readChoices() {
  const all = (name) => new Set([...byId("form").querySelectorAll(`input[name=${name}]:checked`)].map((input) => input.value));
  markUnits();
  chosen.models = all("model");
  chosen.scores = all("score");
  if (report.variants.length > 1) chosen.variants = all("variant");
  chosen.axis = byId("axis").value;
  chosen.step = byId("step").value;
  for (const name of ["spread", "taps", "conv", "zero"]) chosen[name] = byId(name).checked;
}

function draw() {
  drawLegend();
  drawCharts();
  drawValues();
}

function drawFacts() {
  const fact = (name, value) => make("li", {}, `${name} `, make("b", {}, value));
  const facts = [];
  for (const setting of report.settings) {
    const corpus = setting.corpus;
    facts.push(fact("Corpus", corpus.name + (corpus.hours === null ? "" : `, ${corpus.hours.toFixed(1)} h`) + speakersOf(corpus)), fact("Protocol", setting.protocol.name));
  }
  const controls = report.models.length - encoders.length;
  facts.push(fact("Encoders", `${encoders.length}`), fact("Controls", `${controls || "none"}`));
  if (report.paper) facts.unshift(fact("Scale", report.paper.scale));
  if (report.runs.length) facts.push(fact("Made", report.runs.map((run) => run.created.slice(0, 10)).sort().pop()));
  byId("facts").replaceChildren(...facts);
}

const themes = ["auto", "dark", "light"];
const remembered = () => { try { return localStorage.getItem("speechstrata-theme"); } catch { return null; } };
function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  byId("theme").textContent = `Theme: ${name}`;
}

/** Draw again in the colours of the theme. */
function redraw() {
  drawCost();
  for (const [label, model] of modelOf) {
    const input = [...byId("form").querySelectorAll("input[name=model]")].find((item) => item.value === label);
    input.parentElement.querySelector("svg").replaceWith(swatch(model));
  }
  draw();
}

setTheme(themes.includes(remembered()) ? remembered() : "auto");
drawFacts();
drawGlance();
drawChoices();
markUnits();
drawPaper();
drawGlossary();
drawProblems();
drawOrigin();
if (window.matchMedia("(max-width: 60rem)").matches) byId("choices").open = false;
draw();

byId("form").addEventListener("change", (event) => {
  if (event.target.name === "unit") {
    const [, inputs] = unitBoxes().find(([box]) => box === event.target);
    for (const input of inputs) input.checked = event.target.checked;
  }
  readChoices();
  draw();
});
byId("form").addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-all], [data-none]")) {
  button.addEventListener("click", () => {
    const name = button.dataset.all || button.dataset.none;
    for (const input of byId("form").querySelectorAll(`input[name=${name}]`)) input.checked = Boolean(button.dataset.all);
    readChoices();
    draw();
  });
}
byId("download").addEventListener("click", downloadCsv);
byId("print").addEventListener("click", () => window.print());
byId("theme").addEventListener("click", () => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme || "auto") + 1) % themes.length];
  try { localStorage.setItem("speechstrata-theme", next); } catch { /* a page from a file may not be allowed to remember */ }
  setTheme(next);
  redraw();
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

/* Paper is white, and a chart's width on it is not the window's: A4 less its margins is 695 CSS pixels. */
const paper = 695;
let themeBefore = null;
window.addEventListener("beforeprint", () => {
  themeBefore = document.documentElement.dataset.theme || "auto";
  setTheme("light");
  document.documentElement.classList.add("printing");
  document.body.style.width = `${paper}px`;
  openForPrint(true);
  drawCost();
  draw();
});
window.addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  document.body.style.width = "";
  setTheme(themeBefore || "auto");
  openForPrint(false);
  redraw();
});

// Shows one label or pair after another, and sends each decision at once.
"use strict";

const PAIR = [["same", "The same slice", "S"], ["different", "Not the same", "D"]];
const EVIDENCE = {
  source: "Its source gives it another class.",
  copies: "A copy of it is under another class.",
  model: "Models that were not trained on it doubt its class.",
};
let desk;
let list = "labels";
const places = { labels: 0, pairs: 0 };

const items = () => desk[list];
const item = () => items()[places[list]];

function figure(picture, title, path, ...facts) {
  const lines = facts.map((fact) => make("span", {}, fact));
  const caption = make("figcaption", {}, make("b", {}, title), ...lines, make("span", { title: path }, path));
  return make("figure", {}, make("img", { src: picture, alt: path }), caption);
}

function sentence({ evidence, confidence, class: name, suggested, paths }) {
  const sure = confidence === null ? "" : ` They give ${name} ${percent(confidence)}.`;
  const copies = paths.length > 1 ? ` ${paths.length} copies of it are under this class, and are judged with it.` : "";
  return `${EVIDENCE[evidence]} Perhaps ${suggested}.${evidence === "model" ? sure : ""}${copies}`;
}

async function labelView(own) {
  const { picture, beside } = await ask(`label?${new URLSearchParams({ path: own.paths[0] })}`);
  const others = beside.map((each) => figure(each.picture, each.class, each.path, each.relation));
  return [
    make("h2", {}, `Is this ${own.class}?`),
    make("p", { class: "sure" }, sentence(own)),
    make("div", { class: "judged" }, figure(picture, own.class, own.paths[0]), make("div", { class: "row" }, ...others)),
  ];
}

async function pairView(own) {
  const [a, b] = own.paths;
  const { pictures } = await ask(`pair?${new URLSearchParams({ a, b, kind: own.kind ?? "" })}`);
  const kind = own.kind?.replaceAll("_", " ") ?? "near";
  const turned = { near: "as it is", exact: "as it is", aligned: "as it is; perhaps turned, cropped or shifted" }[kind] ?? `${kind}, turned back`;
  const figures = [figure(pictures[0], own.classes[0], a), figure(pictures[1], own.classes[1], b, turned)];
  if (pictures[2]) figures.push(figure(pictures[2], "Difference", "black where both are alike"));
  const group = own.files > 2 ? ` ${own.files} files are copies of each other by way of this pair.` : "";
  const facts = own.correlation ? `Correlation ${own.correlation.toFixed(4)}.${group}` : "Not a pair of copies in this run.";
  return [make("h2", {}, "Do both show the same slice?"), make("p", { class: "sure" }, facts), make("div", { class: "row pair" }, ...figures)];
}

function choices() {
  const own = item();
  const classes = desk.classes.filter((name) => name !== own.class);
  const of_label = [
    ["right", "", `Right: ${own.class}`, "R"],
    ...classes.map((name, place) => ["wrong", name, `It is ${name}`, String(place + 1)]),
    ["wrong", "", "Leave it out", "X"],
  ];
  const all = list === "labels" ? of_label : PAIR.map(([decision, text, key]) => [decision, "", text, key]);
  return own.decided ? [...all, ["undone", "", "Undo", "U"]] : all;
}

function buttons() {
  const { decided } = item();
  return choices().map(([decision, name, text, key]) => {
    const isOwn = decided?.decision === decision && decided.class_name === name;
    const button = make("button", { type: "button", "aria-pressed": isOwn, class: isOwn ? "main" : null }, text, " ", make("kbd", {}, key));
    button.addEventListener("click", () => decide(decision, name));
    return button;
  });
}

function tell(problem = "") {
  byId("problem").textContent = problem;
  byId("problem").hidden = !problem;
}

async function send(rows) {
  try {
    await ask("decide", { method: "POST", body: JSON.stringify(rows), headers: { "Content-Type": "application/json" } });
    tell();
    return true;
  } catch (error) {
    tell(`This was not kept: ${error.message}`);
    return false;
  }
}

async function decide(decision, name) {
  const own = item();
  const rows = list === "labels" ? own.paths.map((path) => [path, "", decision, name]) : [[...own.paths, decision, name]];
  if (!await send(rows)) return;
  own.decided = decision === "undone" ? null : { decision, class_name: name };
  byId("kept").textContent = `Kept: ${fileName(own.paths[0])} is ${name ? `wrong, ${name}` : decision}.`;
  if (decision !== "undone") toUndecided();
  await show();
}

// Goes on to the next one without a decision; stays where there is none.
function toUndecided() {
  const all = items(), start = places[list];
  for (let step = 1; step <= all.length; step++) {
    const place = (start + step) % all.length;
    if (!all[place].decided) { places[list] = place; return; }
  }
}

function counts() {
  for (const name of ["labels", "pairs"]) {
    const done = desk[name].filter((each) => each.decided).length;
    byId(name).textContent = `${name === "labels" ? "Suspect labels" : "Doubtful copies"}: ${done} of ${desk[name].length} decided`;
  }
}

async function show() {
  counts();
  const own = item();
  byId("item").setAttribute("aria-busy", "true");
  if (!own) {
    byId("item").replaceChildren(make("p", {}, "There is nothing to judge here."));
    byId("decide").replaceChildren();
    byId("place").textContent = "";
  } else {
    const view = await (list === "labels" ? labelView(own) : pairView(own)).catch((error) => [make("p", {}, error.message)]);
    if (own !== item()) return; // another one was asked for in the meantime
    byId("item").replaceChildren(...view);
    byId("decide").replaceChildren(...buttons());
    byId("place").textContent = `${places[list] + 1} of ${items().length}`;
  }
  byId("item").setAttribute("aria-busy", "false");
}

function move(step) {
  const last = items().length - 1;
  places[list] = Math.max(0, Math.min(last, places[list] + step));
  return show();
}

function choose(name) {
  list = name;
  document.querySelector(`[name=list][value=${name}]`).checked = true;
  return show();
}

function showGone() {
  byId("gone").hidden = !desk.gone.length;
  byId("others").replaceChildren(...desk.gone.map((each) => {
    const { path, other, decision, class_name: name } = each;
    const button = make("button", { type: "button" }, "Undo");
    button.addEventListener("click", async () => {
      if (!await send([[path, other, "undone", ""]])) return;
      desk.gone = desk.gone.filter((one) => one !== each);
      showGone();
    });
    const left = decision === "wrong" && !name ? "left out" : decision;
    return make("li", {}, `${[path, other].filter(Boolean).join(" and ")}: ${name || left} `, button);
  }));
}

function listen() {
  byId("back").addEventListener("click", () => move(-1));
  byId("next").addEventListener("click", () => move(1));
  for (const input of document.querySelectorAll("[name=list]")) input.addEventListener("change", () => choose(input.value));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("item").getAttribute("aria-busy") === "true") return;
    const key = event.key.toUpperCase();
    if (key === "J" || key === "K") move(key === "J" ? 1 : -1);
    const chosen = item() && choices().find((each) => each[3] === key);
    if (chosen) decide(chosen[0], chosen[1]);
  });
}

async function start() {
  desk = await ask("items");
  byId("decisions").textContent = desk.file;
  for (const name of ["pairs", "labels"]) {
    list = name;
    if (item()?.decided) toUndecided();
  }
  listen();
  showGone();
  await show();
}

start().catch((error) => tell(error.message));

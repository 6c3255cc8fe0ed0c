// The page asks its own server only, and keeps nothing.
"use strict";

const megabytes = (bytes) => `${bytes / 2 ** 20}\u00a0MB`;

let model;
let latest = 0;

// Shows what `request` brings, unless something else was asked for in the meantime.
async function show(name, request) {
  const own = ++latest;
  byId("busy").hidden = false;
  byId("answer").setAttribute("aria-busy", "true");
  try {
    const answer = await request();
    if (own !== latest) return null;
    showScan(answer);
    showAnswer(answer);
    return answer;
  } catch (error) {
    if (own === latest) showError(name, error);
    return null;
  } finally {
    if (own === latest) {
      byId("busy").hidden = true;
      byId("answer").setAttribute("aria-busy", "false");
      byId("said").scrollIntoView({ block: "nearest" });
    }
  }
}

function classify(file, frame = null) {
  markTest(null);
  const query = new URLSearchParams({ name: file.name });
  if (frame) query.set("frame", frame);
  const options = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } };
  return show(file.name, () => {
    if (file.size > model.limit) throw new Error(`${file.name}: it is larger than ${megabytes(model.limit)}, which is the most that is taken here`);
    return ask(`predict?${query}`, options);
  }).then(() => { if (byId("frame")) askFrame(file); });
}

function showScan(answer) {
  byId("stage").classList.add("shown");
  byId("picture").src = answer.picture;
  byId("picture").alt = `The scan ${answer.path} as the model sees it`;
  byId("picture").hidden = false;
  byId("name").textContent = fileName(answer.path);
  byId("name").title = answer.path;
  byId("under").hidden = false;
  byId("explained").hidden = !answer.heat;
  if (answer.heat) {
    byId("heat").src = answer.heat;
    byId("heat").alt = `Heat map of what the answer ${answer.class} draws on`;
  }
  showHeat();
}

function showHeat() {
  byId("heat").hidden = byId("explained").hidden || !byId("heated").checked;
}

function showAnswer(answer) {
  byId("said").replaceChildren(
    ...verdict(answer),
    ...truth(answer),
    make("p", { class: "sure" }, sure(answer.error_rate)),
    make("p", { class: "research said-research" }, "For research. Not for diagnosis."),
    ...warnings(answer),
  );
  byId("details").replaceChildren(bars(answer), nearest(answer.nearest));
}

function verdict({ class: said, confidence, refer }) {
  if (!refer) return [make("div", { class: "verdict" }, make("h2", {}, said), make("p", { class: "share" }, percent(confidence)))];
  const why = `Too unsure to answer: the likeliest class is ${said}, with ${percent(confidence)}. ${model.promise}`;
  return [make("div", { class: "verdict" }, make("h2", {}, "Refer")), make("p", { class: "referred" }, why)];
}

function truth({ truth: known, class: said, refer }) {
  if (!known) return [];
  if (refer) return [make("p", { class: "truth" }, `True class: ${known}.`)];
  const right = known === said;
  const text = `True class: ${known}. The model is ${right ? "right" : "wrong"}.`;
  return [make("p", { class: `truth ${right ? "right" : "wrong"}` }, text)];
}

function sure(errors) {
  if (!errors) return "Test scans do not say how often the model is wrong about such a picture.";
  const { share, low, high, scans } = errors;
  const between = low === null ? "" : ` (95\u00a0% interval ${percent(low, 0)} to ${percent(high, 0)})`;
  const range = `${(100 * errors.confidence_from).toFixed(1)} to ${percent(errors.confidence_to)}`;
  return `Of ${scans} test scans with answers of ${range}, ${percent(share, 0)} were wrong${between}.`;
}

function warnings({ warnings: found, copy }) {
  if (!found.length) return [];
  const items = found.map(({ kind, text }) => {
    const sign = make("b", { "aria-hidden": "true" }, "!");
    const known = (kind === "copy" || kind === "known") && copy ? make("img", { src: copy.picture, alt: `The known scan ${copy.path}` }) : null;
    return make("li", { "data-kind": kind }, sign, make("span", {}, text[0].toUpperCase() + text.slice(1) + "."), known);
  });
  return [make("ul", { class: "warnings", "aria-label": "Warnings" }, ...items)];
}

function bars({ probabilities, class: said }) {
  const rows = Object.entries(probabilities).map(([name, share]) => {
    const bar = make("i");
    bar.style.width = `${100 * share}%`;
    const track = make("span", { class: "track", "aria-hidden": "true" }, bar);
    const value = make("span", { class: "value" }, percent(share));
    return make("li", { class: name === said ? "top" : null, "data-share": share }, make("span", {}, name), track, value);
  });
  return make("ul", { class: "bars", "aria-label": "Calibrated probabilities" }, ...rows);
}

function nearest(scans) {
  const figures = scans.map(({ class_name, path, picture, similarity }) => {
    const file = make("span", { title: path }, fileName(path));
    const caption = make("figcaption", {}, make("b", {}, class_name), make("span", {}, similarity.toFixed(3)), file);
    return make("figure", {}, make("img", { src: picture, alt: `Training scan ${path}` }), caption);
  });
  const hint = "By cosine similarity. That their classes agree is not a second opinion.";
  const row = make("div", { class: "row" }, ...figures);
  return make("div", { id: "nearest" }, make("h3", {}, "Nearest training scans"), make("p", { class: "hint" }, hint), row);
}

function showError(name, error) {
  byId("stage").classList.remove("shown");
  for (const id of ["picture", "heat", "under"]) byId(id).hidden = true;
  byId("details").replaceChildren();
  if (error.frames > 1) {
    const text = `${name} holds ${error.frames} frames. One of them is classified.`;
    byId("said").replaceChildren(make("h2", {}, "Which frame?"), make("p", { class: "sure" }, text));
    byId("details").replaceChildren(frameForm(error.frames));
    return;
  }
  const lines = [make("h2", {}, "There is no answer"), make("p", {}, error.message)];
  byId("said").replaceChildren(make("div", { class: "failed" }, ...lines));
}

function frameForm(count) {
  const input = make("input", { id: "frame", type: "number", min: 1, max: count, required: "" });
  const label = make("label", { for: "frame" }, `Frame, 1 to ${count}`);
  return make("form", { class: "frame" }, label, input, make("button", { class: "main" }, "Classify"));
}

function askFrame(file) {
  byId("frame").focus();
  byId("frame").form.addEventListener("submit", (event) => {
    event.preventDefault();
    classify(file, byId("frame").value);
  });
}

function markTest(button) {
  for (const each of byId("strip").querySelectorAll("[aria-current]")) each.removeAttribute("aria-current");
  button?.setAttribute("aria-current", "true");
}

async function tryTest(button, path) {
  markTest(button);
  const answer = await show(path, () => ask(`test-scan?${new URLSearchParams({ path })}`, { method: "POST" }));
  if (!answer) return;
  const [kind, mark] = answer.refer ? ["referred", "?"] : answer.truth === answer.class ? ["right", "✓"] : ["wrong", "✗"];
  const sign = make("b", { class: kind, "aria-label": kind, role: "img" }, mark);
  const image = button.querySelector("img");
  button.replaceChildren(image, sign, make("span", {}, answer.truth));
}

async function fillStrip() {
  const chosen = document.querySelector("#classes :checked").value;
  const { scans } = await ask(`test-scans?${new URLSearchParams({ class: chosen })}`);
  byId("strip").replaceChildren(...scans.map(({ path, picture: source }, place) => {
    const image = make("img", { src: source, alt: `Test scan ${place + 1}` });
    const button = make("button", { type: "button" }, image, make("span", {}, " "));
    button.addEventListener("click", () => tryTest(button, path));
    return make("li", {}, button);
  }));
}

function offerClasses() {
  for (const name of ["", ...model.classes]) {
    const input = make("input", { type: "radio", name: "class", value: name });
    input.checked = !name;
    input.addEventListener("change", fillStrip);
    byId("classes").append(make("label", {}, input, name || "Any class"));
  }
  byId("others").addEventListener("click", fillStrip);
  byId("tests").hidden = false;
  return fillStrip();
}

function take(files) {
  if (files.length) classify(files[0]);
}

function listen() {
  byId("another").htmlFor = "file";
  byId("heated").addEventListener("change", showHeat);
  byId("file").addEventListener("change", () => {
    take([...byId("file").files]);
    byId("file").value = "";
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    take(event.dataTransfer.files);
  });
}

async function start() {
  model = await ask("model");
  byId("model").textContent = `${model.folder} · ${model.classes.join(", ")}`;
  byId("caution").textContent = model.caution;
  byId("limit").textContent = megabytes(model.limit);
  if (model.colours.length) {
    byId("scale").style.background = `linear-gradient(90deg, ${model.colours.join(", ")})`;
    byId("promise").textContent = "Where in the scan the answer comes from, and the training scans most like it.";
  }
  listen();
  if (model.tests) await offerClasses();
}

start().catch((error) => showError("", error));

// "Why?" on a result: what of the query speaks for it and what against it, word by word and region by region.

import * as api from "./api.js";
import { titleOf } from "./cards.js";
import { $, ICONS, count, icon, make } from "./dom.js";
import { FULL, draw as drawMap } from "./maps.js";
import * as uploads from "./uploads.js";

const SLOW = 2500; // milliseconds until it is said that it takes longer

let dialog = null; // what the dialog is about: { item, step, signal, explanation, gradients, view, word, pinned, level, urls }
let stop = null;

export function open(item, step, where = {}) {
  $("why-title").textContent = `Why ${titleOf(item)}?`;
  $("why").showModal();
  begin(item, step, where);
}

async function begin(item, step, where) {
  stop?.abort();
  stop = new AbortController();
  const mine = (dialog = { item, step, where, signal: stop.signal, explanation: null, view: "regions", word: null, pinned: null, level: 0, urls: [] });
  $("why-place").textContent = "";
  const waiting = make("p", { role: "status" }, "Parts of the images are covered and words left out, one after the other …");
  $("why-body").replaceChildren(make("div", { class: "why-wait" }, make("div", { class: "bar" }), waiting));
  const slow = setTimeout(() => { waiting.textContent = "Still at it: it takes some hundred looks at the images …"; }, SLOW);
  try {
    const explanation = await ask({ images: true });
    if (mine !== dialog) return;
    mine.explanation = explanation;
    show();
  } catch (error) {
    if (mine === dialog && error.name !== "AbortError") failed(error);
  } finally {
    clearTimeout(slow);
  }
}

async function ask(more) {
  const { item, step, signal } = dialog;
  const question = { target: item.id, ...more };
  if (Object.keys(dialog.where ?? {}).length) question.where = dialog.where;
  if (step.text.trim()) question.text = [...step.earlier, step.text].join(" then ");
  if (step.id !== undefined) question.id = step.id;
  if (step.upload) {
    const image = await uploads.find(step.upload);
    if (!image) throw new api.Problem("lost", "The image that was searched from is kept in another browser. Close this, and choose it there.", 0);
    question.upload = image.blob;
  }
  return api.explain(question, signal);
}

function failed(error) {
  if (error.status === 401) {
    $("why").close();
    if (!$("locked").open) $("locked").showModal();
    return;
  }
  const titles = {
    unreachable: "No connection",
    overloaded: "Many ask why right now",
    timeout: "That took too long",
    unknown_item: "An image is not there any more",
    image_lost: "An image is not there any more",
    out_of_range: "This sentence is too long to be explained",
    lost: "The image of this step is not here",
  };
  if (!(error instanceof api.Problem)) console.error(error);
  const failure = make("div", { class: "state bad", role: "alert" }, make("span", { class: "mark" }, icon(ICONS.bad)),
    make("h3", {}, titles[error.code] ?? "This cannot be explained"), make("p", {}, sentence(error.message)));
  if (api.PASSING.has(error.code)) failure.append(make("button", { type: "button", class: "quiet", onclick: () => begin(dialog.item, dialog.step, dialog.where) }, "Try again"));
  $("why-body").replaceChildren(failure);
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");

// -- the explanation --------------------------------------------------------------------------------------------------

function signed(value) {
  const size = Math.abs(value);
  return size < 0.0005 ? "0.000" : (value < 0 ? "−" : "+") + size.toFixed(size < 0.0995 ? 3 : 2);
}

function show() {
  const { explanation, item, step } = dialog;
  const score = `score ${explanation.score.toFixed(2)}`;
  const within = explanation.rank_within ? `, ${count(explanation.rank_within)} of the ${count(explanation.items_within)} that your filters leave` : "";
  $("why-place").textContent = explanation.rank === null ? score : `Rank ${count(explanation.rank)} of ${count(explanation.items)}${within}, ${score}`;
  const parts = [];
  if (explanation.words.length) parts.push(make("section", { class: "why-said", "aria-labelledby": "why-words-title" }, make("h3", { id: "why-words-title" }, "The words"), make("p", { class: "lead", id: "why-words-lead" }), make("ul", { class: "why-words", id: "why-words" }), make("p", { class: "readout", id: "why-word" })));
  const figures = [];
  if (explanation.reference_image) figures.push(figure("reference", "The image that was searched from", explanation.reference_image, views()));
  if (explanation.target_image && explanation.target_regions) figures.push(figure("target", "The image that was found", explanation.target_image, null));
  if (figures.length) parts.push(make("div", { class: figures.length > 1 ? "why-figures" : "why-figures single" }, ...figures));
  const notes = explanation.notes.map(sentence);
  if (!explanation.target_image) notes.push("The image that was found is not there any more, so that nothing of it can be covered.");
  if (step.emphasis || step.unlike.length) notes.push(`The slider and “less like this” take no part in this: it is the search by image and sentence that is explained, so the score is not that of the list (${item.score?.toFixed(2) ?? "–"}).`);
  parts.push(make("div", { class: "why-foot" },
    make("p", {}, make("b", {}, "How to read this. "), "The effect of a part is what the score loses when the part is covered or left out: above 0 it speaks for this image, below 0 against it. ",
      make("b", {}, "Attention is a hint, the effect of covering is the evidence.")),
    ...notes.map((note) => make("p", {}, note))));
  $("why-body").replaceChildren(...parts);
  paintWords();
  paint("reference");
  paint("target");
}

function views() {
  const { explanation } = dialog;
  const names = [["regions", "Covering", "what covering each part does"], ["gradients", "Gradients", "what each part adds, by gradients"]];
  if (attention()) names.push(["attention", "Attention", "where the model looks"]);
  names.push(["plain", "None", "the image alone"]);
  const group = make("fieldset", { class: "views" }, make("legend", { class: "sr" }, "What is laid over the image"));
  for (const [name, label, about] of names) {
    const input = make("input", { type: "radio", name: "why-view", value: name, checked: name === dialog.view });
    input.addEventListener("change", () => look(name));
    group.append(make("label", { title: about }, input, make("span", {}, label)));
  }
  const levels = new Set((explanation.word_maps?.maps ?? []).map((one) => one.level)).size;
  if (levels < 2) return group;
  const choose = make("select", { id: "why-level", "aria-label": "Level of the feature maps whose attention is shown" });
  for (let level = 0; level < levels; level += 1) choose.append(make("option", { value: level }, `level ${level + 1}`));
  choose.addEventListener("change", () => {
    dialog.level = Number(choose.value);
    paint("reference");
  });
  group.append(choose);
  return group;
}

function figure(name, title, content, controls) {
  const url = URL.createObjectURL(blobOf(content));
  dialog.urls.push(url);
  const image = make("img", { id: `why-${name}-image`, alt: title });
  const canvas = make("canvas", { id: `why-${name}-map`, "aria-hidden": "true" });
  const frame = make("div", { class: "frame" }, image, canvas, make("span", { class: "tag", id: `why-${name}-tag`, "aria-hidden": "true" }));
  image.addEventListener("load", () => {
    frame.parentElement.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
    paint(name);
  });
  image.src = url;
  frame.addEventListener("pointermove", (event) => point(name, frame, event));
  frame.addEventListener("pointerleave", () => point(name, frame, null));
  const parts = [make("h3", {}, title)];
  if (controls) parts.push(controls);
  parts.push(frame, make("div", { class: "key", id: `why-${name}-key` }), make("p", { class: "meaning", id: `why-${name}-meaning`, "aria-live": name === "reference" ? "polite" : "off" }));
  return make("figure", { class: "why-figure" }, ...parts);
}

function blobOf(url) { // the page's policy allows images from here alone, and no data: addresses
  const bytes = atob(url.slice(url.indexOf(",") + 1));
  return new Blob([Uint8Array.from(bytes, (letter) => letter.charCodeAt(0))], { type: "image/png" });
}

async function look(view) {
  const mine = dialog;
  mine.view = view;
  paintWords();
  paint("reference");
  if (view !== "gradients" || mine.gradients || mine.waiting) return;
  mine.waiting = true;
  try {
    mine.gradients = await ask({ methods: ["gradients"] });
  } catch (error) {
    if (error.name === "AbortError" || mine !== dialog) return;
    mine.wrong = sentence(error.message);
  } finally {
    mine.waiting = false;
  }
  if (mine !== dialog) return;
  paintWords();
  paint("reference");
  mine.wrong = null;
}

// -- words ------------------------------------------------------------------------------------------------------------

function paintWords() {
  const list = $("why-words");
  if (!list) return;
  const added = dialog.view === "gradients" && dialog.gradients;
  const words = added ? dialog.gradients.words : dialog.explanation.words;
  const valueOf = (word) => (added ? word.gradient : word.effect);
  const most = Math.max(FULL, ...words.map((word) => Math.abs(valueOf(word) ?? 0)));
  $("why-words-lead").textContent = added ? "What each adds to the score, by gradients." : "What the score loses without each.";
  if (!list.children.length) list.append(...words.map((word, row) => make("li", {}, wordButton(word, row))));
  [...list.querySelectorAll("button")].forEach((button, row) => {
    const word = words[row];
    const value = valueOf(word);
    const tone = !word.read ? "unread" : value === null || value === 0 ? "none" : value > 0 ? "for" : "against";
    button.className = `word ${tone}`;
    button.style.setProperty("--strength", value === null ? 0 : Math.abs(value) / most);
    const number = !word.read ? "not known" : value === null ? "all there is" : signed(value);
    button.querySelector("small").textContent = number;
    button.setAttribute("aria-label", `${word.text}: ${spoken(word, value, added)}`);
    button.setAttribute("aria-pressed", dialog.pinned === row);
  });
  readout();
}

function wordButton(word, row) {
  const button = make("button", { type: "button" }, make("span", {}, word.text), make("small", {}));
  const on = () => pointed(row);
  const off = () => pointed(dialog.pinned);
  button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && on());
  button.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && off());
  button.addEventListener("focus", on);
  button.addEventListener("blur", off);
  button.addEventListener("click", () => {
    dialog.pinned = dialog.pinned === row ? null : row;
    paintWords();
    pointed(row);
  });
  return button;
}

function pointed(row) {
  dialog.word = row;
  readout();
  paint("reference");
}

function spoken(word, value, added) {
  if (!word.read) return "a word that the model does not know";
  if (value === null) return "without it nothing would be left of the search";
  if (added) return `${signed(value)}, by gradients`;
  const rank = word.rank === null ? "" : word.rank === dialog.explanation.rank ? "; without it the rank is the same" : `; without it the rank is ${count(word.rank)}`;
  return `${signed(value)}, speaks ${value > 0 ? "for" : "against"} this image${rank}`;
}

function readout() {
  const row = dialog.word;
  const word = row === null ? null : dialog.explanation.words[row];
  const hint = dialog.explanation.word_maps ? "Point at a word, or choose it, to see where it looks." : "Point at a word, or choose it, to see what becomes of the rank.";
  $("why-word").textContent = word ? `“${word.text}”: ${spoken(word, word.effect, false)}.` : hint;
}

// -- maps -------------------------------------------------------------------------------------------------------------

const attention = () => dialog.explanation.maps.attention_of_words ?? dialog.explanation.maps.attention_of_embedding;

// What is to be seen over an image: the map, its name, what its colours stand for, what it means.
function over(name) {
  const { explanation, view, word, level } = dialog;
  if (name === "target") return covering(explanation.target_regions, explanation);
  const words = explanation.word_maps;
  if (word !== null && words) {
    const map = words.maps.find((one) => one.word === word && one.level === level);
    if (map) return looking({ ...map, kind: words.kind }, `Where “${explanation.words[word].text}” looks`);
  }
  if (view === "regions") return covering(explanation.regions, explanation);
  if (view === "gradients") {
    const gradients = dialog.gradients?.gradients;
    if (dialog.wrong) return { tag: "Gradients", wrong: dialog.wrong };
    if (!gradients?.values) return { tag: "Gradients", wait: true, meaning: "The gradients are being computed …" };
    return { map: gradients, kind: "signed", tag: "Gradients", meaning: `What each part adds to the score on the way from an empty search (${gradients.begin.toFixed(2)}) to this one (${gradients.end.toFixed(2)}), together with the words: integrated gradients.` };
  }
  if (view === "attention") {
    const several = words && level > 0 ? average(words.maps.filter((one) => one.level === level)) : null;
    const named = explanation.maps.attention_of_words ? "Where the words look" : "What the search holds of each part";
    return looking(several ? { ...several, kind: words.kind } : attention(), named);
  }
  return { tag: "", meaning: "The image as the model sees it." };
}

function looking(map, tag) {
  const shares = map.kind === "shares";
  const largest = map.values.indexOf(Math.max(...map.values));
  const [row, column] = [Math.floor(largest / map.columns), largest % map.columns];
  const position = where([row, row + 1, column, column + 1], map.columns, map.rows);
  const meaning = shares ? "Attention, joined over the model's layers (rollout): a hint, not a cause." : "Raw scores of either sign, as this model uses them: no shares of anything, a hint and not a cause.";
  return { map, kind: shares ? "shares" : "scores", tag, meaning: `Most: ${position}. ${meaning}` };
}

function covering(regions, explanation) {
  if (!regions) return { tag: "", meaning: "" };
  const { effects, ranks, windows } = regions;
  const best = effects.indexOf(Math.max(...effects));
  const worst = effects.indexOf(Math.min(...effects));
  const rank = (row) => (ranks === null || explanation.rank === null ? "" : ranks[row] === explanation.rank ? " (the rank stays)" : ` (rank ${count(ranks[row])} without it)`);
  const right = Math.max(...windows.map((one) => one[3]));
  const lower = Math.max(...windows.map((one) => one[1]));
  const tell = (row) => `${where(windows[row], right, lower)}, ${signed(effects[row])}${rank(row)}`;
  const most = effects[best] > 0 ? `Most in favour: ${tell(best)}.` : "Nothing speaks in favour.";
  const least = effects[worst] < 0 ? ` Most against: ${tell(worst)}.` : " Nothing speaks against.";
  return { map: regions, kind: "signed", window: windows[regions.most], tag: "Effect of covering", meaning: `What the score loses when a part is covered. ${most}${least}` };
}

function where([top, bottom, left, right], width, height) {
  const third = (from, to, size) => Math.min(2, Math.floor((3 * (from + to)) / 2 / size));
  const row = ["upper", "", "lower"][third(top, bottom, height)];
  const column = ["left", "", "right"][third(left, right, width)];
  if (!row && !column) return "the centre";
  return `the ${[row, column].filter(Boolean).join(" ")} ${row && column ? "part" : row ? "middle" : "side"}`;
}

function average(maps) {
  const [first] = maps;
  return first && { rows: first.rows, columns: first.columns, values: first.values.map((_, cell) => maps.reduce((sum, one) => sum + one.values[cell], 0) / maps.length) };
}

function paint(name) {
  const image = $(`why-${name}-image`);
  if (!image) return;
  const seen = over(name);
  const most = drawMap($(`why-${name}-map`), image, seen);
  image.classList.toggle("under", Boolean(seen.map));
  image.closest(".frame").classList.toggle("wait", Boolean(seen.wait));
  $(`why-${name}-tag`).textContent = seen.tag;
  const meaning = $(`why-${name}-meaning`);
  meaning.textContent = seen.wrong ?? seen.meaning;
  meaning.classList.toggle("wrong", Boolean(seen.wrong));
  image.alt = `${name === "target" ? titleOf(dialog.item) : "The image that was searched from"}. ${seen.tag}: ${seen.wrong ?? seen.meaning}`;
  $(`why-${name}-key`).replaceChildren(...(seen.map ? key(seen.kind, most) : []));
}

function key(kind, most) {
  const number = most < 0.0995 ? most.toPrecision(2) : most.toFixed(2);
  const ends = { signed: [`−${number} against`, `+${number} for`], scores: [`−${number}`, `+${number}`], shares: ["0", `${number} of the attention`] }[kind];
  return [make("span", {}, ends[0]), make("span", { class: `scale ${kind}`, "aria-hidden": "true" }), make("span", {}, ends[1])];
}

function point(name, frame, event) {
  const { map, tag } = over(name);
  const tagLine = $(`why-${name}-tag`);
  if (!event || !map) {
    tagLine.textContent = tag;
    return;
  }
  const box = frame.getBoundingClientRect();
  const cell = (at, size, cells) => Math.max(0, Math.min(cells - 1, Math.floor((at / size) * cells)));
  const row = cell(event.clientY - box.top, box.height, map.rows);
  const column = cell(event.clientX - box.left, box.width, map.columns);
  tagLine.textContent = `${tag}, here: ${signed(map.values[row * map.columns + column])}`;
}

// -- events -----------------------------------------------------------------------------------------------------------

export function listen() {
  const box = $("why");
  document.addEventListener("itma:why", (event) => open(event.detail.item, event.detail.step, event.detail.where));
  box.addEventListener("click", (event) => event.target === box && box.close());
  box.addEventListener("close", () => {
    stop?.abort();
    for (const url of dialog?.urls ?? []) URL.revokeObjectURL(url);
    dialog = null;
    $("why-body").replaceChildren();
  });
  addEventListener("popstate", () => box.open && box.close());
}

// The page: what is asked stands in the address; every change of it is drawn anew from there.

import * as api from "./api.js";
import { blank, card, keyboard, setShop } from "./cards.js";
import { $, ICONS, count, icon, make } from "./dom.js";
import * as filters from "./filters.js";
import { EARLIER, asks, current, fromHash, nothing, step, toHash } from "./state.js";
import * as uploads from "./uploads.js";
import * as why from "./why.js";

const PAGE = 48;
const HITS = 24;
const WINDOW = 960; // images of the catalogue that stand in the page at once
const SLOW = 1500; // milliseconds until it is said that it takes longer

let state = fromHash(location.hash);
let catalogue = null;
let known = Promise.resolve(); // that the catalogue is told of, or cannot be: what a card offers depends on it
let under_way = null; // the search that is awaited
let listed = { next: null, hits: 0, items: new Map() };

// -- asking -----------------------------------------------------------------------------------------------------------

function go(next, { replace = false, keep = false } = {}) {
  state = next;
  history[replace ? "replaceState" : "pushState"](null, "", location.pathname + location.search + toHash(state));
  draw();
  run({ keep });
}

function changed(change) {
  const steps = state.steps.map((one, index) => (index === state.at ? { ...one, ...change } : one));
  return { ...state, steps };
}

// A hit that is searched on from was found by what was said, which still counts: only what is new has to be said.
function use(item) {
  const before = current(state);
  const next = step({ id: item.id });
  if (catalogue?.can.earlier && before?.text.trim()) next.earlier = [...before.earlier, before.text].slice(-EARLIER);
  const steps = [...state.steps.slice(0, state.at + 1), next];
  go({ ...state, steps, at: steps.length - 1 });
  scrollTo({ top: 0 });
  $("text").focus({ preventScroll: true });
}

// In the place of an image that another browser holds: the words of its step, and the steps after it, stay.
async function replaceFile(file) {
  if (!file) return;
  const lost = current(state)?.upload;
  const name = await uploads.keep(file);
  const steps = state.steps.map((one) => (one.upload === lost ? { ...one, upload: name } : one));
  go({ ...state, steps }, { replace: true, keep: true });
}

async function useFile(file) {
  if (!file) return;
  if (!file.type.startsWith("image/") && file.type) {
    tell("bad", "That is not an image", `“${file.name}” is a file of another kind. Give a JPEG, PNG or WebP image.`);
    return;
  }
  if (!catalogue?.can.image) {
    tell("bad", "This catalogue cannot be searched by an image", "It has no model. Choose one of its own images.");
    return;
  }
  const name = await uploads.keep(file);
  const steps = [...state.steps.slice(0, state.at + 1), step({ upload: name })];
  go({ ...state, steps, at: steps.length - 1 });
  scrollTo({ top: 0 });
}

function less(item) {
  const one = current(state);
  go(changed({ unlike: [...new Set([...one.unlike, item.id])] }), { keep: true });
}

function say(text) {
  const one = current(state);
  if (!one) {
    if (text) go({ ...state, steps: [step({}, text)], at: 0 });
    return;
  }
  if (text === one.text) {
    run();
    return;
  }
  const bare = one.id === undefined && !one.upload;
  if (bare && !text) go({ ...state, steps: state.steps.slice(0, state.at), at: state.at - 1 });
  else if (one.text && !bare) {
    // another sentence for the same image is a step of its own, so that the one before can be returned to
    const reference = one.id === undefined ? { upload: one.upload } : { id: one.id };
    const steps = [...state.steps.slice(0, state.at + 1), { ...step(reference, text), earlier: one.earlier }];
    go({ ...state, steps, at: steps.length - 1 });
  } else go(changed({ text, emphasis: 0 }));
}

function narrow(column, condition) {
  const where = { ...state.where };
  if (condition === undefined) delete where[column];
  else where[column] = condition;
  go({ ...state, where }, { keep: true });
}

// -- answers ----------------------------------------------------------------------------------------------------------

async function run({ keep = false } = {}) {
  under_way?.abort();
  const mine = (under_way = new AbortController());
  const grid = $("grid");
  $("state").hidden = true;
  $("more").hidden = true;
  $("note").hidden = true;
  $("progress").hidden = false;
  $("results").setAttribute("aria-busy", "true");
  if (keep && grid.querySelector(".card:not(.blank)")) grid.classList.add("stale");
  else grid.replaceChildren(...Array.from({ length: 12 }, blank));
  const slow = setTimeout(() => { $("summary").textContent = "Still looking …"; }, SLOW);
  try {
    const result = await answer(mine.signal, HITS);
    await known;
    if (mine.signal.aborted) return;
    listed = { next: result.next ?? null, hits: HITS, items: new Map() };
    grid.replaceChildren();
    append(result.items);
    summarise(result);
  } catch (error) {
    if (error.name === "AbortError" || mine.signal.aborted) return;
    failed(error);
  } finally {
    clearTimeout(slow);
    if (under_way === mine) {
      $("progress").hidden = true;
      grid.classList.remove("stale");
      $("results").removeAttribute("aria-busy");
      watch();
    }
  }
}

async function answer(signal, k) {
  const one = current(state);
  if (!asks(one)) return { ...(await api.browse({ where: state.where, limit: PAGE, after: null }, signal)) };
  const request = { k, where: state.where, fields: ["*"] };
  if (one.text.trim()) request.text = one.text;
  if (one.text.trim() && one.earlier.length) request.earlier = one.earlier;
  if (one.emphasis) request.emphasis = one.emphasis;
  if (one.unlike.length) request.unlike = one.unlike;
  if (one.id !== undefined) request.id = one.id;
  if (one.upload) {
    const image = await uploads.find(one.upload);
    if (!image) throw new api.Problem("lost", "The image of this step is kept in the browser in which it was given, and this is another one. If you have it too, choose it, and the search goes on with the same words.", 0);
    request.upload = image.blob;
  }
  const result = await api.search(request, signal);
  return { items: result.hits, ignored: result.ignored, readAs: result.read_as, notes: result.notes, searched: true };
}

function append(items) {
  const can = catalogue?.can ?? {};
  const searching = asks(current(state));
  const cards = [];
  for (const item of items) {
    if (listed.items.has(item.id)) continue;
    listed.items.set(item.id, item);
    cards.push(card(item, {
      use,
      rank: listed.items.size,
      less: searching && can.unlike ? less : null,
      why: searching && can.explain ? (one) => document.dispatchEvent(new CustomEvent("itma:why", { detail: { item: one, step: current(state), where: state.where } })) : null,
    }));
  }
  $("grid").append(...cards);
  return cards;
}

function summarise(result) {
  const number = listed.items.size;
  const narrowed = Object.keys(state.where).length > 0;
  if (!number) {
    tell("empty", narrowed ? "Nothing matches these filters" : "This catalogue is empty", narrowed ? "Take one away, or look at the whole catalogue." : "Add images with itma index, and they appear here.", narrowed ? ["Clear the filters", () => go({ ...state, where: {} })] : null);
    $("summary").textContent = "0 images";
    return;
  }
  if (result.searched) {
    $("summary").textContent = `the ${count(number)} nearest${narrowed ? " that match the filters" : ""}`;
    $("more").hidden = number < HITS || listed.hits >= (catalogue?.limits.k ?? HITS);
    const near = Object.entries(result.readAs ?? {}).map(([word, other]) => `“${word}” was read as “${other}”`);
    const passed = result.ignored?.length ? [`Words that the model does not know, and passed over: ${result.ignored.join(", ")}`] : [];
    const notes = [...near, ...passed, ...(result.notes ?? []).map((note) => note[0].toUpperCase() + note.slice(1))];
    if (notes.length) {
      $("note").textContent = notes.join(" · ");
      $("note").hidden = false;
    }
  } else {
    const all = catalogue ? count(catalogue.items) : "";
    $("summary").textContent = narrowed ? `${count(number)}${listed.next ? " and more" : ""} that match the filters` : `${all} images`;
    $("more").hidden = !listed.next;
  }
}

async function more() {
  if ($("more").hidden || $("more").disabled) return;
  const mine = under_way;
  $("more").disabled = true;
  $("progress").hidden = false;
  try {
    if (asks(current(state))) {
      const hits = Math.min(listed.hits + 2 * HITS, catalogue?.limits.k ?? HITS);
      const result = await answer(mine.signal, hits);
      if (under_way !== mine) return;
      listed.hits = hits;
      const before = listed.items.size;
      append(result.items);
      summarise(result);
      if (listed.items.size === before) $("more").hidden = true;
    } else {
      if (listed.items.size >= WINDOW) {
        listed.items.clear();
        $("grid").replaceChildren();
        scrollTo({ top: 0 });
      }
      const result = await api.browse({ where: state.where, limit: PAGE, after: listed.next }, mine.signal);
      if (under_way !== mine) return;
      listed.next = result.next ?? null;
      append(result.items);
      summarise(result);
    }
  } catch (error) {
    if (error.name !== "AbortError" && under_way === mine) failed(error);
  } finally {
    $("more").disabled = false;
    if (under_way === mine) $("progress").hidden = true;
    watch();
  }
}

// The catalogue goes on by itself when its end comes near; what was found, and a full window, when the button is pressed.
const nearing = new IntersectionObserver((seen) => {
  if (seen.some((one) => one.isIntersecting) && !asks(current(state)) && listed.items.size < WINDOW) more();
}, { rootMargin: "600px" });

function watch() { // anew, for it tells of changes only: the end may still be near after more has come
  nearing.unobserve($("more"));
  nearing.observe($("more"));
}

function failed(error) {
  $("grid").replaceChildren();
  $("summary").textContent = "";
  if (error.status === 401) {
    if (!$("locked").open) $("locked").showModal();
    return;
  }
  const titles = {
    unreachable: "No connection",
    overloaded: "Many people are searching right now",
    timeout: "That took too long",
    unusable_feedback: "The model does not know these words",
    unreadable_image: "This image cannot be read",
    too_large: "This image is too large",
    unknown_item: "This item is not there any more",
    lost: "The image of this step is not here",
  };
  if (!(error instanceof api.Problem)) console.error(error);
  const ways = { lost: ["Choose the image", () => $("replace").click()], unknown_item: ["Show the catalogue", () => go(nothing())] };
  const way = ways[error.code] ?? (api.PASSING.has(error.code) ? ["Try again", () => run()] : null);
  tell("bad", titles[error.code] ?? "That did not work", sentence(error.message), way);
  if (error.code === "unusable_feedback" && catalogue?.suggestions.length) $("state").append(sayings(catalogue.suggestions.slice(0, 5)));
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");

function sayings(sentences) {
  const buttons = sentences.map((one) => make("li", {}, make("button", { type: "button", onclick: () => { $("text").value = one; say(one); } }, one)));
  return make("ul", { "aria-label": "What it knows, for example" }, ...buttons);
}

function tell(kind, title, text, action = null) {
  const box = $("state");
  if (kind === "bad" || kind === "empty") $("grid").replaceChildren();
  box.className = `state ${kind}`;
  box.replaceChildren(make("span", { class: "mark" }, icon(kind === "bad" ? ICONS.bad : ICONS.search)), make("h2", {}, title), make("p", {}, text));
  box.setAttribute("role", kind === "bad" ? "alert" : "status");
  if (action) box.append(make("button", { type: "button", class: "quiet", onclick: action[1] }, action[0]));
  box.hidden = false;
}

// -- drawing ----------------------------------------------------------------------------------------------------------

const bare = (one) => one.id === undefined && !one.upload;

async function imageOf(one, size = 240) {
  if (one.id !== undefined) return api.thumbnail(one.id, size);
  return one.upload ? (await uploads.find(one.upload))?.url ?? null : null;
}

async function draw() {
  const one = current(state);
  const referenced = one && !bare(one);
  const drawn = state;
  $("text").value = one?.text ?? "";
  $("text").placeholder = referenced ? "What should be different?" : "Describe what you look for";
  $("heading").textContent = heading(one);
  document.title = one?.text ? `${one.text} – search` : "Search with an image and a sentence";
  $("tune").hidden = true;
  const source = referenced ? await imageOf(one) : null;
  if (drawn !== state) return;
  const image = $("reference-image");
  image.hidden = !source;
  image.onerror = () => {  // no image, or of a format that the browser cannot show
    image.hidden = true;
    $("pick").classList.remove("has");
  };
  if (source) image.src = source;
  else image.removeAttribute("src");
  image.alt = referenced ? "The image that is searched from" : "";
  $("pick").classList.toggle("has", Boolean(source));
  $("pick").setAttribute("aria-label", referenced ? "Choose another image to begin from" : "Choose an image to begin from");
  $("drop-reference").hidden = !referenced;
  const slider = Boolean(referenced && one.text.trim() && catalogue?.can.emphasis);
  $("balance").hidden = !slider;
  $("emphasis").value = one?.emphasis ?? 0;
  spoken();
  const chips = drawChips(one);
  $("tune").hidden = !slider && !chips;
  drawSuggestions(one);
  await drawTrail(drawn);
  const narrowed = Object.keys(state.where).length;
  $("filter-count").textContent = narrowed;
  $("filter-count").hidden = !narrowed;
}

function heading(one) {
  if (!asks(one)) return "The catalogue";
  if (one.text.trim()) return `“${one.text.trim()}”`;
  return "Images like this one";
}

function spoken() {
  const value = Number($("emphasis").value);
  $("emphasis").setAttribute("aria-valuetext", value === 0 ? "even" : `${Math.round(Math.abs(value) * 100)} percent towards the ${value < 0 ? "image" : "sentence"}`);
}

function drawChips(one) {
  const chips = filters.words(state.where).map(([column, text]) =>
    make("li", {}, make("button", { type: "button", "aria-label": `Take away the filter ${text}`, onclick: () => narrow(column, undefined) }, text)));
  for (const [index, sentence] of (one?.earlier ?? []).entries()) {
    const drop = () => go(changed({ earlier: one.earlier.filter((_, other) => other !== index) }), { keep: true });
    chips.push(make("li", {}, make("button", { type: "button", class: "said", "aria-label": `Forget what was said: ${sentence}`, onclick: drop }, `still “${sentence}”`)));
  }
  for (const id of one?.unlike ?? []) {
    const image = make("img", { alt: "", src: api.thumbnail(id, 96) });
    const drop = () => go(changed({ unlike: one.unlike.filter((other) => other !== id) }), { keep: true });
    chips.push(make("li", {}, make("button", { type: "button", class: "less", "aria-label": `No longer: less like ${id}`, onclick: drop }, image, "less like this")));
  }
  $("chips").replaceChildren(...chips);
  return chips.length;
}

function drawSuggestions(one) {
  const sentences = catalogue?.suggestions ?? [];
  const wanted = sentences.length > 0 && !(one?.text ?? "").trim();
  $("suggest").hidden = !wanted;
  if (!wanted) return;
  $("suggest-lead").textContent = one ? "For example:" : "Try saying:";
  $("suggestions").replaceChildren(...sayings(sentences.slice(0, 14)).children);
}

async function drawTrail(drawn) {
  const entries = await Promise.all(state.steps.map(async (one, index) => {
    const source = await imageOf(one, 96);
    const none = () => make("span", { class: "none" }, icon(ICONS.search));
    const image = source ? make("img", { alt: "", src: source, onerror: () => image.replaceWith(none()) }) : none();
    const sentence = one.text.trim() || (bare(one) ? "…" : "like this");
    const button = make("button", { type: "button", "aria-label": `Step ${index + 1}: ${sentence}`, onclick: () => go({ ...state, at: index }) }, image, make("span", { class: "say" }, sentence));
    if (index === state.at) button.setAttribute("aria-current", "step");
    return make("li", {}, button);
  }));
  if (drawn !== state) return;
  $("steps").replaceChildren(...entries);
  $("trail").hidden = state.steps.length < 1;
  $("steps").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

// An address is nothing to choose by.
const facets = () => (catalogue?.facets ?? []).filter((facet) => facet.column !== catalogue.shop.link);

// -- events -----------------------------------------------------------------------------------------------------------

function listen() {
  $("query").addEventListener("submit", (event) => {
    event.preventDefault();
    say($("text").value.trim());
  });
  $("pick").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    useFile($("file").files[0]);
    $("file").value = "";
  });
  $("replace").addEventListener("change", () => {
    replaceFile($("replace").files[0]);
    $("replace").value = "";
  });
  $("drop-reference").addEventListener("click", () => {
    const one = current(state);
    const steps = state.steps.slice(0, state.at);
    if (one.text.trim()) steps.push(step({}, one.text));
    go({ ...state, steps, at: steps.length - 1 });
    $("text").focus();
  });
  $("home").addEventListener("click", (event) => {
    event.preventDefault();
    go(nothing());
    scrollTo({ top: 0 });
  });
  $("emphasis").addEventListener("input", spoken);
  $("emphasis").addEventListener("change", () => go(changed({ emphasis: Number($("emphasis").value) }), { replace: true, keep: true }));
  $("more").addEventListener("click", more);
  $("open-filters").addEventListener("click", () => {
    filters.draw(facets(), state.where, narrow);
    $("filters").showModal();
  });
  $("clear-filters").addEventListener("click", () => {
    go({ ...state, where: {} }, { keep: true });
    filters.draw(facets(), state.where, narrow);
  });
  for (const dialog of document.querySelectorAll("dialog.drawer, dialog.details")) {
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }
  $("unlock").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await api.unlock($("key").value);
      $("key").value = "";
      $("locked").close();
      await begin();
    } catch {
      $("wrong").hidden = false;
    }
  });
  addEventListener("popstate", () => {
    state = fromHash(location.hash);
    draw();
    run();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName) && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      $("text").focus();
    }
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file) {
      event.preventDefault();
      useFile(file);
    }
  });
  let inside = 0;
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => carries(event) && ($("dropping").hidden = (inside += 1) < 1));
  addEventListener("dragleave", (event) => carries(event) && ($("dropping").hidden = (inside -= 1) < 1));
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    inside = 0;
    $("dropping").hidden = true;
    useFile(event.dataTransfer.files[0]);
  });
  keyboard($("grid"));
  why.listen();
  watch();
}

async function begin() {
  draw();
  const about = api.about();
  known = about.then((info) => { catalogue = info; setShop(info.shop); }, () => {});
  const first = run();
  try {
    await about;
    await known;
    $("size").textContent = `${count(catalogue.items)} images`;
    $("pick").hidden = false;
    $("open-filters").hidden = catalogue.facets.every((facet) => !facet.choices.length && facet.low === null);
    if (!catalogue.can.text) $("text").disabled = true;
    await first;
    draw();
    if (!asks(current(state)) && listed.items.size) summarise({ next: listed.next });
  } catch (error) {
    if (error.name !== "AbortError" && error.status !== 401) await first;
  }
}

listen();
begin();

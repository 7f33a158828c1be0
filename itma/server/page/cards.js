// The grid of images.

import { imageAddress, thumbnail } from "./api.js";
import { $, ICONS, icon, label, make, shown } from "./dom.js";

const TITLES = ["title", "name", "product", "product_name", "caption", "description"];

const PRICES = ["price", "preis", "prix"];
let shop = {};

// The columns of titles, prices and links, and the currency, as the shop has set them.
export const setShop = (given) => { shop = given ?? {}; };

function priceOf(item) {
  const column = shop.price ?? PRICES.find((one) => item.fields[one] !== undefined);
  const value = column && item.fields[column];
  if (value === undefined || value === null || value === "") return null;
  const text = typeof value === "number" ? value.toLocaleString("en", { minimumFractionDigits: Number.isInteger(value) ? 0 : 2, maximumFractionDigits: 2 }) : shown(value);
  const currency = shop.currency ?? "";
  return { column, text: currency.endsWith(" ") ? currency + text : currency ? `${text} ${currency}` : text };
}

function linkOf(item) {
  const address = shop.link && item.fields[shop.link];
  return typeof address === "string" && /^https?:\/\//i.test(address) ? address : null;
}

export function titleOf(item) {
  if (shop.title && item.fields[shop.title]) return String(item.fields[shop.title]);
  const column = TITLES.find((one) => typeof item.fields[one] === "string" && item.fields[one]);
  if (column) return item.fields[column];
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-/.exec(item.id);
  if (!uuid) return item.id;
  const words = Object.values(item.fields).find((value) => typeof value === "string" && value.length < 40);
  return words ?? item.id;
}

function facts(item) {
  const title = titleOf(item);
  const price = priceOf(item)?.column;
  return Object.entries(item.fields)
    .filter(([column, value]) => column !== price && column !== shop.link && value !== title && value !== false && value !== null)
    .map(([column, value]) => (typeof value === "string" ? shown(value) : value === true ? label(column) : `${label(column)} ${shown(value)}`))
    .filter((text) => text.length < 60)
    .slice(0, 3)
    .join(" · ");
}

export function card(item, { use, less, why, rank }) {
  const title = titleOf(item);
  const button = make("button", { type: "button", class: "use", "aria-label": `Search from ${title}`, onclick: () => use(item) });
  if (item.image) {
    const image = make("img", { alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("load", () => {
      const ratio = image.naturalWidth / image.naturalHeight;
      if (ratio > 1.05 || ratio < 0.55) image.classList.add("whole");
      image.classList.add("there");
    });
    image.addEventListener("error", () => image.replaceWith(make("span", { class: "lost" }, "The image cannot be shown")));
    image.src = thumbnail(item.id, 480);
    button.append(image);
  } else button.append(make("span", { class: "lost" }, "No image"));
  if (item.score !== undefined) {
    button.append(make("span", { class: "score", title: "How near it is: 1 would be the same" }, item.score.toFixed(2)));
    button.setAttribute("aria-label", `${rank}. ${title}, score ${item.score.toFixed(2)}: search from this image`);
  }
  button.append(make("span", { class: "cue", "aria-hidden": "true" }, "More like this, but …"));
  const acts = make("div", { class: "acts" });
  if (why) acts.append(act("why", `Why ${title}?`, "Why?", () => why(item)));
  if (less) acts.append(act("less", `Less like ${title}`, "Less like this", () => less(item)));
  acts.append(act("info", `Details of ${title}`, "Details", () => details(item, use)));
  const words = make("div", { class: "words" }, make("p", { class: "name", title }, title));
  const price = priceOf(item);
  if (price) words.append(make("p", { class: "price" }, price.text));
  words.append(make("p", { class: "facts" }, facts(item)));
  return make("li", { class: "card" }, button, make("div", { class: "about" }, words, acts));
}

function act(name, label, title, onclick) {
  return make("button", { type: "button", "aria-label": label, title, onclick, "data-act": name }, icon(ICONS[name]));
}

export function blank() {
  return make("li", { class: "card blank", "aria-hidden": "true" }, make("div", { class: "use" }), make("div", { class: "about" }));
}

function details(item, use) {
  const dialog = $("details");
  const image = $("details-image");
  image.removeAttribute("src");
  if (item.image) image.src = imageAddress(item.id);
  image.alt = titleOf(item);
  $("details-title").textContent = titleOf(item);
  const rows = [["id", item.id], ...Object.entries(item.fields)];
  if (item.score !== undefined) rows.push(["score", item.score.toFixed(4)]);
  $("details-fields").replaceChildren(...rows.flatMap(([column, value]) => [make("dt", {}, label(column)), make("dd", {}, shown(value))]));
  const link = linkOf(item);
  if (link) $("details-fields").append(make("dt", {}, "shop"), make("dd", {}, make("a", { href: link, rel: "noopener noreferrer", target: "_blank" }, "See it in the shop")));
  $("details-use").onclick = () => {
    dialog.close();
    use(item);
  };
  dialog.showModal();
}

// Arrow keys lead through the grid.
export function keyboard(grid) {
  grid.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: null, ArrowDown: null };
    if (!(event.key in steps) || !event.target.classList.contains("use")) return;
    const cards = [...grid.querySelectorAll("button.use")];
    const index = cards.indexOf(event.target);
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const by = steps[event.key] ?? (event.key === "ArrowUp" ? -columns : columns);
    const next = cards[index + by];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });
}

// Making elements; text is always set as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (key in element && key !== "list" && !key.includes("-")) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(path) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}

export const ICONS = {
  less: "M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18zM8 12h8",
  info: "M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18zm0-9.5v5M12 8h.01",
  why: "M9.5 9a2.6 2.6 0 1 1 3.6 2.4c-.8.4-1.1.9-1.1 1.8v.3M12 17h.01M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18z",
  search: "M10.5 17a6.5 6.5 0 1 1 0-13 6.5 6.5 0 0 1 0 13zm4.8-1.7L20 20",
  bad: "M12 8v5m0 3.5h.01M10.3 4.3 2.9 17.5A2 2 0 0 0 4.600 20.500h14.800a2 2 0 0 0 1.700-3L13.700 4.300a2 2 0 0 0-3.400 0z",
};

const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

export function shown(value) {
  if (typeof value === "number") return numbers.format(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(shown).join(", ");
  return String(value).replace(/T00:00:00$/, "");
}

export const count = (number) => new Intl.NumberFormat("en").format(number);

export const label = (column) => column.replaceAll("_", " ");

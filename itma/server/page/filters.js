// Filters, made of the catalogue's own columns.

import { $, count, label, make, shown } from "./dom.js";

const FIRST = 8; // choices that are shown before somebody asks for all
const RANGED = ["number", "whole", "date", "time"];

export function draw(facets, where, changed) {
  const list = $("facets");
  list.replaceChildren();
  for (const facet of facets) {
    const body = facet.choices.length ? choices(facet, where, changed) : RANGED.includes(facet.kind) && facet.low !== null ? ends(facet, where, changed) : null;
    if (body) list.append(make("fieldset", {}, make("legend", {}, label(facet.column)), body));
  }
  if (!list.children.length) list.append(make("p", { class: "state" }, "This catalogue has no columns to filter by."));
}

function choices(facet, where, changed) {
  const chosen = new Set([where[facet.column]].flat().filter((value) => value !== undefined));
  const list = make("div", { class: "choices" });
  for (const [value, items] of facet.choices) {
    const box = make("input", { type: "checkbox", checked: chosen.has(value) });
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(value);
      else chosen.delete(value);
      changed(facet.column, chosen.size ? [...chosen] : undefined);
    });
    list.append(make("label", {}, box, make("span", {}, shown(value) || "(empty)"), make("small", {}, count(items))));
  }
  const rest = [...list.children].slice(FIRST);
  if (rest.length > 1 && !rest.some((one) => one.querySelector("input").checked)) {
    for (const one of rest) one.hidden = true;
    const all = make("button", { type: "button", class: "all", onclick: () => {
      for (const one of rest) one.hidden = false;
      all.remove();
      rest[0].querySelector("input").focus();
    } }, `Show all ${count(facet.choices.length)}`);
    list.append(all);
  }
  return list;
}

function ends(facet, where, changed) {
  const bounds = typeof where[facet.column] === "object" && !Array.isArray(where[facet.column]) ? { ...where[facet.column] } : {};
  const dated = facet.kind === "date" || facet.kind === "time";
  const field = (comparison, name, limit) => {
    const value = bounds[comparison] ?? "";
    const input = make("input", { type: dated ? "date" : "number", value: dated ? String(value).slice(0, 10) : value });
    if (dated) [input.min, input.max] = [String(facet.low).slice(0, 10), String(facet.high).slice(0, 10)];
    else [input.step, input.placeholder, input.inputMode] = [facet.kind === "whole" ? "1" : "any", shown(limit), "decimal"];
    input.addEventListener("change", () => {
      if (input.value === "" || !input.checkValidity()) delete bounds[comparison];
      else bounds[comparison] = dated ? input.value + (facet.kind === "time" && comparison === "<=" ? "T23:59:59" : "") : Number(input.value);
      changed(facet.column, Object.keys(bounds).length ? { ...bounds } : undefined);
    });
    return make("label", {}, name, input);
  };
  return make("div", { class: "ends" }, field(">=", dated ? "from" : "at least", facet.low), field("<=", dated ? "to" : "at most", facet.high));
}

// What is narrowed, in words, one for each column.
export function words(where) {
  return Object.entries(where).map(([column, condition]) => {
    if (Array.isArray(condition)) return [column, `${label(column)}: ${condition.map(shown).join(" or ")}`];
    if (typeof condition !== "object" || condition === null) return [column, `${label(column)}: ${shown(condition)}`];
    const parts = Object.entries(condition).map(([comparison, value]) => `${{ ">=": "≥", "<=": "≤" }[comparison] ?? comparison} ${shown(value).replace(/T23:59:59$/, "")}`);
    return [column, `${label(column)} ${parts.join(", ")}`];
  });
}

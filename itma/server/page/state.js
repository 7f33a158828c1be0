// What is asked, as one value that stands in the address: it can be shared, and the back button leads through it.
//
// { steps: [{ id | upload | neither, text, earlier: [sentences], emphasis, unlike: [ids] }], at, where }
// Of an image that was sent along, the address holds a name only; the image itself stays in this browser.

export const EARLIER = 20; // sentences that are remembered

export const nothing = () => ({ steps: [], at: -1, where: {} });

export const step = (reference = {}, text = "") => ({ ...reference, text, earlier: [], emphasis: 0, unlike: [] });

export const current = (state) => state.steps[state.at];

export const asks = (one) => Boolean(one && (one.id !== undefined || one.upload || one.text.trim()));

export function toHash(state) {
  const plain = {};
  if (state.steps.length) {
    plain.steps = state.steps.map((one) => {
      const plain = {};
      if (one.id !== undefined) plain.id = one.id;
      if (one.upload) plain.upload = one.upload;
      if (one.text) plain.text = one.text;
      if (one.earlier.length) plain.earlier = one.earlier;
      if (one.emphasis) plain.emphasis = one.emphasis;
      if (one.unlike.length) plain.unlike = one.unlike;
      return plain;
    });
    if (state.at !== state.steps.length - 1) plain.at = state.at;
  }
  if (Object.keys(state.where).length) plain.where = state.where;
  return Object.keys(plain).length ? "#" + encodeURIComponent(JSON.stringify(plain)) : "";
}

// Whatever somebody wrote into an address: only what makes sense is taken.
export function fromHash(hash) {
  const state = nothing();
  let plain;
  try {
    plain = JSON.parse(decodeURIComponent(hash.slice(1)));
  } catch {
    return state;
  }
  if (typeof plain !== "object" || plain === null) return state;
  for (const one of Array.isArray(plain.steps) ? plain.steps.slice(0, 50) : []) {
    if (typeof one !== "object" || one === null) continue;
    const valid = step({}, typeof one.text === "string" ? one.text.slice(0, 1000) : "");
    if (typeof one.id === "string" && one.id) valid.id = one.id;
    else if (typeof one.upload === "string" && /^[0-9a-f]{8,64}$/.test(one.upload)) valid.upload = one.upload;
    if (Array.isArray(one.earlier)) valid.earlier = one.earlier.filter((sentence) => typeof sentence === "string" && sentence.trim()).map((sentence) => sentence.slice(0, 1000)).slice(-EARLIER);
    if (typeof one.emphasis === "number" && Math.abs(one.emphasis) <= 1) valid.emphasis = one.emphasis;
    if (Array.isArray(one.unlike)) valid.unlike = one.unlike.filter((id) => typeof id === "string").slice(0, 50);
    state.steps.push(valid);
  }
  state.at = Number.isInteger(plain.at) && plain.at >= 0 && plain.at < state.steps.length ? plain.at : state.steps.length - 1;
  if (typeof plain.where === "object" && plain.where !== null && !Array.isArray(plain.where)) state.where = plain.where;
  return state;
}

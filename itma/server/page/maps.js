// A map over an image: the stronger the colour, the larger the value. What speaks against is hatched as well, so that
// it is told apart without colours.

export const FULL = 0.2; // the effect, in cosines, that has the strongest colour; a smaller one is paler by as much
const WIDE = 640; // of the drawing, in its own pixels

export function draw(canvas, image, { map, kind, window: marked }) {
  const ratio = image.naturalWidth ? image.naturalHeight / image.naturalWidth : 1;
  canvas.width = WIDE;
  canvas.height = Math.max(1, Math.round(WIDE * ratio));
  const context = canvas.getContext("2d");
  if (!map || !image.naturalWidth) return 0;
  const style = getComputedStyle(canvas);
  const plus = style.getPropertyValue(kind === "shares" ? "--share" : "--for");
  const minus = style.getPropertyValue("--against");
  const most = map.values.reduce((so_far, value) => Math.max(so_far, Math.abs(value ?? 0)), kind === "signed" ? FULL : 0);
  if (!most) return 0;
  const [wide, high] = [canvas.width / map.columns, canvas.height / map.rows];
  map.values.forEach((value, cell) => {
    const strength = Math.abs(value ?? 0) / most;
    if (strength < 0.02) return;
    const [left, top] = [Math.round((cell % map.columns) * wide), Math.round(Math.floor(cell / map.columns) * high)];
    const [right, bottom] = [Math.round(((cell % map.columns) + 1) * wide), Math.round((Math.floor(cell / map.columns) + 1) * high)];
    context.globalAlpha = 0.85 * strength;
    context.fillStyle = value < 0 ? minus : plus;
    context.fillRect(left, top, right - left, bottom - top);
    if (value < 0) hatch(context, left, top, right, bottom);
  });
  context.globalAlpha = 1;
  if (marked) outline(context, marked, canvas.width / image.naturalWidth);
  return most;
}

function hatch(context, left, top, right, bottom) {
  context.save();
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  context.clip();
  context.beginPath();
  const step = 10; // the lines run on from cell to cell
  for (let sum = Math.ceil((left + top) / step) * step; sum < right + bottom; sum += step) {
    context.moveTo(sum - top, top);
    context.lineTo(sum - bottom, bottom);
  }
  context.strokeStyle = "#fff";
  context.lineWidth = 2.5;
  context.stroke();
  context.restore();
}

function outline(context, [top, bottom, left, right], scale) {
  const box = [left * scale + 3, top * scale + 3, (right - left) * scale - 6, (bottom - top) * scale - 6];
  for (const [colour, dashes] of [["#111", []], ["#fff", [10, 8]]]) {
    context.strokeStyle = colour;
    context.lineWidth = colour === "#fff" ? 3 : 5;
    context.setLineDash(dashes);
    context.strokeRect(...box);
  }
  context.setLineDash([]);
}

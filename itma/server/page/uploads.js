// Images that a person gives: kept in this browser, so that going back and reloading find them again.

const LARGE = 1_500_000; // bytes; larger ones are scaled down before they are sent
const SIDE = 1280;
const KEPT = 40;
const held = new Map();

function store() {
  return new Promise((done) => {
    const request = indexedDB.open("itma", 2);
    request.onupgradeneeded = () => request.result.createObjectStore("images");
    request.onsuccess = () => done(request.result);
    request.onerror = () => done(null);
  });
}

function finished(request) {
  return new Promise((done) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => done(undefined);
  });
}

async function smaller(file) {
  if (file.size <= LARGE) return file;
  try {
    const bitmap = await createImageBitmap(file);
    const ratio = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * ratio));
    canvas.height = Math.max(1, Math.round(bitmap.height * ratio));
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return (await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92))) ?? file;
  } catch {
    return file; // the browser cannot read it; perhaps the server can
  }
}

export async function keep(file) {
  const image = await smaller(file);
  const name = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  held.set(name, { blob: image, url: URL.createObjectURL(image) });
  try {
    const database = await store();
    if (database) {
      const images = database.transaction("images", "readwrite").objectStore("images");
      const names = await finished(images.getAllKeys());
      const times = names?.length >= KEPT ? await finished(images.getAll()) : [];
      if (times?.length) {
        const oldest = names.map((one, index) => [times[index].time, one]).sort((a, b) => a[0] - b[0]).slice(0, names.length - KEPT + 1);
        for (const [, one] of oldest) images.delete(one);
      }
      images.put({ blob: image, time: Date.now() }, name);
    }
  } catch { /* a browser that keeps nothing: it is there until the page is left */ }
  return name;
}

export async function find(name) {
  if (held.has(name)) return held.get(name);
  try {
    const database = await store();
    const stored = database && (await finished(database.transaction("images").objectStore("images").get(name)));
    if (!stored) return null;
    const image = { blob: stored.blob, url: URL.createObjectURL(stored.blob) };
    held.set(name, image);
    return image;
  } catch {
    return null;
  }
}

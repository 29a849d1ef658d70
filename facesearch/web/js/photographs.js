/**
 * Photographs on this side: picked, dropped, taken; decoded upright as the service sees them.
 *
 * Nothing is sent from here but a file that this browser cannot read (TIFF, in most of them): the service says how large it is.
 */

import { api } from "./api.js";

const PICTURE = /^image\//;
const NAMED = /\.(jpe?g|png|webp|gif|bmp|tiff?)$/i;

/** Whether a file looks like a photograph; the service has the last word. */
export const looksLikePhotograph = (file) => PICTURE.test(file.type) || NAMED.test(file.name);

/** Longer side of what is shown instead of a photograph. */
const BLANK_PX = 640;

/** Draws what is shown instead of a photograph of a size, in the same proportions. */
function blank({ width, height }) {
  const shrink = Math.min(1, BLANK_PX / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * shrink));
  canvas.height = Math.max(1, Math.round(height * shrink));
  const context = canvas.getContext("2d");
  context.fillStyle = "#5b616b";
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Writes on it why it is blank. */
function explain(canvas) {
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.font = `${Math.max(10, Math.round(canvas.width / 24))}px sans-serif`;
  context.textAlign = "center";
  context.fillText("This browser cannot show the file", canvas.width / 2, canvas.height - canvas.width / 24, canvas.width);
}

/** A photograph with what is shown of it. Release it when it is no longer seen. */
export class Photograph {
  constructor(file, bitmap, url, { width, height } = bitmap) {
    this.file = file;
    this.bitmap = bitmap;
    this.url = url;
    this.width = width;
    this.height = height;
  }

  release() {
    URL.revokeObjectURL(this.url);
    this.bitmap.close();
  }

  /** Returns the photograph of a file, turned upright by its EXIF; throws where neither the browser nor the service can read it. */
  static async read(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch (error) {
      return Photograph.unseen(file);
    }
    return new Photograph(file, bitmap, URL.createObjectURL(file));
  }

  /** Returns the photograph of a file that only the service can read: a plain area of its size stands for it. */
  static async unseen(file) {
    const size = await api.detect({ photo: file });
    const canvas = blank(size);
    const bitmap = await createImageBitmap(canvas);
    explain(canvas);
    const shown = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
    return new Photograph(file, bitmap, URL.createObjectURL(shown), size);
  }
}

function entriesOf(directory) {
  const reader = directory.createReader();
  return new Promise((resolve, reject) => {
    const found = [];
    const more = () => reader.readEntries((some) => {
      if (some.length === 0) resolve(found);
      else {
        found.push(...some);
        more();
      }
    }, reject);
    more();
  });
}

async function walk(entry, folder, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    found.push({ file, folder });
  } else if (entry.isDirectory) {
    for (const one of await entriesOf(entry)) await walk(one, entry.name, found);
  }
}

/** Returns the files of a drop as `{file, folder}`; `folder` is the name of the folder a file lies in, or null. */
export async function dropped(transfer) {
  // The entries must be asked for before the first wait: the transfer is empty afterwards.
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? null);
  if (entries.length === 0 || entries.includes(null)) return [...transfer.files].map((file) => ({ file, folder: null }));
  const found = [];
  for (const entry of entries) await walk(entry, null, found);
  return found;
}

/** Returns the files of a file picker in the same form. */
export function picked(input) {
  return [...input.files].map((file) => {
    const parts = (file.webkitRelativePath || "").split("/");
    return { file, folder: parts.length > 1 ? parts[parts.length - 2] : null };
  });
}

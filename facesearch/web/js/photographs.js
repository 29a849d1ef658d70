/**
 * Photographs on this side: picked, dropped, taken; decoded upright as the service sees them. Nothing is sent from here.
 */

const PICTURE = /^image\//;
const NAMED = /\.(jpe?g|png|webp|gif|bmp|tiff?)$/i;

/** Whether a file looks like a photograph; the service has the last word. */
export const looksLikePhotograph = (file) => PICTURE.test(file.type) || NAMED.test(file.name);

/** A photograph that the browser can show. Release it when it is no longer seen. */
export class Photograph {
  constructor(file, bitmap, url) {
    this.file = file;
    this.bitmap = bitmap;
    this.url = url;
  }

  get width() {
    return this.bitmap.width;
  }

  get height() {
    return this.bitmap.height;
  }

  release() {
    URL.revokeObjectURL(this.url);
    this.bitmap.close();
  }

  /** Returns the photograph of a file, turned upright by its EXIF; throws where the browser cannot read it. */
  static async read(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch (error) {
      throw new Error("This file is no photograph that the browser can read.");
    }
    return new Photograph(file, bitmap, URL.createObjectURL(file));
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

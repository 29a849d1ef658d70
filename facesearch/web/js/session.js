/**
 * What this tab remembers: the key (until the tab is closed), the collection and the theme.
 *
 * No photograph, label or score is ever kept.
 */

function kept(storage, name) {
  try {
    return window[storage].getItem(`facesearch.${name}`);
  } catch (error) {
    return null; // storage is closed to this page
  }
}

function keep(storage, name, value) {
  try {
    if (value === null) window[storage].removeItem(`facesearch.${name}`);
    else window[storage].setItem(`facesearch.${name}`, value);
  } catch (error) {
    memory.set(name, value); // the value lives as long as the page
  }
}

const memory = new Map();

export const session = {
  get key() {
    return memory.get("key") ?? kept("sessionStorage", "key");
  },
  set key(value) {
    memory.delete("key");
    keep("sessionStorage", "key", value);
  },
  get collection() {
    return memory.get("collection") ?? kept("sessionStorage", "collection");
  },
  set collection(value) {
    memory.delete("collection");
    keep("sessionStorage", "collection", value);
  },
  get theme() {
    return document.documentElement.dataset.choice || "system";
  },
  set theme(value) {
    document.documentElement.dataset.choice = value;
    keep("localStorage", "theme", value === "system" ? null : value);
    document.dispatchEvent(new Event("facesearch:theme"));
  },
};

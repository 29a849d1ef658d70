/**
 * Takes one photograph with the camera. The stream ends with the dialog; the picture shown is mirrored, the one taken is not.
 */

import { open } from "./dialog.js";
import { button, h, notice, put, waiting } from "./dom.js";

async function still(video) {
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.95); });
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}

/** Opens the camera and returns a promise of a file, or null. */
export async function takePhotograph() {
  let stream = null;
  let isOpen = true;
  const file = await open("Take a photograph", (close) => {
    const place = h("div", { class: "camera" }, waiting("Asking for the camera…"));
    const take = button("Take photograph", async () => close(await still(place.querySelector("video"))), { icon: "camera", kind: "primary", disabled: true });
    const start = async () => {
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "user" }, audio: false });
      } catch (error) {
        put(place, notice("bad", "The camera cannot be used: it is missing, busy, or the browser was told not to allow it."));
        return;
      }
      if (!isOpen) {
        stream.getTracks().forEach((track) => track.stop());
        return;
      }
      // Not before there is a picture: an early press would take one of no size.
      const ready = () => { take.disabled = false; };
      put(place, h("video", { autoplay: true, playsinline: true, muted: true, srcObject: stream, "aria-label": "What the camera sees", on: { loadeddata: ready } }));
    };
    if (navigator.mediaDevices?.getUserMedia) start();
    else put(place, notice("bad", "Browsers open the camera only for pages from this machine or over HTTPS."));
    return h("div", { class: "stack" }, place, h("div", { class: "row end" }, button("Cancel", () => close(null)), take));
  }, { kind: "wide" });
  isOpen = false;
  if (stream) stream.getTracks().forEach((track) => track.stop());
  return file;
}

/**
 * Cuts a face out as the network sees it: the similarity transform that best takes five landmarks to fixed places, least squares
 * (Umeyama 1991, written out for the plane).
 */

/** Where ArcFace's crops of 112 pixels have the eyes, the nose and the corners of the mouth (Deng et al. 2019). */
const PLACES = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

const CROP_PX = 112;

const mean = (points, axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;

/** Returns `[a, b, x, y]`: a point (u, v) goes to (a·u − b·v + x, b·u + a·v + y). */
export function similarity(from, to = PLACES) {
  const [fx, fy, tx, ty] = [mean(from, 0), mean(from, 1), mean(to, 0), mean(to, 1)];
  let along = 0;
  let across = 0;
  let spread = 0;
  from.forEach(([u, v], place) => {
    const [du, dv, dx, dy] = [u - fx, v - fy, to[place][0] - tx, to[place][1] - ty];
    along += du * dx + dv * dy;
    across += du * dy - dv * dx;
    spread += du * du + dv * dv;
  });
  const [a, b] = spread > 0 ? [along / spread, across / spread] : [1, 0];
  return [a, b, tx - a * fx + b * fy, ty - b * fx - a * fy];
}

/** Draws the aligned crop of a face into a new canvas of `size` pixels. */
export function alignedCrop(photograph, face, size = 224) {
  const canvas = document.createElement("canvas");
  canvas.width = size;
  canvas.height = size;
  canvas.className = "crop";
  const [a, b, x, y] = similarity(face.landmarks);
  const scale = size / CROP_PX;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.setTransform(a * scale, b * scale, -b * scale, a * scale, x * scale, y * scale);
  context.drawImage(photograph.bitmap, 0, 0, photograph.width, photograph.height);
  return canvas;
}

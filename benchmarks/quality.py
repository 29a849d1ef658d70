"""What refusing faces of low quality gains: error-versus-reject on LFW with a quarter of the photographs damaged.

Usage::

    python benchmarks/quality.py --lfw FOLDER --cache FOLDER [--seed 10] [--texture]

Damage (``quality_damage.py``) is done to a seeded quarter of all photographs before detection; these are detected, aligned and
embedded anew. For the weights alone, one further photograph a person is reduced to 10 to 20 pixels, darkened or burnt out after
detection (the crop is what is graded). Weights are fitted on people of folds 1-5 and reported on 6-10, then the other way round;
the shipped ones are those of View 1's training people, reported on its test people. The threshold is the damaged set's own at FMR
1e-3 over all non-mated pairs, and stays where it is while photographs are refused. Photographs without a face are no trials: they
are counted. Cache: delete it to measure anew.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from quality_damage import KINDS, damaged, graded

from facesearch.bootstrap import Parts
from facesearch.core.face import Detection, FaceCrop
from facesearch.core.image import Image
from facesearch.core.quality import SCORE_WEIGHTS, Quality, QualityGate
from facesearch.evaluation.intervals import Rate
from facesearch.evaluation.lfw import read_people
from facesearch.evaluation.reject import MatedPairs, error_versus_reject, keep_best, random_rejections
from facesearch.imaging.align import align_face
from facesearch.imaging.quality import measure_quality
from facesearch.service.faces import central_face
from facesearch.settings import Settings

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
CHECKED_SHARE = 0.05
FMR = 1e-3
N_RANDOM = 200
BATCH = 32
SMALL_FACE_PX = 40
FIGURES = tuple(Quality.__dataclass_fields__)


@dataclass
class Faces:
    """Templates and qualities of numbered photographs."""

    rows: np.ndarray
    vectors: np.ndarray
    figures: np.ndarray

    @property
    def qualities(self) -> list[Quality]:
        """The figures as values."""
        return [Quality(*map(float, row)) for row in self.figures]

    def save(self, file: Path, **more) -> None:
        np.savez(file, rows=self.rows, vectors=self.vectors, figures=self.figures, **more)


class Collector:
    """Embeds photographs as they are, damaged, and graded; each once a cache folder."""

    def __init__(self, lfw: Path, cache: Path, seed: int, texture: bool) -> None:
        self.images, self.cache, self.seed, self.texture = lfw / "images", cache, seed, texture
        cache.mkdir(parents=True, exist_ok=True)
        self.parts = Parts(Settings(data_dir=cache / "data", threads=2))
        self.paths = sorted(path.relative_to(self.images).as_posix() for path in self.images.glob("*/*.jpg"))

    def decode(self, row: int) -> Image:
        return self.parts.decode(self.images / self.paths[row])

    def originals(self) -> tuple[Faces, list[Detection]]:
        """Return all photographs with a face, and their detections."""
        file = self.cache / "originals.npz"
        if not file.exists():
            done, detections = [], []
            for one in self.parts.pipeline.stream(((row, self.images / path) for row, path in enumerate(self.paths)), "central"):
                if one.face is not None:
                    done.append((one.key, one.face.template.vector, one.face.quality))
                    detections.append(one.face.detection)
            collected(done).save(
                file,
                boxes=[one.box for one in detections],
                landmarks=np.array([one.landmarks for one in detections]),
                scores=[one.score for one in detections],
            )
        kept = np.load(file)
        detections = [
            Detection(tuple(box), points, float(score))
            for box, points, score in zip(kept["boxes"], kept["landmarks"], kept["scores"], strict=True)
        ]
        return Faces(kept["rows"], kept["vectors"], kept["figures"]), detections

    def damaged(self, rows: np.ndarray, detections: Sequence[Detection]) -> tuple[Faces, np.ndarray, np.ndarray]:
        """Return the damaged quarter: its faces, all rows damaged, and the kind of each."""
        file = self.cache / f"damaged-{self.seed}{'-texture' if self.texture else ''}.npz"
        rng = np.random.default_rng(self.seed)
        chosen = np.sort(rng.permutation(len(rows))[: round(len(rows) / 4)])
        kinds = rng.integers(0, len(KINDS), len(chosen))
        if not file.exists():
            jobs = zip(chosen, kinds, strict=True)
            pictures = ((int(rows[at]), self._damage(int(rows[at]), detections[at], KINDS[kind])) for at, kind in jobs)
            self._embed_found(pictures).save(file)
        kept = np.load(file)
        return Faces(kept["rows"], kept["vectors"], kept["figures"]), rows[chosen], kinds

    def _damage(self, row: int, detection: Detection, kind: str) -> Image:
        image = self.decode(row)
        rng = np.random.default_rng([self.seed, row])
        texture = self.decode((row * 7919 + 1) % len(self.paths)).pixels if self.texture else None
        return Image(damaged(image.pixels, detection.box, kind, rng, texture=texture), image.digest, image.source)

    def _embed_found(self, pictures: Iterator[tuple[int, Image]]) -> Faces:
        done: list[tuple[int, np.ndarray, Quality]] = []
        for batch in batches(pictures):
            for row, image in batch:
                detections = self.parts.pipeline.detect(image)[1]
                if detections:
                    face = self.parts.pipeline.embed(image, (central_face(image, detections),))[0]
                    done.append((row, face.template.vector, face.quality))
        return collected(done)

    def graded(self, chosen: np.ndarray, rows: np.ndarray, detections: Sequence[Detection]) -> Faces:
        """Return one graded photograph a person, made after detection."""
        file = self.cache / f"graded-{self.seed}.npz"
        if not file.exists():
            alignment = self.parts.card.alignment
            done = []
            for at in chosen:
                image, detection = self.decode(int(rows[at])), detections[at]
                pixels, spoilt = graded(image.pixels, detection, np.random.default_rng([self.seed, int(rows[at]), 1]))
                crop = align_face(Image(pixels, image.digest, image.source), spoilt, alignment)
                template = self.parts.embedder.embed([FaceCrop(crop.pixels, spoilt)])[0]
                done.append((int(rows[at]), template.vector, measure_quality(crop, alignment)))
            collected(done).save(file)
        kept = np.load(file)
        return Faces(kept["rows"], kept["vectors"], kept["figures"])

    def cost_ms(self, rows: np.ndarray, detections: Sequence[Detection], n: int = 200) -> float:
        """Return the median time of measuring one face."""
        alignment = self.parts.card.alignment
        times = []
        for at in range(n):
            crop = align_face(self.decode(int(rows[at])), detections[at], alignment)
            began = time.perf_counter()
            measure_quality(crop, alignment)
            times.append(time.perf_counter() - began)
        return 1e3 * float(np.median(times))


def batches(items: Iterator) -> Iterator[list]:
    """Yield lists of at most ``BATCH``."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def figures_of(qualities: Sequence[Quality]) -> np.ndarray:
    """Return one row of figures a face."""
    return np.array([[getattr(one, name) for name in FIGURES] for one in qualities])


def collected(done: list[tuple[int, np.ndarray, Quality]]) -> Faces:
    """Return faces from rows, vectors and qualities."""
    rows, vectors, qualities = zip(*done, strict=True)
    return Faces(np.array(rows), np.array(vectors), figures_of(qualities))


@dataclass
class PhotoSet:
    """Photographs of several people, each with a template and a quality."""

    vectors: np.ndarray
    person: np.ndarray
    qualities: list[Quality]
    kind: np.ndarray  # -1 undamaged, else the index in KINDS

    def part(self, chosen: np.ndarray) -> PhotoSet:
        """Return some of the photographs."""
        at = np.flatnonzero(chosen)
        return PhotoSet(self.vectors[at], self.person[at], [self.qualities[i] for i in at], self.kind[at])

    def threshold(self) -> tuple[float, int]:
        """Return the smallest threshold, in steps of 1e-5, that keeps the FMR over all non-mated pairs, and their number."""
        steps = np.zeros(200_002, dtype=np.int64)
        for begin in range(0, len(self.vectors), 500):
            scores = self.vectors[begin : begin + 500] @ self.vectors[begin:].T
            upper = np.arange(begin, begin + len(scores))[:, None] < np.arange(begin, len(self.vectors))[None]
            other = self.person[begin : begin + 500, None] != self.person[None, begin:]
            steps += np.bincount(np.clip((scores[upper & other] + 1) * 1e5, 0, 200_001).astype(int), minlength=steps.size)
        above = np.cumsum(steps[::-1])[::-1]
        return int(np.flatnonzero(above <= FMR * above[0])[0]) / 1e5 - 1, int(above[0])

    def mated(self, threshold: float) -> MatedPairs:
        """Return all mated comparisons."""
        order = np.argsort(self.person, kind="stable")
        parts = []
        for group in np.split(order, np.flatnonzero(np.diff(self.person[order])) + 1):
            i, j = np.triu_indices(len(group), 1)
            scores = (self.vectors[group] @ self.vectors[group].T)[i, j]
            parts.append((group[i], group[j], np.full(i.size, self.person[group[0]]), scores < threshold))
        return MatedPairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def fitted(train: PhotoSet, extra: PhotoSet, threshold: float) -> tuple[np.ndarray, float]:
    """Return weights and bias of a logistic model of the share of a photograph's comparisons that match.

    Every person weighs the same. Comparisons of ``train`` are with its own photographs, those of ``extra`` with the undamaged
    photographs in ``train``.
    """
    from sklearn.linear_model import LogisticRegression

    pairs = train.mated(threshold)
    n = len(train.person)
    total = np.bincount(pairs.first, minlength=n) + np.bincount(pairs.second, minlength=n)
    missed = np.bincount(pairs.first, weights=pairs.is_missed, minlength=n)
    missed += np.bincount(pairs.second, weights=pairs.is_missed, minlength=n)
    used = np.flatnonzero(total)
    terms = [train.qualities[at].terms() for at in used]
    shares = list(1 - missed[used] / total[used])
    per_person = np.bincount(train.person[used])
    weights = list(1 / per_person[train.person[used]])
    for vector, person, quality in zip(extra.vectors, extra.person, extra.qualities, strict=True):
        mates = train.vectors[(train.person == person) & (train.kind < 0)]
        scores = mates @ vector
        if scores.size:
            terms.append(quality.terms())
            shares.append(float((scores >= threshold).mean()))
            weights.append(1.0)
    x, y, w = np.array(terms), np.array(shares), np.array(weights) / np.mean(weights)
    middle, spread = x.mean(0), x.std(0) + 1e-9
    z = (x - middle) / spread
    model = LogisticRegression(C=1.0, max_iter=2000)
    model.fit(np.vstack([z, z]), np.repeat([1, 0], len(z)), sample_weight=np.concatenate([w * y, w * (1 - y)]))
    slope = model.coef_[0] / spread
    return slope, float(model.intercept_[0] - slope @ middle)


def scores_of(photos: PhotoSet, weights: np.ndarray, bias: float) -> np.ndarray:
    """Return the score of every photograph under given weights."""
    return 1 / (1 + np.exp(-(np.array([one.terms() for one in photos.qualities]) @ weights + bias)))


def report(name: str, photos: PhotoSet, quality: np.ndarray) -> None:
    """Print the error-versus-reject curve, what chance gives, and what the gates refuse."""
    threshold, n_non_mated = photos.threshold()
    pairs = photos.mated(threshold)
    print(f"{name}: {len(photos.person)} photographs, threshold {threshold:.4f} at FMR {FMR:g} of {n_non_mated} non-mated pairs")
    points = error_versus_reject(pairs, quality, SHARES)
    for point in points:
        print(f"  refused {point.refused}: FNMR {point.fnmr}")
    before, after = points[0].fnmr, points[SHARES.index(CHECKED_SHARE)].fnmr
    chance = random_rejections(pairs, len(quality), share=CHECKED_SHARE, n=N_RANDOM, seed=1)
    beaten = int((after.by_person < chance).sum())
    print(
        f"  worst 5 % refused: FNMR lower by {100 * (1 - after.by_person / before.by_person):.1f} % relative by people, "
        f"{100 * (1 - after.pooled.value / before.pooled.value):.1f} % pooled; lower than {beaten} of {N_RANDOM} random refusals "
        f"(theirs {100 * chance.min():.3f} to {100 * chance.max():.3f} %)"
    )
    gone = photos.kind[~keep_best(quality, CHECKED_SHARE)]
    names = ("undamaged", *KINDS)
    print("  of those refused: " + ", ".join(f"{name} {int((gone == kind - 1).sum())}" for kind, name in enumerate(names)))
    for gate in (QualityGate.STANDARD, QualityGate.STRICT):
        passes = np.array([not one.shortfalls(gate) for one in photos.qualities])
        shares = ", ".join(
            f"{name} {int((~passes & (photos.kind == kind - 1)).sum())}/{int((photos.kind == kind - 1).sum())}"
            for kind, name in enumerate(names)
            if (photos.kind == kind - 1).any()
        )
        print(f"  gate {gate} refuses {shares}: FNMR {pairs.fnmr(passes)}")


def report_sizes(undamaged: PhotoSet, extra: PhotoSet) -> None:
    """Print how often faces of few pixels miss the undamaged photographs of their person."""
    threshold, _ = undamaged.threshold()
    by_size: dict[int, list[tuple[int, int]]] = {}
    for vector, person, quality in zip(extra.vectors, extra.person, extra.qualities, strict=True):
        if quality.face_px < SMALL_FACE_PX:
            mates = np.flatnonzero((undamaged.person == person) & (undamaged.vectors @ vector < 1 - 1e-6))
            missed = int((undamaged.vectors[mates] @ vector < threshold).sum())
            by_size.setdefault(round(quality.face_px), []).append((missed, len(mates)))
    print(f"faces of few pixels against undamaged photographs, threshold {threshold:.4f}:")
    for size, found in sorted(by_size.items()):
        rates = [missed / total for missed, total in found]
        pooled = Rate(*map(sum, zip(*found, strict=True)))
        print(f"  {size} px: FNMR {100 * np.mean(rates):.1f} % over {len(rates)} people, pooled {pooled}")


def main() -> None:
    """Collect, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--texture", action="store_true", help="cover with a piece of another photograph instead of a colour")
    given = parser.parse_args()
    cv2.setNumThreads(1)

    collector = Collector(given.lfw, given.cache, given.seed, given.texture)
    whole, detections = collector.originals()
    names = [collector.paths[row].split("/")[0] for row in whole.rows]
    person = np.unique(names, return_inverse=True)[1]
    found, chosen, kinds = collector.damaged(whole.rows, detections)
    has_two = np.flatnonzero(np.bincount(person) >= 2)
    rng = np.random.default_rng([given.seed, 2])
    one_each = np.array([rng.choice(np.flatnonzero(person == who)) for who in has_two])
    extra_faces = collector.graded(one_each, whole.rows, detections)

    place = {int(row): at for at, row in enumerate(whole.rows)}
    undamaged = PhotoSet(whole.vectors, person, whole.qualities, np.full(len(person), -1))
    spoilt = PhotoSet(whole.vectors.copy(), person, whole.qualities, np.full(len(person), -1))
    for row, kind in zip(chosen, kinds, strict=True):
        spoilt.kind[place[int(row)]] = kind
    for row, vector, quality in zip(found.rows, found.vectors, found.qualities, strict=True):
        spoilt.vectors[place[int(row)]] = vector
        spoilt.qualities[place[int(row)]] = quality
    is_present = (spoilt.kind < 0) | np.isin(whole.rows, found.rows)
    extra = PhotoSet(extra_faces.vectors, person[one_each], extra_faces.qualities, np.full(len(one_each), 0))
    lost = [int((~is_present & (spoilt.kind == kind)).sum()) for kind in range(len(KINDS))]
    told = ", ".join(f"{kind} {n}" for kind, n in zip(KINDS, lost, strict=True))
    print(f"damaged {len(chosen)} of {len(person)}; no face found any more: {told}")
    print(f"measuring one face: {collector.cost_ms(whole.rows, detections):.2f} ms (median of 200)")

    report_sizes(undamaged, extra)

    fold = {one.name: one.fold for one in read_people(given.lfw / "people.txt")}
    folds = np.array([fold[name] for name in names])
    training = {one.name for one in read_people(given.lfw / "peopleDevTrain.txt")}
    is_training = np.array([name in training for name in names])
    parts = (
        ("folds 1-5", folds < 5, "folds 6-10", folds >= 5),
        ("folds 6-10", folds >= 5, "folds 1-5", folds < 5),
        ("View 1 training people", is_training, "View 1 test people", ~is_training),
    )
    for fit_name, fit_on, name, held_out in parts:
        train = spoilt.part(fit_on & is_present)
        weights, bias = fitted(train, extra.part(fit_on[one_each]), train.threshold()[0])
        rounded = dict(zip(SCORE_WEIGHTS, np.round(weights, 3).tolist(), strict=True))
        print(f"\nfitted on {fit_name}: {rounded}, bias {bias:.3f}")
        test, clean = spoilt.part(held_out & is_present), undamaged.part(held_out)
        report(f"{name}, a quarter damaged", test, scores_of(test, weights, bias))
        report(f"{name}, undamaged", clean, scores_of(clean, weights, bias))


if __name__ == "__main__":
    main()

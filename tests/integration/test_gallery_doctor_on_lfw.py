"""The gallery doctor on faults planted among photographs of LFW, through the real networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesearch.bootstrap import Parts
from facesearch.core.template import TemplateBatch
from facesearch.evaluation.lfw import read_people
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.gallery_examination import examine, survey
from facesearch.settings import Settings

N_PEOPLE = 150
N_PHOTOGRAPHS = 5
N_SPLIT = 15
SHUFFLED_SHARE = 0.02
NEW_LABELS = 10_000
MIN_PRECISION, MIN_RECALL = 0.90, 0.80
"""What the gallery doctor promises (docs/gallery-doctor.md)."""


@pytest.mark.data
@pytest.mark.slow
def test_precision_and_recall_on_planted_faults(lfw_folder: Path, tmp_path: Path):
    people = [one for one in read_people(lfw_folder / "people.txt") if one.n_images >= 4][:N_PEOPLE]
    paths = [(person, path) for person, one in enumerate(people) for path in one.paths[:N_PHOTOGRAPHS]]
    parts = Parts(Settings(data_dir=tmp_path, cache_dir=tmp_path / "cache"))
    streamed = parts.pipeline.stream(((person, lfw_folder / "images" / path) for person, path in paths), "central")
    found = [(done.key, done.face.template.vector) for done in streamed if done.face is not None]
    assert len(found) >= 0.99 * len(paths)
    truth, vectors = np.array([person for person, _ in found]), np.stack([vector for _, vector in found])
    points = parts.card.operating_points(flip=False)
    counts = np.zeros((2, 3), dtype=int)  # wrong labels, duplicates × found, right, planted
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels = truth.copy()
        split = rng.choice(len(people), N_SPLIT, replace=False)
        for person in split:
            own = rng.permutation(np.flatnonzero(truth == person))
            labels[own[: len(own) // 2]] = NEW_LABELS + person
        chosen = rng.choice(len(truth), round(SHUFFLED_SHARE * len(truth)), replace=False)
        given = labels[np.roll(chosen, 1)]
        chosen, given = chosen[given % NEW_LABELS != truth[chosen]], given[given % NEW_LABELS != truth[chosen]]
        labels[chosen] = given
        batch = TemplateBatch(np.arange(len(truth)), labels, vectors, points.embedder_id)
        index = GalleryIndexFactory(points.embedder_id, vectors.shape[1], IndexOptions()).empty(len(batch))
        index.add(batch, revision=1)
        told = examine(batch, survey(batch, index), points)
        moves = [one.template_id for one in told.misplaced if one.other_id is not None]
        pairs = [(one.identity_id % NEW_LABELS, one.other_id % NEW_LABELS) for one in told.duplicates if one.is_probable]
        counts[0] += len(moves), len(set(moves) & set(chosen.tolist())), len(chosen)
        counts[1] += len(pairs), sum(a == b for a, b in pairs), N_SPLIT
    for n_found, n_right, n_planted in counts.tolist():
        assert n_right / n_found >= MIN_PRECISION
        assert n_right / n_planted >= MIN_RECALL

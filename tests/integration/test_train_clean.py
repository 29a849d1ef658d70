"""`train clean` on stores of crops: damaged pixels, wrong embedders, what is excluded, and the page with the pictures."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.decision import UnmeasuredPoints
from facesearch.core.errors import CropStoreError, InputError, UncalibratedEmbedderError
from facesearch.core.face import Alignment
from facesearch.evaluation.lfw import read_people
from facesearch.evaluation.report import render_report
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.photographs import EmbedPhotographs
from facesearch.service.pipeline import FacePipeline
from facesearch.training.clean_store import CleanStore
from facesearch.training.cleaned_list import RowDecision
from facesearch.training.cleaning import CleaningRule, LabelledTemplates, clean
from facesearch.training.cleaning_sheet import cleaning_report
from facesearch.training.crop_store import CropStore
from tests.crop_files import CROP_BYTES, FileNetworks, put, store_of_vectors
from tests.world import DIM, EMBEDDER, POINTS

PEOPLE = [("Ada", 0)] * 4 + [("Ada", 1)] + [("Ben", 1)] * 4 + [("Cleo", 2)] * 3 + [("Cleo", 9)]


class CountingNetworks(FileNetworks):
    """Counts the crops that it embeds."""

    n_embedded = 0

    def embed(self, crops):
        self.n_embedded += len(crops)
        return super().embed(crops)


def cleaner(networks: FileNetworks, cache: Path | None = None, points=POINTS) -> CleanStore:
    pipeline = FacePipeline(networks.decode, networks, networks.align, networks, min_face_px=20)
    indexes = GalleryIndexFactory(EMBEDDER, DIM, IndexOptions())
    return CleanStore(networks, points, indexes, EmbedPhotographs(pipeline, {}), cache_dir=cache)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return store_of_vectors(tmp_path / "store", PEOPLE)


def test_what_is_wrong_is_listed_and_the_store_stays_as_it_is(folder: Path, tmp_path: Path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    store, found = cleaner(FileNetworks())(folder)
    assert [(one.row, one.decision, one.to) for one in found.rows] == [
        (4, RowDecision.MOVED, "Ben"),
        (12, RowDecision.DROPPED, None),
    ]
    assert found.rule["own_fmr"] == CleaningRule().own_fmr
    assert found.about == {"n_crops": 13, "n_people": 3, "n_single": 0, "against": []}
    found.write(tmp_path / "cleaned.json")
    kept = CropStore.open(folder, cleaned=tmp_path / "cleaned.json")
    assert len(kept) == len(store) - 1
    assert kept.people[kept.labels[4]] == "Ben"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_damaged_crops_are_dropped_and_compared_with_nothing(folder: Path):
    part = folder / "crops-0000.bin"
    pixels = bytearray(part.read_bytes())
    pixels[2 * CROP_BYTES : 3 * CROP_BYTES] = bytes([7]) * CROP_BYTES  # the crop is somebody else's now
    part.write_bytes(pixels)
    _, found = cleaner(FileNetworks())(folder)
    assert next((one.row, one.decision, one.reason) for one in found.rows) == (
        2,
        RowDecision.DROPPED,
        "the crop's bytes are damaged",
    )
    assert [one.row for one in found.rows] == [2, 4, 12]


def test_a_store_of_damaged_crops_alone_is_an_error(folder: Path):
    part = folder / "crops-0000.bin"
    part.write_bytes(b"\xff" * len(part.read_bytes()))
    with pytest.raises(CropStoreError, match=r"every crop of .* is damaged"):
        cleaner(FileNetworks())(folder)


def test_an_embedder_of_another_alignment_is_refused_with_both_names(folder: Path):
    networks = FileNetworks()
    networks.alignment = Alignment("other-9", 9, None)
    with pytest.raises(CropStoreError, match="aligned as fake-8, fake@000000000000 wants other-9"):
        cleaner(networks)(folder)


def test_an_embedder_that_nobody_measured_is_refused_before_the_work(folder: Path):
    networks = CountingNetworks()
    points = UnmeasuredPoints(UncalibratedEmbedderError("measure it first"))
    with pytest.raises(UncalibratedEmbedderError):
        cleaner(networks, points=points)(folder)
    assert networks.n_embedded == 0


def test_templates_are_kept_for_the_next_time_and_damage_to_them_does_not_matter(folder: Path, tmp_path: Path):
    networks = CountingNetworks()
    first = cleaner(networks, tmp_path / "cache")(folder)[1]
    assert networks.n_embedded == len(PEOPLE)
    assert cleaner(networks, tmp_path / "cache")(folder)[1] == first
    assert networks.n_embedded == len(PEOPLE)
    kept = list((tmp_path / "cache").rglob("*.npz"))
    assert len(kept) == 1
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    assert cleaner(networks, tmp_path / "cache")(folder)[1] == first
    assert networks.n_embedded == 2 * len(PEOPLE)


@pytest.mark.parametrize("kind", ["store", "folder"])
def test_people_of_the_data_measured_on_are_excluded(folder: Path, tmp_path: Path, kind: str):
    other = tmp_path / "lfw"
    if kind == "store":
        store_of_vectors(other, [("Benjamin", 1)] * 2 + [("Eve", 5)])
    else:
        for photo in (1, 2):
            put(other / "Benjamin" / f"{photo}.jpg", f"1 {photo + 20}")
        put(other / "Eve" / "1.jpg", "5 1")
        put(other / "Nobody" / "1.jpg", "nobody")
    store, found = cleaner(FileNetworks())(folder, against=(other,))
    assert [(one.person, one.decision, one.other) for one in found.people] == [("Ben", "excluded", "Benjamin of lfw")]
    assert found.about["against"] == [{"name": "lfw", "n_photographs": 3, "n_people": 2}]
    assert store.cleaned(found).people == ("Ada", "Cleo")


def test_data_to_exclude_that_is_none_is_an_error(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no folder"):
        cleaner(FileNetworks())(folder, against=(tmp_path / "nowhere",))
    put(tmp_path / "blank" / "Nobody" / "1.jpg", "nobody")
    with pytest.raises(InputError, match="nobody can be excluded"):
        cleaner(FileNetworks())(folder, against=(tmp_path / "blank",))


def test_the_page_shows_every_decision_with_its_reason(folder: Path, tmp_path: Path):
    other = store_of_vectors(tmp_path / "lfw", [("Benjamin <b>", 1)] * 2)
    store, found = cleaner(FileNetworks())(folder, against=(other,))
    shown: list[tuple[int, ...]] = []

    def encode(pixels: np.ndarray) -> bytes:
        shown.append(pixels.shape)
        return b"picture"

    page = render_report(cleaning_report(store, found, encode, when=datetime(2026, 1, 2, tzinfo=UTC)))
    for words in ("Moved (1)", "Dropped (1)", "Excluded (1)", "now Ben", "Benjamin &lt;b&gt; of lfw", "the 3 of the label", "8"):
        assert words in page
    assert "Benjamin <b>" not in page
    # The moved crop and four of Ben's; the dropped one and Cleo's other three; Ben's four beside no picture of the other data.
    assert sorted(shown) == [(8, 8, 3), (8, 8, 3), (16, 16, 3), (16, 16, 3), (16, 16, 3)]
    assert len(re.findall("<img", page)) == 5


@pytest.mark.data
@pytest.mark.slow
def test_planted_wrong_labels_are_found_among_people_of_lfw(lfw_folder: Path, tmp_path: Path):
    """What docs/training.md promises, on people who had no part in choosing the rule."""
    from facesearch.bootstrap import Parts
    from facesearch.settings import Settings

    people = [one for one in read_people(lfw_folder / "peopleDevTest.txt") if one.n_images >= 5][:60]
    paths = [(person, path) for person, one in enumerate(people) for path in one.paths[:10]]
    parts = Parts(Settings(data_dir=tmp_path, cache_dir=tmp_path / "cache"))
    streamed = parts.pipeline.stream(((person, lfw_folder / "images" / path) for person, path in paths), "central")
    faces = [(done.key, done.face.template.vector) for done in streamed if done.face is not None]
    assert len(faces) >= 0.99 * len(paths)
    truth, vectors = np.array([person for person, _ in faces]), np.stack([vector for _, vector in faces])
    names = tuple(f"{one:02d}" for one in range(len(people)))
    counts = np.zeros(3, dtype=int)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(truth), len(truth) // 10, replace=False)
        labels = truth.copy()
        labels[chosen] = np.roll(labels[chosen], 1)
        wrong = set(np.flatnonzero(labels != truth).tolist())
        given = LabelledTemplates(vectors, labels, names, np.arange(len(labels)), ["x"] * len(labels), parts.embedder_id)
        indexes = GalleryIndexFactory(parts.embedder_id, parts.card.dim, IndexOptions())
        found = clean(given, indexes, parts.points).rows
        changed = {one.row for one in found if one.decision is not RowDecision.FLAGGED}
        counts += (len(changed), len(changed & wrong), len(wrong))
    n_found, n_right, n_wrong = counts.tolist()
    assert n_wrong > 150
    assert n_right / n_found >= 0.95
    assert n_right / n_wrong >= 0.90

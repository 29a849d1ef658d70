"""The robustness card over fake networks: spoilt probes, sound gallery, faces lost on the way, and bad input said first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness import table
from facesearch.core.damage import Damage
from facesearch.core.errors import InputError
from facesearch.evaluation.report import render_report
from facesearch.service.evaluate_people import EvaluationOptions
from facesearch.service.evaluate_robustness import EvaluateRobustness, spoilt_image
from facesearch.service.photographs import EmbedPhotographs
from facesearch.service.pipeline import FacePipeline
from facesearch.service.robustness_report import robustness_report
from tests.cli_fakes import FACE, WHEN
from tests.world import FakeNetworks, person_vector

LOOSE = EvaluationOptions(fmrs=(0.2,), face="central")
NAMES = ("nothing", "hide", "swap")


class Spoiling:
    """A folder whose photographs can be spoilt: ``hide`` loses every face of P00, ``swap`` makes P01 look like P02."""

    def __init__(self, folder: Path, n_people: int = 8) -> None:
        self.root = folder / "people"
        self.networks = FakeNetworks()
        self.seen: list[tuple[str, tuple[float, ...]]] = []
        self.recipes: list[dict] = []
        for person in range(n_people):
            for number in (1, 2, 3):
                path = self.root / f"P{person:02d}" / f"P{person:02d}_{number:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(path.name.encode())
                self.networks.portrait(str(path), person, 0.9, photo=number)
        damages = [Damage(name, f"to {name}", self.spoil(name)) for name in NAMES]
        self.evaluate = EvaluateRobustness(self.embedding(lambda image: image), self.embed_changed, damages)

    def spoil(self, name):
        def spoil(pixels, box, rng):
            self.seen.append((name, box))
            return pixels // 2

        return spoil

    def embedding(self, change, about=None):
        nets = self.networks
        faces = nets.faces if about is None else dict(nets.faces)
        for image in nets.photos.values():
            owner = Path(image.source).parent.name
            if about == "hide" and owner == "P00":
                faces[image.digest] = ()
            if about == "swap" and owner == "P01":
                faces[image.digest] = ((faces[image.digest][0][0], person_vector(2, 0.9, 5)),)
        own = FakeNetworks()
        own.photos, own.faces = nets.photos, faces
        return EmbedPhotographs(FacePipeline(lambda source: change(own.decode(source)), own, own.align, own, min_face_px=20), {})

    def embed_changed(self, about, change):
        self.recipes.append(dict(about))
        return self.embedding(change, about["damage"])


@pytest.fixture
def folder(tmp_path):
    return Spoiling(tmp_path)


def test_each_damage_is_measured_against_the_sound_gallery(folder):
    result = folder.evaluate(folder.root, options=LOOSE)
    rows = {row.name: row for row in result.rows}
    assert list(rows) == ["none", *NAMES]
    assert len(folder.seen) == 3 * 24
    assert {name for name, _ in folder.seen} == set(NAMES)
    assert {box for _, box in folder.seen} == {(100.0, 100.0, 220.0, 220.0)}
    totals = {(row.points[0].tar.total, row.points[0].false_matches.total) for row in result.rows}
    assert totals == {(8 * 6, 24 * 21)}
    assert rows["none"].points == rows["nothing"].points
    assert (rows["none"].points[0].tar.count, rows["none"].failures.count) == (48, 0)
    hidden = rows["hide"]
    assert (hidden.failures.count, hidden.failures.total) == (3, 24)
    assert (hidden.points[0].tar.count, hidden.points[0].tar.value) == (42, pytest.approx(7 / 8))
    swapped = rows["swap"].points[0]
    assert (swapped.tar.count, swapped.false_matches.count) == (42, rows["none"].points[0].false_matches.count + 9)
    assert {row.points[0].threshold for row in result.rows} == {rows["none"].points[0].threshold}


def test_a_cache_is_told_what_was_done(folder):
    folder.evaluate(folder.root, options=LOOSE, names=("swap",))
    assert folder.recipes == [{"damage": "swap", "what": "to swap", "seed": 13}]


def test_accuracy_over_folds_spoils_one_side_of_each_pair(folder):
    lines = ["2\t2"]
    for fold in (0, 4):
        people = [f"P{fold + one:02d}" for one in range(4)]
        lines += [f"{people[0]}\t1\t2", f"{people[1]}\t1\t2"]
        lines += [f"{people[0]}\t1\t{people[2]}\t1", f"{people[1]}\t2\t{people[3]}\t1"]
    pairs = folder.root.parent / "pairs.txt"
    pairs.write_text("\n".join(lines) + "\n")
    result = folder.evaluate(folder.root, options=LOOSE, pairs_file=pairs)
    accuracy = {row.name: row.accuracy for row in result.rows}
    assert len(result.embedded) == 12
    assert (accuracy["none"].total.count, accuracy["none"].total.total) == (8, 8)
    # A pair whose first face is lost is wrong whatever it is: P00's mated and its non-mated one.
    assert accuracy["hide"].total.count == 6
    assert accuracy["swap"].total.count == 7


def test_a_face_lost_before_the_damage_stays_lost(folder):
    nets = folder.networks
    path = folder.root / "P03" / "P03_0001.jpg"
    nets.faces[nets.photos[str(path)].digest] = ()
    result = folder.evaluate(folder.root, options=LOOSE, names=("nothing",))
    assert [(row.failures.count, row.failures.total) for row in result.rows] == [(1, 24), (1, 24)]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"names": ("rain",)}, "no damage 'rain'; there are nothing, hide, swap"),
        ({"people_file": "people.txt"}, "1 of 1 photographs"),
    ],
)
def test_what_cannot_be_measured_is_said_first(folder, asked, said):
    (folder.root / "people.txt").write_text("1\nNobody\t1\n")
    asked = {key: folder.root / one if key == "people_file" else one for key, one in asked.items()}
    with pytest.raises(InputError, match=said):
        folder.evaluate(folder.root, options=LOOSE, **asked)
    assert folder.seen == []


def test_the_same_photograph_is_spoilt_alike_and_others_otherwise(folder):
    draws = []
    damage = Damage("draw", "", lambda pixels, box, rng: (draws.append(rng.random()), pixels)[1])
    images = list(folder.networks.photos.values())[:2]
    for image in (*images, images[0]):
        found = spoilt_image(image, damage, {one.digest: FACE for one in images})
        assert (found.digest, found.source) == (image.digest, image.source)
    assert draws[0] == draws[2] != draws[1]
    with pytest.raises(InputError, match="changed meanwhile"):
        spoilt_image(images[0], damage, {})


def test_the_report_shows_every_damage_and_escapes(folder):
    result = folder.evaluate(folder.root, options=LOOSE)
    text = render_report(robustness_report(result, folder.root, when=WHEN))
    for part in (
        "Robustness on people",
        "to hide",
        "Probes spoilt, gallery sound",
        "12.50",
        "(3/24)",
        "TAR at FMR 0.2",
        "undamaged 100.00",
    ):
        assert part in text.replace("&nbsp;", " ")
    assert "<script" not in text


def test_embedders_are_set_side_by_side(folder):
    result = folder.evaluate(folder.root, options=LOOSE)
    rows = table({"one": result, "two": result}).splitlines()
    assert len(rows) == 2 + 4
    assert rows[0] == "| damage of the probe | no face found | one: TAR at FMR 0.2 | two: TAR at FMR 0.2 |"
    assert rows[4].startswith("| hide: to hide | 12.50 % (3/24) | 87.50 % (42/48); FMR there ")
    assert rows[4].count("87.50 % (42/48)") == 2


def test_figures_as_plain_values(folder):
    document = folder.evaluate(folder.root, options=LOOSE).as_dict()
    assert [row["damage"] for row in document["damages"]] == ["none", *NAMES]
    assert document["damages"][2]["failures_to_acquire"] == {"rate": 0.125, "count": 3, "total": 24}
    assert document["damages"][0]["accuracy"] is None
    assert np.isfinite(document["damages"][0]["points"][0]["threshold"])

"""Error-versus-reject of a folder: the figures of a slow loop, what the gates leave, and a remark where nothing can be said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import InputError
from facesearch.core.quality import Quality, QualityGate
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.report import render_report
from facesearch.service.evaluate_folder import EvaluateFolder
from facesearch.service.evaluate_people import EvaluationOptions, evaluate_people
from facesearch.service.evaluate_quality import quality_curve
from facesearch.service.evaluation_data import KnownPeople
from facesearch.service.evaluation_report import people_report
from facesearch.service.photographs import EmbedPhotographs
from facesearch.service.pipeline import FacePipeline
from tests.world import FakeNetworks, face_at

GOOD = Quality(120, 110, 14, 0.3, 0.1, 0.05, 2, 0.5, 0.0, 0.0, 0.8, 0.9999)
WHEN = datetime(2026, 1, 2, tzinfo=UTC)
N_PEOPLE = 40


@pytest.fixture(scope="module")
def known():
    """Forty people, some with one photograph; every fifth photograph is blurred and far from its own, one has no face."""
    rng = np.random.default_rng(3)
    labels = np.repeat([f"P{number:02d}" for number in range(N_PEOPLE)], rng.integers(1, 6, N_PEOPLE))
    centres = rng.normal(size=(N_PEOPLE, 24))
    rows = np.searchsorted(np.unique(labels), labels)
    is_blurred = np.arange(labels.size) % 5 == 2
    noise = np.where(is_blurred, 1.6, 0.5)[:, None] * rng.normal(size=(labels.size, 24))
    vectors = centres[rows] + noise
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    acuity = np.where(is_blurred, 4.0, 12.0) + rng.random(labels.size)
    qualities = [replace(GOOD, acuity=float(one)) for one in acuity]
    vectors[7], qualities[7] = np.nan, None
    paths = tuple(Path(label) / f"{row}.jpg" for row, label in enumerate(labels.tolist()))
    return KnownPeople(paths, labels, vectors, tuple(qualities))


def naive_fnmr(known, refused, threshold):
    """Missed and all comparisons among photographs kept, and the mean of the people's rates, pair by pair."""
    missed = {}
    for a, b in combinations(range(len(known)), 2):
        is_pair = known.labels[a] == known.labels[b] and None not in (known.qualities[a], known.qualities[b])
        if is_pair and not {a, b} & refused:
            missed.setdefault(known.labels[a], []).append(float(known.vectors[a] @ known.vectors[b]) < threshold)
    flat = [one for person in missed.values() for one in person]
    return sum(flat), len(flat), float(np.mean([np.mean(person) for person in missed.values()])), len(missed)


def test_the_curve_is_that_of_a_slow_loop(known):
    curve = quality_curve(known, all_pairs(known.vectors, known.labels))
    n_faces = len(known) - 1
    assert (curve.n_photographs, curve.n_without_face, curve.point.fmr) == (n_faces, 1, 1e-2)
    by_quality = sorted((q.score, row) for row, q in enumerate(known.qualities) if q is not None)
    shares = {"0 %": 0.0, "1 %": 0.01, "2 %": 0.02, "5 %": 0.05, "10 %": 0.1, "20 %": 0.2}
    assert [one.name for one in curve.listed] == list(shares)
    for one in curve.listed:
        refused = {row for _, row in by_quality[: round(shares[one.name] * n_faces)]}
        n_missed, n_pairs, by_person, n_people = naive_fnmr(known, refused, curve.point.threshold)
        assert (one.refused.count, one.refused.total) == (len(refused), n_faces)
        assert (one.fnmr.count, one.fnmr.total, one.fnmr.n_units) == (n_missed, n_pairs, n_people)
        assert one.fnmr.value == pytest.approx(by_person)
        assert one.interval[0] <= by_person <= one.interval[1]
    assert len(curve.curve) == 21
    assert curve.listed[-1].fnmr.value < 0.5 * curve.listed[0].fnmr.value


def test_the_gates_refuse_by_their_limits(known):
    curve = quality_curve(known, all_pairs(known.vectors, known.labels))
    assert [one.name for one in curve.gates] == ["gate standard", "gate strict"]
    for one, gate in zip(curve.gates, (QualityGate.STANDARD, QualityGate.STRICT), strict=True):
        refused = {row for row, q in enumerate(known.qualities) if q is not None and q.shortfalls(gate)}
        assert len(refused) > 20
        n_missed, n_pairs, by_person, _ = naive_fnmr(known, refused, curve.point.threshold)
        assert (one.refused.count, one.fnmr.count, one.fnmr.total) == (len(refused), n_missed, n_pairs)
        assert one.fnmr.value == pytest.approx(by_person)


def test_a_curve_ends_where_no_comparison_is_left(known):
    rows = np.flatnonzero(~np.isnan(known.vectors[:, 0]))
    mates = set(rows[known.labels[rows] == "P00"][:2].tolist())
    first = [row for row in rows.tolist() if row in mates or known.labels[row] not in {known.labels[m] for m in mates}]
    _, singles = np.unique(known.labels[first], return_index=True)
    kept = sorted({first[place] for place in singles} | mates)
    worst = tuple(replace(GOOD, acuity=3.0 if row in mates else 12.0) for row in kept)
    few = KnownPeople(tuple(known.paths[row] for row in kept), known.labels[kept], known.vectors[kept], worst)
    # Comparisons of the whole set give a threshold that the evidence supports.
    curve = quality_curve(few, all_pairs(known.vectors, known.labels))
    assert curve.listed[0].fnmr.total == 1
    assert len(curve.curve) < 21
    assert curve.listed[-1].refused.count == 0


def test_what_cannot_be_said_is_a_remark(known):
    few = known.some(np.isin(known.labels, ["P00", "P01", "P02", "P03"]))
    assert len(few.qualities) == len(few)
    measured = evaluate_people(few, EvaluationOptions(fmrs=(0.5,)))
    assert measured.quality is None
    assert measured.as_dict()["error_versus_reject"] is None
    assert [one for one in measured.warnings if one.startswith("no error-versus-reject curve: no threshold can be set for it")]
    alone = known.some(np.isin(np.arange(len(known)), np.unique(known.labels, return_index=True)[1]))
    with pytest.raises(InputError, match="there are 0"):
        quality_curve(alone, all_pairs(known.vectors, known.labels))
    with pytest.raises(InputError, match="was not measured"):
        quality_curve(KnownPeople(known.paths, known.labels, known.vectors), all_pairs(known.vectors, known.labels))


def gallery(folder, meter):
    """A folder of forty people, three photographs each, one of which is poor and unlike the others."""
    networks = FakeNetworks()
    rng = np.random.default_rng(1)
    for person in range(N_PEOPLE):
        own = rng.normal(size=64)
        for number in range(3):
            path = folder / "people" / f"<i>P{person:02d}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(str(path).encode())
            vector = own + (3.0 if number == 2 else 0.4) * rng.normal(size=64)
            networks.photo(str(path), (face_at(100, 100, 120 - 30 * number), vector / np.linalg.norm(vector)), size=300)
    pipeline = FacePipeline(networks.decode, networks, networks.align, networks, min_face_px=20, meter=meter)
    embed = EmbedPhotographs(pipeline, {"embedder": "fake"}, cache_dir=folder / "cache")
    return networks, EvaluateFolder(embed)


def meter(crop, _alignment):
    return replace(GOOD, face_px=crop.detection.width, acuity=12.0 if crop.detection.width > 80 else 5.0)


def test_the_report_shows_it_and_the_cache_keeps_it(tmp_path):
    networks, evaluate = gallery(tmp_path, meter)
    options = EvaluationOptions(fmrs=(1e-2,))
    first = evaluate(tmp_path / "people", options=options)
    n_embedded = networks.n_embedded
    second = evaluate(tmp_path / "people", options=options)
    assert (n_embedded, networks.n_embedded, second.embedded.n_cached) == (120, 120, 120)
    assert first.embedded.qualities == second.embedded.qualities
    assert len(first.embedded.qualities) == 120
    figures = first.as_dict()["error_versus_reject"]
    assert figures == second.as_dict()["error_versus_reject"]
    assert [one["name"] for one in figures["points"]][:4] == ["0 %", "1 %", "2 %", "5 %"]
    assert figures["gates"][0]["refused"] == {"rate": 40 / 120, "count": 40, "total": 120}
    html = render_report(people_report(second, tmp_path / "people", lambda path, detection: None, when=WHEN))
    assert "Refusing photographs of low quality" in html
    assert "Error-versus-reject" in html
    assert "5.00&nbsp;% (6/120)" in html
    assert "<i>P00" not in html


def test_without_a_meter_there_is_no_section(tmp_path):
    _, evaluate = gallery(tmp_path, None)
    measured = evaluate(tmp_path / "people", options=EvaluationOptions(fmrs=(1e-2,)))
    assert measured.people.quality is None
    assert "low quality" not in render_report(people_report(measured, tmp_path / "people", lambda path, detection: None, when=WHEN))

"""``facesearch gallery migrate`` over the real use case and two small models."""

from __future__ import annotations

import csv
import json
import shutil
from types import SimpleNamespace

import pytest

from facesearch.core.errors import UnknownEmbedderError
from tests.migration_world import NEW, OLD, TwoModels


@pytest.fixture
def two(tmp_path, service):
    models = TwoModels(tmp_path / "data", tmp_path / "photos")
    models.enroll(4, 2)

    def other_embedder(name):
        if name != "new":
            raise UnknownEmbedderError(f"there is no embedder {name!r}")
        return NEW

    store = SimpleNamespace(close=lambda: None)
    service.answers["parts"] = SimpleNamespace(
        migration=models.migration, store=store, embedder_id=OLD.embedder_id, other_embedder=other_embedder
    )
    yield models
    models.close()


def test_a_collection_is_moved_and_how_it_stands_is_told(cli, two):
    shutil.rmtree(two.photos / "P02")
    before = cli("gallery", "migrate")
    assert (before.code, before.out) == (0, "default is searched with old@000000000000: 8 templates\n")
    ran = cli("gallery", "migrate", "--to", "new")
    assert ran.code == 0
    for part in (
        "6 faces embedded again in",
        "2 could not be",
        "verified: 6 templates; of 3 sampled people with another photograph 3 were found before, 3 are found now",
        "default is searched with new@111111111111: 6 templates",
        "8 templates of old@000000000000 are kept: gallery migrate --back returns to it, --forget-old deletes them",
        "1 people are searchable with the former embedder only: P02",
        "--missing FILE.csv lists the faces",
    ):
        assert part in ran.out
    assert "set embedder = 'new'" in ran.err
    assert cli("gallery", "migrate", "--json").json == {
        "collection": "default",
        "embedder_id": NEW.embedder_id,
        "other_embedder_id": OLD.embedder_id,
        "is_copying": False,
        "n_templates": {NEW.embedder_id: 6, OLD.embedder_id: 8},
        "n_lacking": 2,
        "n_left_behind": 1,
        "missing": None,
    }


def test_the_whole_answer_comes_as_json_and_the_lost_faces_as_a_table(cli, two, tmp_path):
    shutil.rmtree(two.photos / "P02")
    document = cli("gallery", "migrate", "--to", "new", "--missing", "lost.csv", "--json").json
    assert (document["n_embedded"], document["left_behind"]) == (6, ["P02"])
    assert document["verified"] == {"n_templates": 6, "n_sampled": 3, "n_judged": 3, "n_found_before": 3, "n_found_after": 3}
    assert len(document["checks"]) == 3
    assert document["checks"][0]["label"] == "P00"
    assert document["checks"][0]["after"]["own"] == pytest.approx(document["checks"][0]["before"]["own"], abs=1e-5)
    with (tmp_path / "lost.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(one["label"], one["reason"]) for one in rows] == [("P02", "gone")] * 2
    listed = cli("gallery", "migrate", "--missing", "lost.json")
    assert listed.code == 0
    assert [one["label"] for one in json.loads((tmp_path / "lost.json").read_text())["faces"]] == ["P02"] * 2


def test_back_and_forgetting(cli, two):
    assert cli("gallery", "migrate", "--to", "new").code == 0
    assert cli("gallery", "migrate", "--back").code == 0
    assert two.current == OLD
    assert cli("gallery", "migrate", "--back").code == 0  # and forth
    refused = cli("gallery", "migrate", "--forget-old")
    assert refused.code == 2
    assert "add --yes" in refused.err
    ran = cli("gallery", "migrate", "--forget-old", "--yes")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "8 templates of old@000000000000 deleted")
    gone = cli("gallery", "migrate", "--back")
    assert gone.code == 3
    assert "no former embedder" in gone.err


def test_what_does_not_go_together_is_refused(cli, two, tmp_path):
    for arguments, said in (
        (("--to", "new", "--back"), "one of --to and --back"),
        (("--photos", "x"), "--photos and --accept-worse go with"),
        (("--forget-old", "--missing", "x.csv"), "--missing goes with"),
        (("--to", "new", "--missing", "x.txt"), ".json or .csv"),
        (("--to", "new", "--photos", "no-such-folder"), "no folder"),
    ):
        ran = cli("gallery", "migrate", *arguments)
        assert ran.code == 2, arguments
        assert said in ran.err.replace("\n", " ")
    assert cli("gallery", "migrate", "--to", "nobody").code == 5
    assert "nothing to abandon" in cli("gallery", "migrate", "--abandon").err  # nothing of this began a move


def test_a_move_of_which_nothing_could_be_made_is_abandoned(cli, two):
    shutil.rmtree(two.photos)
    assert cli("gallery", "migrate", "--to", "new").code == 3
    ran = cli("gallery", "migrate", "--abandon", "--json")
    assert (ran.code, ran.json["n_removed"], ran.json["other_embedder_id"]) == (0, 0, None)

"""``facesearch gallery …`` over the real doctor and a small world."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from facesearch.cli.gallery import app
from facesearch.service.exchange import Exchange
from facesearch.service.gallery_doctor import GalleryDoctor, Instruments
from tests.cli_fakes import FakeLibrary
from tests.world import EMBEDDER, POINTS, World, face_at, person_vector


@dataclass
class FakeParts:
    """What the commands take of ``Parts``."""

    gallery_doctor: GalleryDoctor
    store: object
    indexes: object

    @property
    def embedders(self):
        return self

    def current(self, collection):
        assert collection == "default"
        return self


@pytest.fixture
def library(tmp_path):
    world = World(tmp_path)
    for person, number in ((0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5)):
        photo = world.networks.photo(f"{person}-{number}.jpg", (face_at(50, 50, 120), person_vector(person, 0.85, number)))
        world.faces.enroll(photo, f"p{person}")
    wrong = world.networks.photo("wrong.jpg", (face_at(50, 50, 120), person_vector(0, 0.85, 6)))
    world.faces.enroll(wrong, "p1", allow_mismatch=True, allow_duplicate=True)
    library = FakeLibrary()
    doctor = GalleryDoctor(world.store, lambda _: Instruments(world.indexes, Exchange(world.store, embedder_id=EMBEDDER), POINTS))
    library.fake.answers["parts"] = FakeParts(doctor, world.store, world.indexes)
    library.service = lambda _settings: world.faces
    yield library
    world.close()


def test_the_group_has_its_commands():
    assert {one.callback.__name__ for one in app.registered_commands} == {"doctor", "rebuild", "migrate"}


def test_doctor_proposes_and_applies(cli, tmp_path):
    told = cli("gallery", "doctor", "--proposals", "p.json", "--json")
    assert told.code == 0
    (finding,) = told.json["findings"]
    assert {**finding, "score": None, "own_score": None} == {
        "kind": "wrong_label",
        "confidence": "probable",
        "action": "move",
        "accepted": True,
        "identity_id": 2,
        "template_id": 7,
        "other_identity_id": 1,
        "other_template_id": None,
        "label": "p1",
        "source": "wrong.jpg",
        "other_label": "p0",
        "detail": "",
        "score": None,
        "own_score": None,
    }
    assert {key: value for key, value in told.json.items() if key != "findings"} == {
        "collection": "default",
        "embedder_id": EMBEDDER,
        "n_identities": 2,
        "n_templates": 7,
        "index": {"kind": "exact", "n_indexed": 7, "n_stored": 7, "is_in_step": True},
        "proposals": {"file": "p.json", "n_proposals": 1},
    }
    assert json.loads((tmp_path / "p.json").read_text())["proposals"] == [finding]
    done = cli("gallery", "doctor", "--apply", "p.json", "--backup", "b.fsc", "--json")
    assert (done.code, done.json["n_done"], done.json["backup"]) == (0, 1, "b.fsc")
    assert done.json["outcomes"] == [{"is_done": True, "message": "moved template 7 from 'p1' to 'p0'", **finding}]
    assert (tmp_path / "b.fsc").is_file()
    assert cli("gallery", "doctor", "--json").json["findings"] == []


def test_doctor_in_words(cli):
    told = cli("gallery", "doctor")
    assert "1 probable wrong_label" in told.out
    assert "wrong.jpg" in told.out
    cli("gallery", "doctor", "--proposals", "p.json")
    done = cli("gallery", "doctor", "--apply", "p.json", "--no-backup", "--yes")
    assert "done: moved template 7 from 'p1' to 'p0'" in done.out
    assert "1 of 1 accepted proposals carried out" in done.out
    assert "nothing was found to be wrong" in cli("gallery", "doctor").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--apply", "p.json"], "--apply needs --backup FILE"),
        (["--apply", "p.json", "--backup", "b.fsc", "--no-backup"], "--apply needs --backup FILE"),
        (["--apply", "p.json", "--proposals", "q.json"], "not both"),
        (["--backup", "b.fsc"], "go with --apply"),
        (["--apply", "p.json", "--no-backup"], "add --yes"),
        (["--apply", "p.json", "--no-backup", "--yes"], "cannot be read"),
    ],
)
def test_what_does_not_go_together_is_refused(cli, arguments, message):
    told = cli("gallery", "doctor", *arguments)
    assert (told.code, told.out) == (2, "")
    assert message in told.err


def test_an_existing_file_is_not_replaced_unasked(cli, tmp_path):
    (tmp_path / "p.json").write_text("mine")
    told = cli("gallery", "doctor", "--proposals", "p.json")
    assert (told.code, (tmp_path / "p.json").read_text()) == (2, "mine")
    assert cli("gallery", "doctor", "--proposals", "p.json", "--yes").code == 0


def test_rebuild(cli):
    assert cli("gallery", "rebuild", "--json").json == {"collection": "default", "kind": "exact", "n_indexed": 7}
    assert "rebuilt the index of default: exact, 7 templates" in cli("gallery", "rebuild").out

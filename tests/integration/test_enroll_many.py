"""Many labelled photographs that are no files: the outcomes of one after the other, each told once it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch.core.errors import InputError, NoFaceError
from facesearch.service.enroll_many import LabelledPhotograph
from tests.world import World


@pytest.fixture
def world(tmp_path: Path):
    made = World(tmp_path)
    yield made
    made.close()


def photographs(world: World, *wanted: tuple[str, int, str]) -> list[LabelledPhotograph[str]]:
    return [
        LabelledPhotograph(name, world.networks.portrait(name, person, 0.9, photo=place), label, ("staff",))
        for place, (name, person, label) in enumerate(wanted)
    ]


def test_outcomes_come_in_order_and_what_is_told_is_stored(world: World):
    empty = LabelledPhotograph("empty", world.networks.photo("empty"), "Nobody")
    given = [*photographs(world, ("a", 0, "Ada"), ("b", 1, "Bob")), empty, *photographs(world, ("c", 2, "Ada"), ("d", 3, ""))]
    outcomes = []
    for outcome in world.faces.enroll_many(iter(given)):
        outcomes.append(outcome)
        if outcome.enrollment is not None:
            stored = world.faces.show(outcome.enrollment.identity.label).templates
            assert outcome.enrollment.template.template_id in [one.template_id for one in stored]
    assert [one.key for one in outcomes] == ["a", "b", "empty", "c", "d"]
    assert [one.error.code if one.error else "enrolled" for one in outcomes] == [
        *("enrolled", "enrolled", "no_face", "identity_mismatch", "bad_label"),
    ]
    assert isinstance(outcomes[2].error, NoFaceError)
    assert [(one.label, one.tags) for one in world.faces.list()] == [("Ada", ("staff",)), ("Bob", ("staff",))]


def test_the_same_list_again_enrolls_nothing_twice(world: World):
    given = photographs(world, ("a", 0, "Ada"), ("b", 1, "Bob"))
    assert [one.error for one in world.faces.enroll_many(given)] == [None, None]
    again = list(world.faces.enroll_many(given))
    assert [one.error and one.error.code for one in again] == ["duplicate_template", "duplicate_template"]
    assert sum(one.n_templates for one in world.faces.collections()) == 2


def test_possible_duplicates_are_named_or_refused(world: World):
    first, second = photographs(world, ("a", 0, "Ada"), ("b", 0, "Eva"))
    assert [one.error for one in world.faces.enroll_many([first])] == [None]
    refused = list(world.faces.enroll_many([second], allow_duplicate=False))
    assert [one.error and one.error.code for one in refused] == ["duplicate_person"]
    named = list(world.faces.enroll_many([second]))
    assert [one.enrollment and one.enrollment.possible_duplicate for one in named] == ["Ada"]


def test_wrong_options_are_refused_before_anything_is_read(world: World):
    def never():
        raise AssertionError("read")
        yield

    with pytest.raises(InputError, match="keep must be"):
        world.faces.enroll_many(never(), keep="all")
    with pytest.raises(InputError, match="face must be"):
        world.faces.enroll_many(never(), face="best")

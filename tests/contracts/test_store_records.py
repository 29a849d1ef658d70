"""Operating points, calibrations and feedback come back from each database as they went in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import create_engine, text

from facesearch.core.calibration import Calibration, CalibrationMethod
from facesearch.core.errors import SchemaVersionError, StoreError, UnknownFeedbackError, UnknownIdentityError
from facesearch.core.records import FeedbackKind, NewFeedback, PointKind, SavedPoint
from facesearch.core.template import Template
from facesearch.store import schema
from facesearch.store.engine import parsed_url
from facesearch.store.sql import SqlStore
from tests.store_builders import EMBEDDER, OTHER_EMBEDDER, new_face, vector

WHEN = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
POINT = SavedPoint(
    *("office", EMBEDDER, PointKind.FPIR, 1e-2, 0.4321, 12_345_678_901, 321, 500, "best", "ab" * 32, "20 people of the office"),
    is_in_sample=True,
    created_at=WHEN,
)
CALIBRATION = Calibration(
    *(EMBEDDER, CalibrationMethod.ISOTONIC, (-1.0, 0.25, 1.0), (-7.5, 1 / 3, 9.25), 0.5, (-6.0, 8.0), 10, 1000, 12),
    *("cd" * 32, "12 people", WHEN),
)


def said_of(identity_id, **changes):
    face = Template(vector(99), EMBEDDER)
    said = NewFeedback(
        *(identity_id, FeedbackKind.NOT_THIS_PERSON, face, "ef" * 32, (1.5, 2.5, 30.25, 40.125), 0.61, 0.61, "Zoë", WHEN)
    )
    return replace(said, **changes)


def person(store, label="Ada"):
    with store.writing() as writer:
        identity = writer.add_identity("default", label)
        writer.add_face(identity.identity_id, new_face(1))
    return identity


def test_a_point_comes_back_and_is_replaced_under_its_name(store):
    other = replace(POINT, embedder_id=OTHER_EMBEDDER, kind=PointKind.FMR, n_templates=None)
    with store.writing() as writer:
        for point in (replace(POINT, threshold=0.1), POINT, other, replace(other, name="Büro")):
            writer.save_point(point)
    with store.reading() as reader:
        assert reader.saved_points() == (replace(other, name="Büro"), POINT, other)
        assert reader.saved_points(name="office") == (POINT, other)
        assert reader.saved_points(name="none") == ()
    with store.writing() as writer:
        writer.remove_point("office", OTHER_EMBEDDER)
        writer.remove_point("office", OTHER_EMBEDDER)
    with store.reading() as reader:
        assert reader.saved_points(name="office") == (POINT,)


def test_an_embedder_has_one_calibration(store):
    newer = replace(CALIBRATION, prior=0.01, method=CalibrationMethod.LOGISTIC)
    with store.writing() as writer:
        writer.save_calibration(CALIBRATION)
        assert writer.calibration(EMBEDDER) == CALIBRATION
        writer.save_calibration(newer)
    with store.reading() as reader:
        assert reader.calibrations() == (newer,)
        assert reader.calibration(OTHER_EMBEDDER) is None
    with store.writing() as writer:
        writer.remove_calibration(EMBEDDER)
        assert writer.calibration(EMBEDDER) is None


def test_a_damaged_calibration_is_an_error_and_not_a_probability(store, store_url):
    with store.writing() as writer:
        writer.save_calibration(CALIBRATION)
    engine = create_engine(parsed_url(store_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE calibrations SET prior = 1.5"))
    engine.dispose()
    with store.reading() as reader, pytest.raises(StoreError, match="facesearch calibrate"):
        reader.calibration(EMBEDDER)


def test_feedback_comes_back_and_can_be_removed(store):
    ada = person(store)
    with store.writing() as writer:
        first = writer.add_feedback(said_of(ada.identity_id))
        second = writer.add_feedback(said_of(ada.identity_id, kind=FeedbackKind.IS_THIS_PERSON, floor=None))
        with pytest.raises(UnknownIdentityError, match="4711"):
            writer.add_feedback(said_of(4711))
    assert first.feedback_id < second.feedback_id
    with store.reading() as reader:
        found = reader.feedback("default")
        assert [one.feedback_id for one in found] == [first.feedback_id, second.feedback_id]
        assert (found[0].collection, found[0].label) == ("default", "Ada")
        kept, given = found[0].said, said_of(ada.identity_id)
        assert kept.template.vector.tobytes() == given.template.vector.tobytes()
        assert replace(kept, template=given.template) == given
        assert reader.feedback("default", embedder_id=OTHER_EMBEDDER) == ()
        assert reader.feedback("nowhere") == ()
    with store.writing() as writer:
        assert writer.remove_feedback(first.feedback_id).label == "Ada"
        with pytest.raises(UnknownFeedbackError, match="feedback list"):
            writer.remove_feedback(first.feedback_id)
    with store.reading() as reader:
        assert [one.feedback_id for one in reader.feedback("default")] == [second.feedback_id]


def test_feedback_moves_with_a_merge_and_goes_with_the_person(store):
    ada, eve = person(store, "Ada"), person(store, "Eve")
    with store.writing() as writer:
        writer.add_feedback(said_of(ada.identity_id))
        writer.merge_identities(ada.identity_id, eve.identity_id)
        assert [one.label for one in writer.feedback("default")] == ["Eve"]
        writer.remove_identity(eve.identity_id, erase=True)
        assert writer.feedback("default") == ()


def test_a_database_of_the_first_schema_is_raised_with_everybody_in_it(empty_url):
    engine = create_engine(parsed_url(empty_url))
    with engine.begin() as connection:
        command.upgrade(schema.migration_config(connection), "0001")
        connection.execute(text("INSERT INTO collections (name, revision, uid) VALUES ('default', 3, 'ab')"))
    engine.dispose()
    store = SqlStore(empty_url)
    with pytest.raises(SchemaVersionError, match="facesearch db upgrade"):
        store.reading().__enter__()
    schema.upgrade(empty_url)
    schema.check(empty_url)
    with store.writing() as writer:
        assert [(one.name, one.revision) for one in writer.collections()] == [("default", 3)]
        writer.save_point(POINT)
        assert writer.saved_points() == (POINT,)
    store.close()

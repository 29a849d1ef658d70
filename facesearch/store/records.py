"""Operating points, calibrations and feedback inside one transaction.

It measures and decides nothing; who is enrolled is ``reader``'s and ``writer``'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, Select, delete, insert, select

from facesearch.core.calibration import Calibration, CalibrationMethod
from facesearch.core.errors import InputError, StoreError, UnknownFeedbackError, UnknownIdentityError
from facesearch.core.identity import checked_label
from facesearch.core.records import Feedback, FeedbackKind, NewFeedback, PointKind, SavedPoint
from facesearch.core.template import Template
from facesearch.store import codec
from facesearch.store.session import Session
from facesearch.store.tables import CalibrationRow, CollectionRow, FeedbackRow, IdentityRow, PointRow

_POINT_FIELDS = (
    *("name", "embedder_id", "kind", "rate", "threshold", "n_non_mated", "n_person_pairs", "n_templates"),
    *("fusion", "data_digest", "source", "is_in_sample", "created_at"),
)
_CALIBRATION_FIELDS = ("embedder_id", "prior", "n_mated", "n_non_mated", "n_people", "data_digest", "source", "created_at")


class RecordsReader:
    """``facesearch.core.records.RecordsReader`` on one open transaction.

    Args:
        session: The open transaction.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def saved_points(self, *, name: str | None = None) -> tuple[SavedPoint, ...]:
        """Return saved points of every embedder by name, then embedder; those of one name where it is given.

        Raises:
            StoreError: A stored row is damaged.
        """
        statement = select(*(getattr(PointRow, field) for field in _POINT_FIELDS)).order_by(PointRow.name, PointRow.embedder_id)
        if name is not None:
            statement = statement.where(PointRow.name == checked_label(name, what="name of an operating point"))
        return tuple(_point(row) for row in self._session.rows(statement))

    def calibration(self, embedder_id: str) -> Calibration | None:
        """Return an embedder's calibration, or None where none was made.

        Raises:
            StoreError: The stored row is damaged.
        """
        row = self._session.first(_calibrations().where(CalibrationRow.embedder_id == embedder_id))
        return None if row is None else _calibration(row)

    def calibrations(self) -> tuple[Calibration, ...]:
        """Return all calibrations by embedder id.

        Raises:
            StoreError: A stored row is damaged.
        """
        return tuple(_calibration(row) for row in self._session.rows(_calibrations().order_by(CalibrationRow.embedder_id)))

    def feedback(self, collection: str, *, embedder_id: str | None = None) -> tuple[Feedback, ...]:
        """Return what was said in a collection, oldest first; nothing where there is no such collection.

        Args:
            collection: Its name.
            embedder_id: Only of templates of this embedder; None for all.

        Raises:
            TemplateFormatError: A stored vector is damaged.
        """
        statement = _feedback().where(CollectionRow.name == checked_label(collection, what="collection name"))
        if embedder_id is not None:
            statement = statement.where(FeedbackRow.embedder_id == embedder_id)
        return tuple(_said(row) for row in self._session.rows(statement.order_by(FeedbackRow.id)))


class RecordsWriter(RecordsReader):
    """``facesearch.core.records.RecordsWriter`` on one open writing transaction."""

    def save_point(self, point: SavedPoint) -> None:
        """Store a point; one of the same name and embedder is replaced."""
        values = {field: getattr(point, field) for field in _POINT_FIELDS}
        values |= {"kind": point.kind.value, "created_at": codec.encode_moment(point.created_at)}
        self.remove_point(point.name, point.embedder_id)
        self._session.run(insert(PointRow).values(**values))

    def remove_point(self, name: str, embedder_id: str) -> None:
        """Delete a point; nothing happens where there is none."""
        clean = checked_label(name, what="name of an operating point")
        self._session.run(delete(PointRow).where(PointRow.name == clean, PointRow.embedder_id == embedder_id))

    def save_calibration(self, calibration: Calibration) -> None:
        """Store an embedder's calibration in place of the one it may have."""
        values = {field: getattr(calibration, field) for field in _CALIBRATION_FIELDS}
        values |= {
            "method": calibration.method.value,
            "created_at": codec.encode_moment(calibration.created_at),
            "parameters": {
                "knots": list(calibration.knots),
                "llrs": list(calibration.llrs),
                "clamp": list(calibration.clamp),
            },
        }
        self.remove_calibration(calibration.embedder_id)
        self._session.run(insert(CalibrationRow).values(**values))

    def remove_calibration(self, embedder_id: str) -> None:
        """Delete an embedder's calibration; nothing happens where there is none."""
        self._session.run(delete(CalibrationRow).where(CalibrationRow.embedder_id == embedder_id))

    def add_feedback(self, said: NewFeedback) -> Feedback:
        """Store what somebody said.

        Raises:
            UnknownIdentityError: There is no such identity.
        """
        owner = self._session.first(select(IdentityRow.collection_id).where(IdentityRow.id == said.identity_id))
        if owner is None:
            raise UnknownIdentityError(f"there is no identity with id {said.identity_id}", identity_id=said.identity_id)
        feedback_id = self._session.insert(
            insert(FeedbackRow).values(
                collection_id=owner.collection_id,
                identity_id=said.identity_id,
                kind=said.kind.value,
                embedder_id=said.template.embedder_id,
                vector=codec.encode_vector(said.template.vector),
                image_digest=said.image_digest,
                box=codec.encode_box(said.box),
                score=said.score,
                floor=said.floor,
                said_by=codec.encode_source(said.by),
                created_at=codec.encode_moment(said.created_at),
            )
        )
        return self._one(feedback_id)

    def remove_feedback(self, feedback_id: int) -> Feedback:
        """Delete what somebody said and return it.

        Raises:
            UnknownFeedbackError: There is no such feedback.
        """
        found = self._one(feedback_id)
        self._session.run(delete(FeedbackRow).where(FeedbackRow.id == feedback_id))
        return found

    def _one(self, feedback_id: int) -> Feedback:
        row = self._session.first(_feedback().where(FeedbackRow.id == feedback_id))
        if row is None:
            raise UnknownFeedbackError(
                f"there is no feedback {feedback_id}: `facesearch feedback list` shows what there is", feedback_id=feedback_id
            )
        return _said(row)


def _point(row: Row[*tuple[Any, ...]]) -> SavedPoint:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    try:
        return SavedPoint(**{**values, "kind": PointKind(row.kind)})
    except (InputError, ValueError) as exc:
        raise StoreError(f"the stored operating point {row.name!r} is damaged: {exc}", name=row.name) from exc


def _calibrations() -> Select[*tuple[Any, ...]]:
    return select(*(getattr(CalibrationRow, field) for field in (*_CALIBRATION_FIELDS, "method", "parameters")))


def _calibration(row: Row[*tuple[Any, ...]]) -> Calibration:
    parameters: Mapping[str, Any] = row.parameters
    try:
        return Calibration(
            method=CalibrationMethod(row.method),
            knots=tuple(float(value) for value in parameters["knots"]),
            llrs=tuple(float(value) for value in parameters["llrs"]),
            clamp=(float(parameters["clamp"][0]), float(parameters["clamp"][1])),
            **{field: getattr(row, field) for field in _CALIBRATION_FIELDS},
        )
    except (InputError, ValueError, TypeError, KeyError, IndexError) as exc:
        raise StoreError(
            f"the stored calibration of {row.embedder_id} is damaged: {exc}; run `facesearch calibrate` again",
            embedder_id=row.embedder_id,
        ) from exc


def _feedback() -> Select[*tuple[Any, ...]]:
    columns = (
        *(FeedbackRow.id, FeedbackRow.identity_id, FeedbackRow.kind, FeedbackRow.embedder_id, FeedbackRow.vector),
        *(FeedbackRow.image_digest, FeedbackRow.box, FeedbackRow.score, FeedbackRow.floor, FeedbackRow.said_by),
        *(FeedbackRow.created_at, IdentityRow.label, CollectionRow.name),
    )
    joined = select(*columns).join(IdentityRow, IdentityRow.id == FeedbackRow.identity_id)
    return joined.join(CollectionRow, CollectionRow.id == FeedbackRow.collection_id)


def _said(row: Row[*tuple[Any, ...]]) -> Feedback:
    said = NewFeedback(
        identity_id=row.identity_id,
        kind=FeedbackKind(row.kind),
        template=Template(codec.decode_vector(row.vector, what=f"vector of feedback {row.id}"), row.embedder_id),
        image_digest=row.image_digest,
        box=codec.decode_box(row.box),
        score=row.score,
        floor=row.floor,
        by=row.said_by,
        created_at=row.created_at,
    )
    return Feedback(row.id, row.name, row.label, said)

"""A library for command lines that answers what a test wants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from facesearch.cli.session import Library
from facesearch.core.calibration import Calibration, CalibrationMethod
from facesearch.core.decision import Candidate, Identification, OperatingPoint, Verification
from facesearch.core.face import Detection
from facesearch.core.identity import Collection, EnrolledTemplate, Identity, Keep, KeptPicture, Provenance
from facesearch.core.image import Image
from facesearch.core.quality import Quality
from facesearch.core.records import Feedback, FeedbackKind, NewFeedback, PointKind, SavedPoint
from facesearch.core.template import Template
from facesearch.embedding.library import ModelLibrary
from facesearch.evaluation.calibration import CalibrationCheck, ReliabilityBin
from facesearch.service.calibrate import CalibrationOutcome, HeldOutCheck
from facesearch.service.enroll import Enrollment
from facesearch.service.enroll_folder import FileOutcome, FolderReport
from facesearch.service.exchange import ExchangeSummary
from facesearch.service.identify_many import PhotographAnswer
from facesearch.service.people import CollectionSummary, Person

EMBEDDER = "fake@0123456789ab"
POINT = OperatingPoint(0.4, 1e-4, EMBEDDER, 1_000_000)
FACE = Detection((10.0, 20.0, 60.0, 90.0), np.array([[20, 40], [50, 40], [35, 55], [25, 70], [45, 70]], dtype=np.float32), 0.99)
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


GOOD_FACE = Quality(
    face_px=50.0,
    detail_px=40.0,
    acuity=12.0,
    sharpness=0.1,
    yaw=0.1,
    pitch=0.0,
    roll=2.0,
    brightness=0.5,
    dark_share=0.0,
    bright_share=0.0,
    visible=0.5,
    detection_score=0.99,
)


def person(label="Ada", identity_id=1, tags=("x",)):
    return Identity(identity_id, label, "default", tuple(tags), WHEN)


def stored(template_id=7, identity_id=1):
    vector = np.zeros(4, dtype=np.float32)
    vector[0] = 1
    origin = Provenance("ab" * 32, "ada.jpg", FACE, WHEN, {"face_px": 50.0})
    return EnrolledTemplate(template_id, identity_id, Template(vector, EMBEDDER), origin)


def collection(name="default", revision=2):
    return Collection(1, name, revision, "ab" * 16)


def saved_point(**changes):
    point = SavedPoint(
        *("office", EMBEDDER, PointKind.FPIR, 0.01, 0.45, 4000, 900, 500, "mean", "ab" * 32, "the office", True, WHEN)
    )
    return replace(point, **changes)


def said(**changes):
    face = stored().template
    kind = FeedbackKind.NOT_THIS_PERSON
    return Feedback(3, "default", "Ada", replace(NewFeedback(1, kind, face, "cd" * 32, FACE.box, 0.6, 0.6, "Zoë", WHEN), **changes))


def calibration():
    counts = ((-5.0, 9.0), 100, 9000, 60, "ab" * 32, "60 people", WHEN)
    return Calibration(EMBEDDER, CalibrationMethod.LOGISTIC, (-1.0, 1.0), (-20.0, 20.0), 0.5, *counts)


def identification(*scores, labels=("Ada", "Bob"), fpir=1e-2):
    candidates = tuple(Candidate(n + 1, n + 1, labels[n], 10 + n, score) for n, score in enumerate(scores))
    return Identification(FACE, candidates, POINT, fpir, 25)


@dataclass
class FakeService:
    """Answers what it was given, raises what it was given, and remembers its calls."""

    answers: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    is_closed: bool = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_closed = True

    def _answer(self, name, default, *args, **kwargs):
        self.calls.append((name, args, kwargs))
        answer = self.answers.get(name, default)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def detect(self, *args, **kwargs):
        return self._answer("detect", (FACE,), *args, **kwargs)

    def qualities(self, photo, faces):
        return self._answer("qualities", (GOOD_FACE,) * len(faces), photo, faces)

    def verify(self, *args, **kwargs):
        return self._answer("verify", Verification(0.75, POINT, (FACE, FACE)), *args, **kwargs)

    def verify_identity(self, *args, **kwargs):
        return self._answer("verify_identity", Verification(0.75, POINT, (FACE,), "Ada"), *args, **kwargs)

    def identify(self, *args, **kwargs):
        return self._answer("identify", (identification(0.8, 0.1),), *args, **kwargs)

    def identify_many(self, photos, *args, **kwargs):
        given = list(photos)
        default = [PhotographAnswer(n, str(one), (80, 100), (identification(0.8, 0.1),), None) for n, one in enumerate(given)]
        return iter(self._answer("identify_many", default, given, *args, **kwargs))

    def enroll(self, *args, **kwargs):
        return self._answer("enroll", Enrollment(person(), stored(), True, None), *args, **kwargs)

    def enroll_all(self, *args, **kwargs):
        return self._answer("enroll_all", (Enrollment(person(), stored(), True, None),), *args, **kwargs)

    def enroll_folder(self, folder, *, on_outcome, **kwargs):
        default = FolderReport((FileOutcome(Path(folder) / "Ada" / "1.jpg", "Ada", "enrolled", template_id=3),))
        report = self._answer("enroll_folder", default, folder, **kwargs)
        for outcome in report.outcomes:
            on_outcome(outcome)
        return report

    def list(self, **kwargs):
        return self._answer("list", (person(), person("Bob", 2, ())), **kwargs)

    def show(self, *args):
        return self._answer("show", Person(person(), (stored(),)), *args)

    def picture(self, *args):
        return self._answer("picture", KeptPicture(Keep.CROP, b"jpeg", (), (0, 0, 1, 1)), *args)

    def rename(self, *args):
        return self._answer("rename", person("Eve"), *args)

    def tag(self, *args):
        return self._answer("tag", person(), *args)

    def merge(self, *args):
        return self._answer("merge", person(), *args)

    def remove(self, *args, **kwargs):
        return self._answer("remove", 2, *args, **kwargs)

    def export_collection(self, *args, **kwargs):
        return self._answer("export_collection", ExchangeSummary("default", 1, 2, 0), *args, **kwargs)

    def import_collection(self, *args, **kwargs):
        return self._answer("import_collection", ExchangeSummary("default", 1, 2, 0), *args, **kwargs)

    def saved_points(self):
        return self._answer("saved_points", (saved_point(),))

    def saved_point(self, *args):
        return self._answer("saved_point", saved_point(), *args)

    def remove_point(self, *args):
        return self._answer("remove_point", saved_point(), *args)

    def reject(self, *args, **kwargs):
        return self._answer("reject", said(), *args, **kwargs)

    def confirm(self, *args, **kwargs):
        return self._answer("confirm", said(), *args, **kwargs)

    def feedback(self):
        return self._answer("feedback", (said(),))

    def remove_feedback(self, *args):
        return self._answer("remove_feedback", said(), *args)

    def calibrate(self, *args, on_progress, **kwargs):
        on_progress(1, 2)
        check = CalibrationCheck(0.02, 0.01, 0.8, 50, 4000)
        held_out = HeldOutCheck(check, (ReliabilityBin(0.9, 0.91, 40, 4),))
        return self._answer("calibrate", CalibrationOutcome(calibration(), (held_out,), ()), *args, **kwargs)

    def calibrations(self):
        return self._answer("calibrations", (calibration(),))

    def remove_calibration(self):
        return self._answer("remove_calibration", True)

    def collections(self):
        return self._answer("collections", (CollectionSummary(collection(), 1, 2, {EMBEDDER: 2}),))

    def add_collection(self, *args):
        return self._answer("add_collection", collection(), *args)

    def remove_collection(self, *args):
        return self._answer("remove_collection", None, *args)


@dataclass
class FakeEvaluation:
    """Measures nothing and answers what the service was given."""

    fake: FakeService

    def lfw(self, images, pairs, *, on_progress, **asked):
        on_progress(1, 2)
        return self.fake._answer("evaluate_lfw", None, images, pairs, **asked)

    def folder(self, photographs, *, on_progress, **asked):
        on_progress(1, 2)
        return self.fake._answer("evaluate_folder", None, photographs, **asked)

    def pairs(self, listed, *, on_progress, **asked):
        on_progress(1, 2)
        return self.fake._answer("evaluate_pairs", None, listed, **asked)

    def report(self, measured, source, *, when):
        return self.fake._answer("report", "<!DOCTYPE html>", measured, source)


class FakeLibrary(Library):
    def __init__(self):
        self.fake = FakeService()
        self.settings = None
        self.decoded = []

    def service(self, settings):
        self.settings = settings
        return self.fake

    def parts(self, settings):
        return self.fake._answer("parts", None)

    def models(self, settings):
        return ModelLibrary(Path("no-such-folder"), lambda: None)

    def computed_in(self, settings, card):
        return "int8 (engine fake, precision auto)"

    def decode(self, settings, photo):
        self.decoded.append(photo)
        answer = self.fake.answers.get("decode")
        error = answer.get(photo) if isinstance(answer, dict) else None
        if error is not None:
            raise error
        return Image(np.zeros((100, 80, 3), dtype=np.uint8), "cd" * 32, photo if isinstance(photo, str) else "")

    def evaluation(self, settings):
        self.settings = settings
        return FakeEvaluation(self.fake)

"""The part of the library's face that enrolls.

It only passes on, like ``facade``.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from facesearch.core.errors import IncompatibleTemplatesError, InputError
from facesearch.core.face import Box
from facesearch.core.identity import Keep, checked_tags
from facesearch.core.quality import QualityGate, checked_gate
from facesearch.service.enroll import Enroll, Enrollment, EnrollmentChecks, FaceToEnroll
from facesearch.service.enroll_folder import EnrollFolder, FileOutcome, FolderReport, LabelledFolder
from facesearch.service.enroll_many import EnrollMany, Key, LabelledPhotograph, PhotographOutcome
from facesearch.service.faces import FaceChoice, checked_face_choice
from facesearch.service.pipeline import FacePipeline, ImageSource, PictureMaker
from facesearch.service.who import Who


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The use cases of enrolment, and which picture is kept where a call does not say."""

    enroll: Enroll
    enroll_folder: EnrollFolder
    make_picture: PictureMaker
    keep: Keep

    def checked_keep(self, keep: Keep | str | None) -> Keep:
        """Return which picture is kept.

        Raises:
            InputError: Neither ``none``, ``crop`` nor ``photo``.
        """
        if keep is None:
            return self.keep
        try:
            return Keep(keep)
        except ValueError as exc:
            raise InputError(f"keep must be one of {', '.join(Keep)}, not {keep!r}") from exc


class EnrollFacade:
    """Enrolment of a ``FaceSearch``."""

    @abstractmethod
    def _enrolment(self, collection: str | None) -> tuple[Enrolment, FacePipeline]:
        """Return the use cases of a collection's embedder, and what finds faces."""

    @abstractmethod
    def _collection(self, name: str | None) -> str:
        """Return the name of a collection, that of the settings for None."""

    @property
    def keep(self) -> Keep:
        """Which picture is kept where a call does not say."""
        return self._enrolment(None)[0].keep

    def enroll(
        self,
        photo: ImageSource,
        label: Who,
        *,
        tags: Iterable[str] = (),
        collection: str | None = None,
        face: FaceChoice = "only",
        roi: Box | None = None,
        new: bool = False,
        allow_mismatch: bool = False,
        allow_duplicate: bool = False,
        quality_gate: QualityGate | str | None = None,
        keep: Keep | str | None = None,
    ) -> Enrollment:
        """Enroll the face of a photograph under a label; an existing label gains a template.

        Args:
            photo: The photograph.
            label: The person: 1 to 200 characters, unique in the collection; or the id of somebody who is enrolled already.
            tags: Texts to filter by; added to those the person has.
            collection: Where to; made where there is none of this name.
            face: Which face.
            roi: Search only inside this box.
            new: Refuse a label that exists.
            allow_mismatch: Enroll although the face resembles none of the label's photographs.
            allow_duplicate: Enroll although the face is that of somebody enrolled under another label.
            quality_gate: ``"off"``, ``"standard"`` or ``"strict"``: how usable the face must be; None for the setting.
            keep: ``"none"``, ``"crop"`` or ``"photo"``: which picture is stored; None for the setting.

        Raises:
            NoFaceError: There is no face.
            SeveralFacesError: There are several and ``face`` is ``"only"``.
            LowQualityFaceError: The face falls short of the quality gate; ``context`` lists the reasons with their figures.
            LabelTakenError: ``new`` and the label exists.
            UnknownIdentityError: ``label`` is an id that nobody in the collection has.
            DuplicateTemplateError: The same face of the same photograph is enrolled already.
            IdentityMismatchError: The face scores below the FMR 1e-2 threshold against all of the label's photographs.
            DuplicatePersonError: The face is that of somebody enrolled under another label: a template of theirs reaches the
                threshold for FPIR 1e-3 over all templates.
        """
        where, own_tags = self._collection(collection), checked_tags(tags)
        checks = EnrollmentChecks(
            new=new,
            allow_mismatch=allow_mismatch,
            allow_duplicate=allow_duplicate,
            quality_gate=checked_gate(quality_gate),
            identity_id=label if isinstance(label, int) else None,
        )

        def enrolled(enrolment: Enrolment, pipeline: FacePipeline) -> tuple[Enrollment, ...]:
            kept = enrolment.checked_keep(keep)
            found = pipeline.face(photo, face, roi=roi)
            picture = enrolment.make_picture(kept, photo, found.image, found.detection)
            return enrolment.enroll((FaceToEnroll(found, str(label), picture),), collection=where, tags=own_tags, checks=checks)

        return self._with_embedder_in_use(where, enrolled)[0]

    def enroll_all(
        self,
        photo: ImageSource,
        labels: Sequence[str | None],
        *,
        collection: str | None = None,
        roi: Box | None = None,
        allow_mismatch: bool = False,
        allow_duplicate: bool = False,
        quality_gate: QualityGate | str | None = None,
        keep: Keep | str | None = None,
    ) -> tuple[Enrollment, ...]:
        """Enroll the faces of one photograph, all or none of them.

        Args:
            photo: The photograph.
            labels: One label a face in the order of ``detect``; None leaves a face out.
            collection: Where to.
            roi: Search only inside this box.
            allow_mismatch: As in ``enroll``.
            allow_duplicate: As in ``enroll``.
            quality_gate: As in ``enroll``.
            keep: As in ``enroll``.

        Raises:
            InputError: Not as many labels as faces, or a label twice.
        """
        where = self._collection(collection)
        checks = EnrollmentChecks(
            allow_mismatch=allow_mismatch, allow_duplicate=allow_duplicate, quality_gate=checked_gate(quality_gate)
        )

        def enrolled(enrolment: Enrolment, pipeline: FacePipeline) -> tuple[Enrollment, ...]:
            kept = enrolment.checked_keep(keep)
            faces = pipeline.faces(photo, roi=roi)
            if len(labels) != len(faces):
                boxes = [[round(value, 1) for value in one.detection.box] for one in faces]
                raise InputError(f"{len(faces)} faces were found, {len(labels)} labels given; boxes: {boxes}", boxes=boxes)
            chosen = [
                FaceToEnroll(one, label, enrolment.make_picture(kept, photo, one.image, one.detection))
                for one, label in zip(faces, labels, strict=True)
                if label is not None
            ]
            return enrolment.enroll(chosen, collection=where, checks=checks)

        return self._with_embedder_in_use(where, enrolled)

    def _with_embedder_in_use(
        self, collection: str, enrolled: Callable[[Enrolment, FacePipeline], tuple[Enrollment, ...]]
    ) -> tuple[Enrollment, ...]:
        """Enroll with the embedder of a collection; once more where the collection was moved to another one meanwhile."""
        enrolment, pipeline = self._enrolment(collection)
        try:
            return enrolled(enrolment, pipeline)
        except IncompatibleTemplatesError:
            now, its_pipeline = self._enrolment(collection)
            if now is enrolment:
                raise
            return enrolled(now, its_pipeline)

    def enroll_folder(
        self,
        folder: str | os.PathLike[str],
        *,
        labels_csv: str | os.PathLike[str] | None = None,
        collection: str | None = None,
        face: FaceChoice = "only",
        allow_mismatch: bool = False,
        quality_gate: QualityGate | str | None = None,
        keep: Keep | str | None = None,
        retry_failures: bool = False,
        on_outcome: Callable[[FileOutcome], None] | None = None,
    ) -> FolderReport:
        """Enroll ``<label>/<picture>`` of a folder, or the files that a CSV (``file,label[,tags]``) names; see ``EnrollFolder``.

        Every file gets an outcome; a file that cannot be enrolled does not stop the others. A second run enrolls nothing twice and
        goes on where the first was interrupted, without looking again at files that it had done with and that have not changed.
        So it does with the new embedder after the first stopped because the collection was moved to one.

        Args:
            folder: ``<label>/<picture>`` one level deep; with ``labels_csv`` the place its file names are relative to.
            labels_csv: UTF-8 CSV with a header; columns ``file`` and ``label``, optionally ``tags`` (separated by ``;``).
            collection: As in ``enroll``.
            face: As in ``enroll``.
            allow_mismatch: As in ``enroll``.
            quality_gate: As in ``enroll``.
            keep: As in ``enroll``.
            retry_failures: Look again at files that an earlier run could not enroll.
            on_outcome: Called once a file, in order; an enrolled one is on the disk by then.

        Raises:
            InputError: No folder, or nothing in it to enroll.
            IncompatibleTemplatesError: The collection was moved to another embedder meanwhile.
        """
        enrolment, _ = self._enrolment(self._collection(collection))
        return enrolment.enroll_folder(
            LabelledFolder(folder, labels_csv=labels_csv),
            collection=self._collection(collection),
            face=face,
            keep=enrolment.checked_keep(keep),
            checks=EnrollmentChecks(allow_mismatch=allow_mismatch, quality_gate=checked_gate(quality_gate)),
            retry_failures=retry_failures,
            on_outcome=on_outcome,
        )

    def enroll_many(
        self,
        photographs: Iterable[LabelledPhotograph[Key]],
        *,
        collection: str | None = None,
        face: FaceChoice = "only",
        allow_mismatch: bool = False,
        allow_duplicate: bool = True,
        quality_gate: QualityGate | str | None = None,
        keep: Keep | str | None = None,
        n_workers: int | None = None,
    ) -> Generator[PhotographOutcome[Key], None, None]:
        """Enroll labelled photographs that are no files of a folder, many in a transaction; yield what became of each, in order.

        A photograph that cannot be enrolled does not stop the others. Nothing is remembered for a second run, but that no face of a
        photograph is enrolled twice.

        Args:
            photographs: What to enroll; read lazily.
            collection: As in ``enroll``.
            face: As in ``enroll``.
            allow_mismatch: As in ``enroll``.
            allow_duplicate: As in ``enroll``; possible duplicates are named then.
            quality_gate: As in ``enroll``.
            keep: As in ``enroll``.
            n_workers: Threads that look for faces; None for one more than there are processors.

        Raises:
            InputError: An option is none; here, before the first photograph is read.
            IncompatibleTemplatesError: The collection was moved to another embedder meanwhile; what was yielded is enrolled.
        """
        enrolment, pipeline = self._enrolment(self._collection(collection))
        checks = EnrollmentChecks(
            allow_mismatch=allow_mismatch, allow_duplicate=allow_duplicate, quality_gate=checked_gate(quality_gate)
        )
        return EnrollMany(pipeline, enrolment.enroll, enrolment.make_picture)(
            photographs,
            collection=self._collection(collection),
            face=checked_face_choice(face),
            keep=enrolment.checked_keep(keep),
            checks=checks,
            n_workers=n_workers,
        )

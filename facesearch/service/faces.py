"""Which face of a photograph is meant.

It never guesses: with ``"only"``, several faces are an error that lists their boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from facesearch.core.errors import InputError, NoFaceError, SeveralFacesError
from facesearch.core.face import Detection
from facesearch.core.image import Image

FaceChoice = Literal["only", "largest", "central"] | int
"""``"only"`` (one face expected), ``"largest"`` (box area), ``"central"`` (box centre nearest the photograph's), or an index into
the detections (0 is the one with the highest score)."""


def checked_face_choice(choice: object) -> FaceChoice:
    """Return a choice of face.

    Raises:
        InputError: Neither one of the words nor an index.
    """
    if choice in ("only", "largest", "central") or (isinstance(choice, int) and not isinstance(choice, bool) and choice >= 0):
        return choice
    raise InputError(f"face must be 'only', 'largest', 'central' or an index from 0, not {choice!r}")


def central_face(image: Image, detections: Sequence[Detection]) -> Detection:
    """Return the detection whose box centre is nearest the photograph's centre; the first of equals. Needs at least one."""
    middle = (image.width / 2, image.height / 2)
    return min(detections, key=lambda face: (face.centre[0] - middle[0]) ** 2 + (face.centre[1] - middle[1]) ** 2)


def require_faces(image: Image, detections: Sequence[Detection], *, min_face_px: int) -> None:
    """Raise where a photograph has no face.

    Raises:
        NoFaceError: ``detections`` is empty; says the smallest face looked for.
    """
    if not detections:
        raise NoFaceError(
            f"{image.name}: no face of at least {min_face_px} pixels found in {image.width}×{image.height} pixels",
            source=image.source,
            min_face_px=min_face_px,
        )


def choose_face(image: Image, detections: Sequence[Detection], choice: FaceChoice, *, min_face_px: int) -> Detection:
    """Return the face that is meant.

    Args:
        image: The photograph.
        detections: Its faces by falling score.
        choice: See ``FaceChoice``.
        min_face_px: The detector's smallest face, for the message.

    Raises:
        NoFaceError: There is no face.
        SeveralFacesError: ``"only"`` and there are several; the boxes are listed.
        InputError: An index past the last face.
    """
    choice = checked_face_choice(choice)
    require_faces(image, detections, min_face_px=min_face_px)
    if choice == "largest":
        return max(detections, key=lambda face: face.width * face.height)
    if choice == "central":
        return central_face(image, detections)
    if isinstance(choice, int):
        if choice >= len(detections):
            raise InputError(f"{image.name}: face {choice} was asked for, the photograph has {len(detections)} (counted from 0)")
        return detections[choice]
    if len(detections) > 1:
        boxes = [[round(value, 1) for value in face.box] for face in detections]
        listed = "; ".join(f"{number}: {box}" for number, box in enumerate(boxes))
        raise SeveralFacesError(
            f"{image.name}: {len(detections)} faces found where one was expected; "
            f"choose 'largest', 'central' or an index ({listed})",
            source=image.source,
            boxes=boxes,
        )
    return detections[0]

"""``facesearch detect``: the faces of photographs.

Nobody is recognised: see ``identify``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesearch.cli import options
from facesearch.cli.output import box_text, printable, write_json, write_line, write_note, write_table
from facesearch.cli.session import session_of
from facesearch.core.errors import InputError
from facesearch.service.shapes import detection_shape, error_shape, quality_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.core.face import Detection
    from facesearch.core.image import Image
    from facesearch.core.quality import Quality

Draw = Annotated[
    Path | None, typer.Option("--draw", metavar="OUT.jpg", help="Write the photograph with the faces drawn in (.jpg or .png).")
]


def detect(
    context: typer.Context,
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Picture files; - reads standard input.")],
    roi: options.Roi = None,
    draw: Draw = None,
    as_json: options.AsJson = False,
) -> None:
    """Find the faces of photographs.

    A photograph that cannot be read does not stop the others; the exit code is then that of the first such error. No face is an
    answer, not an error.
    """
    if draw is not None and len(photos) > 1:
        raise InputError(f"--draw draws one photograph, {len(photos)} were given")
    session = session_of(context)
    box = options.parsed_box(roi)
    documents: list[dict[str, Any]] = []
    exit_code = 0
    with session.service() as service:
        for name in photos:
            try:
                image = session.decode(name)
                faces = service.detect(image, roi=box)
                qualities = service.qualities(image, faces)
            except InputError as exc:
                exit_code = exit_code or exc.exit_code
                documents.append({"photo": name, "width": None, "height": None, "faces": [], "error": error_shape(exc)})
                write_note(f"error: {printable(exc.message)}")
                continue
            if draw is not None:
                draw_faces(image, [(face, f"{face.score:.2f}", True) for face in faces], draw)
            shapes = [
                {**detection_shape(face), "quality": quality_shape(quality)} for face, quality in zip(faces, qualities, strict=True)
            ]
            documents.append({"photo": name, "width": image.width, "height": image.height, "faces": shapes, "error": None})
            if not as_json:
                _write_faces(name, image, faces, qualities)
    if as_json:
        write_json({"photos": documents})
    raise typer.Exit(exit_code)


def draw_faces(image: Image, faces: Sequence[tuple[Detection, str, bool]], path: Path) -> None:
    """Write a photograph with faces drawn in: detection, caption, and whether it is somebody known."""
    from facesearch.imaging.draw import draw_faces as drawn
    from facesearch.imaging.draw import save_picture

    save_picture(drawn(image, faces), path)
    write_note(f"drawn: {printable(path)}")


def _write_faces(name: str, image: Image, faces: Sequence[Detection], qualities: Sequence[Quality | None]) -> None:
    count = "1 face" if len(faces) == 1 else f"{len(faces) or 'no'} faces"
    write_line(f"{printable(name)}: {count} in {image.width}×{image.height} pixels")
    if faces:
        rows = [
            (number, box_text(face.box), f"{face.width:.0f}×{face.height:.0f}", face.score, _eye_distance(face), _quality(quality))
            for number, (face, quality) in enumerate(zip(faces, qualities, strict=True))
        ]
        write_table(("face", "box", "size", "score", "eyes apart", "quality"), rows)


def _quality(quality: Quality | None) -> str:
    if quality is None:
        return "cannot be aligned"
    return " ".join((f"{quality.score:.2f}", *quality.reasons))


def _eye_distance(face: Detection) -> str:
    left, right = face.landmarks[:2].tolist()
    return f"{((left[0] - right[0]) ** 2 + (left[1] - right[1]) ** 2) ** 0.5:.0f} px"

"""Arguments and options that several commands share, and how their texts are read.

What a value means is checked by the library; here it only gets its type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.core.errors import InputError

if TYPE_CHECKING:
    from facesearch.core.face import Box
    from facesearch.service.faces import FaceChoice

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document (see docs/cli.md).")]
Photo = Annotated[str, typer.Argument(metavar="PHOTO", help="A picture file; - reads standard input.")]
Label = Annotated[str, typer.Argument(metavar="LABEL", help="A person's label.")]
Face = Annotated[
    str, typer.Option("--face", metavar="only|largest|central|N", help="Which face of a photograph, N counted from 0 by score.")
]
Roi = Annotated[str | None, typer.Option("--roi", metavar="x1,y1,x2,y2", help="Look for faces only inside this box, in pixels.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag; may be given several times.")]
Fmr = Annotated[float | None, typer.Option("--fmr", metavar="RATE", help="Decide at this false match rate a comparison.")]
OperatingPointName = Annotated[
    str | None, typer.Option("--operating-point", metavar="NAME", help="Decide at a saved operating point instead of a rate.")
]
Keep = Annotated[str | None, typer.Option("--keep", metavar="none|crop|photo", help="Which picture is stored beside the template.")]
AllowMismatch = Annotated[
    bool, typer.Option("--allow-mismatch", help="Enroll although the face resembles none of the label's photographs.")
]
AllowDuplicate = Annotated[
    bool, typer.Option("--allow-duplicate", help="Enroll although the face is that of somebody under another label.")
]
QualityGate = Annotated[
    str | None,
    typer.Option("--quality-gate", metavar="off|standard|strict", help="How usable a face must be; see docs/quality.md."),
]
AllowLowQuality = Annotated[
    bool, typer.Option("--allow-low-quality", help="Enroll however poor the face is: the same as --quality-gate off.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def parsed_gate(gate: str | None, *, allow_low_quality: bool) -> str | None:
    """Return the quality gate asked for, or None for the setting's.

    Raises:
        InputError: A gate is asked for and waved through at once.
    """
    if allow_low_quality and gate not in (None, "off"):
        raise InputError(f"--allow-low-quality and --quality-gate {gate} contradict each other")
    return "off" if allow_low_quality else gate


def parsed_face(text: str) -> FaceChoice:
    """Return which face is meant.

    Raises:
        InputError: Neither one of the words nor an index from 0.
    """
    from facesearch.service.faces import checked_face_choice

    return checked_face_choice(int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text)


def parsed_box(text: str | None) -> Box | None:
    """Return a box from ``x1,y1,x2,y2``, or None where none was given.

    Raises:
        InputError: Not four numbers, or not ``x1 < x2`` and ``y1 < y2``.
    """
    if text is None:
        return None
    from facesearch.core.face import checked_box

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as exc:
        raise InputError(f"a box is four numbers x1,y1,x2,y2, not {text!r}") from exc
    return checked_box(numbers)

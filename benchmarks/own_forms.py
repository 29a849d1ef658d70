"""Brings the files of scripts that write a form of their own into the one form of ``benchmarks.side_by_side``.

It knows the detector's and the video's; any other file is taken as it is. It computes nothing but the units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.side_by_side import machine

DETECTOR_GOALS = {2048: 6.0, 630: 6.0, 250: 4.0}
"""Least ratio by the photograph's height."""

Document = dict[str, Any]


def in_one_form(name: str, held: Document, command: str, seconds: float, date: str) -> Document:
    """Return a part's document in the form of ``side_by_side``.

    Args:
        name: The part.
        held: What its script wrote.
        command: How it was called.
        seconds: How long it ran.
        date: When.
    """
    if isinstance(held.get("machine"), dict) or name not in FORMS:
        return held
    about = {"machine": machine(), "command": command, "seconds": round(seconds, 1), "date": date, "tables": [], "versions": {}}
    return {"name": name, "rows": FORMS[name](held), **about}


def detector_rows(held: Document) -> list[Document]:
    """Return a row for each size and number of faces."""
    rows = []
    for one in held["rows"]:
        work = f"MTCNN detect, {one['width']}×{one['height']}, smallest face 20 px, {one['faces']} faces put in"
        note = f"faces found: ours {one['ours_faces']}, peer {one['peer_faces']}; {held['ours']}"
        times = {key: round(float(one[key]), 3) for key in ("ours_ms", "peer_ms", "ratio")}
        rows.append({"work": work, "peer": held["peer"], **times, "goal": DETECTOR_GOALS.get(one["height"]), "note": note})
    return rows


def video_rows(held: Document) -> list[Document]:
    """Return how many times faster than played each setting is."""
    about, rows = held["video"], []
    for one in held["rows"]:
        size = f"{about['width']}×{about['height']}, {held['sample_rate']:g} frames/s"
        note = f"{one['n_faces']} faces in {one['n_sampled']} frames of {about['seconds']:.0f} s, {one['n_tracks']} tracks"
        row = {
            "work": f"index-video, {size}, smallest face {one['min_face_px']} px, {one['precision']}",
            "peer": None,
            "note": note,
        }
        goal = held["goal"] if one["min_face_px"] == 40 else None
        rows.append({**row, "value": round(one["times_real_time"], 2), "unit": "× real time", "goal": goal, "better": "higher"})
    return rows


FORMS: dict[str, Callable[[Document], list[Document]]] = {"detector": detector_rows, "video": video_rows}

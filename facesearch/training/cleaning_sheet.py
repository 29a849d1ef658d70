"""The picture sheet of a cleaning: what was decided about crops and people, with the faces beside the reasons, as one HTML file.

It decides nothing: see ``cleaning``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np

from facesearch.core.arrays import Pixels
from facesearch.evaluation.report import Headline, Picture, PicturePair, Report, Section, Table
from facesearch.training.cleaned_list import CleanedList, PersonDecision, PersonFinding, RowDecision, RowFinding
from facesearch.training.crop_store import CropStore

MAX_PAIRS = 120
"""Decisions of each kind shown with pictures, the surest first; some 8 kB each. The list itself has them all."""

FACES = 4
"""Faces of a label shown together, two by two."""

EncodeJpeg = Callable[[Pixels], bytes]
"""Makes a small JPEG of uint8 RGB pixels."""

REMARKS = (
    "Left: the photograph in question. Right: up to four others of the label it is compared with. The score is the cosine "
    "similarity with the mean of those that hold together; it is no percentage.",
    "Crops are never changed: the list says what to leave out and what to name otherwise when the store is opened.",
)

_ROWS = (
    (
        RowDecision.MOVED,
        "Moved",
        "Unlike their label's other photographs, and much more like another label's, which they now have.",
    ),
    (RowDecision.DROPPED, "Dropped", "Unlike what holds together under their label, and not sure enough to be somebody else's."),
    (
        RowDecision.FLAGGED,
        "Flagged photographs",
        "Something is wrong under these labels, and nothing says which photograph it is: kept.",
    ),
)
_PEOPLE = (
    (PersonDecision.MERGED, "Merged", "Two labels whose photographs are alike on average: one person from now on."),
    (PersonDecision.EXCLUDED, "Excluded", "People who are in the data that will be measured on."),
    (PersonDecision.FLAGGED, "Flagged labels", "Perhaps one person under two labels: kept apart."),
)


def cleaning_report(store: CropStore, found: CleanedList, encode: EncodeJpeg, *, when: datetime) -> Report:
    """Return the sheet of a cleaning.

    Args:
        store: The whole store.
        found: What was decided.
        encode: Makes the pictures.
        when: The date on it.
    """
    kept = store.cleaned(found)
    counts = found.counts
    facts = (
        ("store", f"{store.manifest['source']['name']} ({store.digest[:12]})"),
        ("embedder", found.embedder_id),
        ("date", when.strftime("%Y-%m-%d %H:%M %Z").strip()),
        ("rule", ", ".join(f"{name} {value:g}" for name, value in found.rule.items() if isinstance(value, float))),
    )
    headlines = (
        Headline("Crops kept", f"{len(kept)}", f"of {len(store)}"),
        Headline("People kept", f"{len(kept.people)}", f"of {len(store.people)}; {int((kept.counts == 1).sum())} with one crop"),
        *(Headline(title, f"{counts[f'crops_{kind}']}", f"of {len(store)} crops") for kind, title, _ in _ROWS),
        *(Headline(title, f"{counts[f'people_{kind}']}", "labels") for kind, title, _ in _PEOPLE),
    )
    pictures = _Pictures(store, found, encode)
    sections = [
        *(_rows_section(pictures, [one for one in found.rows if one.decision is kind], title, text) for kind, title, text in _ROWS),
        *(
            _people_section(pictures, [one for one in found.people if one.decision is kind], title, text)
            for kind, title, text in _PEOPLE
        ),
    ]
    return Report(f"Labels of {store.manifest['source']['name']}", facts, headlines, (), tuple(filter(None, sections)), REMARKS)


class _Pictures:
    """Pictures of crops and of labels; a label is shown by crops that nothing was decided about, as far as there are any."""

    def __init__(self, store: CropStore, found: CleanedList, encode: EncodeJpeg) -> None:
        self._store = store
        self._encode = encode
        self._index_of = {int(place): index for index, place in enumerate(store.places.tolist())}
        self._number = {person: number for number, person in enumerate(store.people)}
        decided = {one.row for one in found.rows}
        self._doubtful = np.array([place in decided for place in store.places.tolist()], dtype=np.bool_)
        self._order = np.lexsort((np.arange(len(store)), self._doubtful, store.labels))
        self._ends = np.concatenate([[0], np.cumsum(store.counts)])

    def of_row(self, row: int, caption: str) -> Picture:
        return Picture(caption, self._encode(self._store.crop(self._index_of[row])))

    def of_person(self, person: str, caption: str, *, without: int | None = None) -> Picture:
        """Return up to four faces of a label in a square; no picture for a label of other data, or without another face."""
        number = self._number.get(person)
        own = [] if number is None else self._order[self._ends[number] : self._ends[number + 1]].tolist()
        shown = [index for index in own if int(self._store.places[index]) != without][:FACES]
        if not shown:
            return Picture(caption)
        if len(shown) == 1:
            return Picture(caption, self._encode(self._store.crop(shown[0])))
        side = self._store.crop_px
        square = np.full((2 * side, 2 * side, 3), 255, dtype=np.uint8)
        for place, index in enumerate(shown):
            top, left = divmod(place, 2)
            square[top * side : (top + 1) * side, left * side : (left + 1) * side] = self._store.crop(index)
        return Picture(caption, self._encode(square))


def _rows_section(pictures: _Pictures, rows: Sequence[RowFinding], title: str, text: str) -> Section | None:
    if not rows:
        return None
    surest = sorted(rows, key=lambda one: (one.own_score if one.own_score is not None else 1.0) - (one.other_score or 0.0))
    pairs = []
    for one in surest[:MAX_PAIRS]:
        to = one.to if one.to is not None else one.person
        score = one.other_score if one.other_score is not None else (one.own_score or 0.0)
        said = f"{one.path} of {one.person}: {one.reason}"
        pairs.append(PicturePair(score, pictures.of_row(one.row, said), pictures.of_person(to, _now(one), without=one.row)))
    return Section(f"{title} ({len(rows)})", _told(text, len(rows)), tables=(_row_table(surest),), pairs=tuple(pairs))


def _now(one: RowFinding) -> str:
    return f"now {one.to}" if one.to is not None else f"others of {one.person}"


def _people_section(pictures: _Pictures, people: Sequence[PersonFinding], title: str, text: str) -> Section | None:
    if not people:
        return None
    surest = sorted(people, key=lambda one: -one.score)
    pairs = [
        PicturePair(one.score, pictures.of_person(one.person, one.person), pictures.of_person(one.other, one.other))
        for one in surest[:MAX_PAIRS]
    ]
    rows = tuple((one.person, one.other, one.score, one.n_comparisons, one.reason) for one in surest[:MAX_PAIRS])
    table = Table(("label", "other", "mean score", "comparisons", "reason"), rows)
    return Section(f"{title} ({len(people)})", _told(text, len(people)), tables=(table,), pairs=tuple(pairs))


def _row_table(rows: Sequence[RowFinding]) -> Table:
    cells = tuple((one.path, one.person, one.to, one.own_score, one.other_score, one.reason) for one in rows[:MAX_PAIRS])
    return Table(("photograph", "label", "now", "own score", "other score", "reason"), cells)


def _told(text: str, n: int) -> str:
    return text if n <= MAX_PAIRS else f"{text} The first {MAX_PAIRS} of {n} are shown; the list has them all."

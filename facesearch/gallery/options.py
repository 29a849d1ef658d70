"""How an index is built and searched.

It does not say where snapshots lie or when they are written: that is the service's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from facesearch.core.errors import SettingsError

IndexKind = Literal["auto", "exact", "hnsw"]

MAX_M = 512
"""Most links a node may have; hnswlib's memory grows with it and nothing is gained beyond about 100."""

MAX_EF = 1_000_000
"""Widest search beam accepted: far beyond it an exact scan is quicker."""


NARROW_EF = 128
NARROW_UP_TO = 100_000
EF_GROWTH = 0.75
"""Beam width where none is set: see ``IndexOptions.ef_for``. Chosen on made-up galleries of 90,000 and of 1,000,000 templates."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """The kind of index and the parameters of HNSW (Malkov & Yashunin 2018).

    Attributes:
        kind: ``"auto"`` takes exact search below ``exact_below`` templates and HNSW from there.
        exact_below: Number of templates from which ``"auto"`` takes HNSW.
        m: Links a node (twice as many on the lowest layer), 2 to 512: recall and memory rise with it.
        ef_construction: Beam width while building, at least ``m``: recall and building time rise with it.
        ef: Beam width of a search: recall and search time rise with it; None chooses it by the gallery's size, see ``ef_for``.
            Takes effect at once; the two above at the next rebuild.
        threads: Threads for large additions, rebuilds and ``search_many``; 0 for as many as the machine has. A single search uses
            the caller's thread only.
        compiled_from: Templates of a saved gallery from which the compiled search is used where it was installed (see ``beam``);
            hnswlib takes 0.3 ms there with the narrow beam that is enough.

    The defaults come from ``python -m benchmarks.index`` (100,000 templates of 25,000 made-up people, 128 numbers, k = 5, two
    shared cores). Share of mated probes whose first answer is the exact one, and median time: 0.992, 0.16 ms for 16/100/64 (m,
    ef_construction, ef); 0.998, 0.16 ms for 16/200/64; 1.000, 0.31 ms for 16/200/128;
    1.000, 0.35 ms for 24/200/128; 1.000, 0.52 ms for 32/200/128.

    A larger gallery needs a wider beam: at 1,000,000 templates that spread as LFW's do (``python -m benchmarks.million``) hnswlib
    finds the exact first answer for 0.938 of the mated probes in 0.40 ms with ``ef`` 128, 0.986 in 0.73 ms with 256, 0.995 in
    1.4 ms with 512 and 1.000 in 2.7 ms with 1024 (1,000 probes, hnswlib alone, a busy machine).
    """

    kind: IndexKind = "auto"
    exact_below: int = 5000
    m: int = 16
    ef_construction: int = 200
    ef: int | None = None
    threads: int = 0
    compiled_from: int = 50_000

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        if self.kind not in get_args(IndexKind):
            raise SettingsError(f"index kind must be one of {', '.join(get_args(IndexKind))}, not {self.kind!r}", kind=self.kind)
        for name, low, high in (
            ("exact_below", 0, 2**31),
            ("m", 2, MAX_M),
            ("ef_construction", self.m, MAX_EF),
            ("ef", 1, MAX_EF),
            ("threads", 0, 1024),
            ("compiled_from", 0, 2**31),
        ):
            value = getattr(self, name)
            if name == "ef" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingsError(f"index setting {name} must be a whole number from {low} to {high}, not {value!r}", name=name)

    def ef_for(self, n_templates: int) -> int:
        """Return the beam width of searches in a gallery of this size.

        Without a setting: ``NARROW_EF`` up to ``NARROW_UP_TO`` templates, and from there as its power of ``EF_GROWTH``, which keeps
        the share of people that are missed about the same (720 at a million).
        """
        if self.ef is not None:
            return self.ef
        return int(NARROW_EF * max(1.0, n_templates / NARROW_UP_TO) ** EF_GROWTH)

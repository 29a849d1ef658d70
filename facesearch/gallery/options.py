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


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """The kind of index and the parameters of HNSW (Malkov & Yashunin 2018).

    Attributes:
        kind: ``"auto"`` takes exact search below ``exact_below`` templates and HNSW from there.
        exact_below: Number of templates from which ``"auto"`` takes HNSW.
        m: Links a node (twice as many on the lowest layer), 2 to 512: recall and memory rise with it.
        ef_construction: Beam width while building, at least ``m``: recall and building time rise with it.
        ef: Beam width of a search: recall and search time rise with it. Takes effect at once; the two above at the next rebuild.
        threads: Threads for large additions, rebuilds and ``search_many``; 0 for as many as the machine has. A single search uses
            the caller's thread only.

    The defaults come from ``python -m benchmarks.index`` (100,000 templates of 25,000 made-up people, 128 numbers, k = 5, two
    shared cores). Share of mated probes whose first answer is the exact one, and median time: 0.992, 0.16 ms for 16/100/64 (m,
    ef_construction, ef); 0.998, 0.16 ms for 16/200/64; 1.000, 0.31 ms for 16/200/128;
    1.000, 0.35 ms for 24/200/128; 1.000, 0.52 ms for 32/200/128.

    A larger gallery needs a wider beam: at 1,000,000 templates that spread as LFW's do (``python -m benchmarks.million``) the first
    answer is the exact one for 0.938 of the mated probes in 0.40 ms with ``ef`` 128, 0.986 in 0.73 ms with 256, 0.995 in 1.4 ms
    with 512 and 1.000 in 2.7 ms with 1024 (1,000 probes, hnswlib alone, a busy machine).
    """

    kind: IndexKind = "auto"
    exact_below: int = 5000
    m: int = 16
    ef_construction: int = 200
    ef: int = 128
    threads: int = 0

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
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingsError(f"index setting {name} must be a whole number from {low} to {high}, not {value!r}", name=name)

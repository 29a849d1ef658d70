"""How an index is built and searched.

It does not say where snapshots lie or when they are written: that is the service's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from facesearch.core.compact import TemplateFormat
from facesearch.core.errors import SettingsError

IndexKind = Literal["auto", "exact", "hnsw"]

MAX_M = 512
"""Most links a node may have; hnswlib's memory grows with it and nothing is gained beyond about 100."""

MAX_EF = 1_000_000
"""Widest search beam accepted: far beyond it an exact scan is quicker."""

EXACT_NUMBERS = 2_560_000
"""Numbers of all vectors up to which exact search is as quick as the graph: 20,000 templates of 128. See ``IndexOptions``."""

NARROW_EF = 128
NARROW_UP_TO = 100_000
EF_GROWTH = 0.75
"""Beam width where none is set: see ``IndexOptions.ef_for``. Chosen on made-up galleries of 90,000 and of 1,000,000 templates."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """The kind of index and the parameters of HNSW (Malkov & Yashunin 2018).

    Attributes:
        kind: ``"auto"`` takes exact search for small galleries and HNSW for large ones, see ``exact_limit``.
        exact_below: Number of templates from which ``"auto"`` takes HNSW; None chooses it by the length of the vectors.
        m: Links a node (twice as many on the lowest layer), 2 to 512: recall and memory rise with it.
        ef_construction: Beam width while building, at least ``m``: recall and building time rise with it.
        ef: Beam width of a search: recall and search time rise with it; None chooses it by the gallery's size, see ``ef_for``.
            Takes effect at once; the two above at the next rebuild.
        threads: Threads for large additions, rebuilds and ``search_many``; 0 for as many as the machine has. A single search uses
            the caller's thread only.
        compiled_from: Templates of a saved gallery from which the compiled search is used where it was installed (see ``beam``);
            hnswlib takes 0.3 ms there with the narrow beam that is enough.
        template_format: How vectors are held: ``"f32"``, ``"int8"`` (a quarter of the space) or ``"binary"`` (bits choose the bytes
            that are scored, in galleries of any size; no graph). See docs/compression.md.

    The defaults come from ``python -m benchmarks.index`` (100,000 templates of 25,000 made-up people, 128 numbers, k = 5, two
    shared cores). Share of mated probes whose first answer is the exact one, and median time: 0.992, 0.16 ms for 16/100/64 (m,
    ef_construction, ef); 0.998, 0.16 ms for 16/200/64; 1.000, 0.31 ms for 16/200/128;
    1.000, 0.35 ms for 24/200/128; 1.000, 0.52 ms for 32/200/128.

    Below ``EXACT_NUMBERS`` a graph gains nothing (``python -m benchmarks.index --small``: median of a search of 5,000, 10,000 and
    20,000 templates of 128 numbers, exact 0.06, 0.09, 0.14 ms, graph 0.09, 0.10, 0.13 ms; of 32 probes at once 0.05, 0.07, 0.11
    against 0.09, 0.12, 0.16 ms each), misses nobody, and needs no second copy of the vectors and no time to be built.

    A larger gallery needs a wider beam: at 1,000,000 templates that spread as LFW's do (``python -m benchmarks.million``) hnswlib
    finds the exact first answer for 0.938 of the mated probes in 0.40 ms with ``ef`` 128, 0.986 in 0.73 ms with 256, 0.995 in
    1.4 ms with 512 and 1.000 in 2.7 ms with 1024 (1,000 probes, hnswlib alone, a busy machine).
    """

    kind: IndexKind = "auto"
    exact_below: int | None = None
    m: int = 16
    ef_construction: int = 200
    ef: int | None = None
    threads: int = 0
    compiled_from: int = 50_000
    template_format: TemplateFormat = "f32"

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        if self.kind not in get_args(IndexKind):
            raise SettingsError(f"index kind must be one of {', '.join(get_args(IndexKind))}, not {self.kind!r}", kind=self.kind)
        if self.template_format not in get_args(TemplateFormat):
            known = ", ".join(get_args(TemplateFormat))
            raise SettingsError(f"template format must be one of {known}, not {self.template_format!r}", name="template_format")
        if self.template_format == "binary" and self.kind != "auto":
            raise SettingsError(
                f"index {self.kind!r} goes with template format f32 or int8: of binary templates the bits are compared, leave "
                "index at auto",
                kind=self.kind,
            )
        for name, low, high in (
            ("exact_below", 0, 2**31),
            ("m", 2, MAX_M),
            ("ef_construction", self.m, MAX_EF),
            ("ef", 1, MAX_EF),
            ("threads", 0, 1024),
            ("compiled_from", 0, 2**31),
        ):
            value = getattr(self, name)
            if name in {"ef", "exact_below"} and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingsError(f"index setting {name} must be a whole number from {low} to {high}, not {value!r}", name=name)

    def exact_limit(self, dim: int) -> int:
        """Return the number of templates of so many numbers each from which ``"auto"`` takes HNSW."""
        return EXACT_NUMBERS // dim if self.exact_below is None else self.exact_below

    def ef_for(self, n_templates: int) -> int:
        """Return the beam width of searches in a gallery of this size.

        Without a setting: ``NARROW_EF`` up to ``NARROW_UP_TO`` templates, and from there as its power of ``EF_GROWTH``, which keeps
        the share of people that are missed about the same (720 at a million).
        """
        if self.ef is not None:
            return self.ef
        return int(NARROW_EF * max(1.0, n_templates / NARROW_UP_TO) ** EF_GROWTH)

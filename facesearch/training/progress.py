"""Where a run is: steps done, the best figure so far, and the time it took.

It counts nothing itself: ``trainer`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Progress:
    """Where a run is: what a checkpoint keeps beside tensors.

    Attributes:
        step: Steps done.
        best: Best figure of validation so far; None before the first.
        best_step: Where it was found.
        stale: Validations since then.
        trained_s: Seconds of training.
        waited_s: Seconds of these spent waiting for crops.
        n_crops: Crops trained on, in this process.
        is_over: Whether it ended early.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    trained_s: float = 0.0
    waited_s: float = 0.0
    n_crops: int = 0
    is_over: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

"""Where a run is: steps done, the best figure so far, and the time it took.

It counts nothing itself: ``trainer`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SAME_FIGURE = 1e-9
"""Figures nearer than this are one: sums of people's shares end in different last bits."""


@dataclass(slots=True)
class Progress:
    """Where a run is: what a checkpoint keeps beside tensors.

    Attributes:
        step: Steps done.
        begun: Figure of validation of the network that the run began with; None where it had none, or was not measured.
        best: Best figure of validation since then; None before the first.
        best_step: Where it was found.
        stale: Validations since then.
        trained_s: Seconds of training.
        waited_s: Seconds of these spent waiting for crops.
        n_crops: Crops trained on, in this process.
        is_over: Whether it ended early.
    """

    step: int = 0
    begun: float | None = None
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    trained_s: float = 0.0
    waited_s: float = 0.0
    n_crops: int = 0
    is_over: bool = False

    def worse_than_begun(self) -> str | None:
        """Return a warning where no validation reached the figure of the network that the run began with."""
        if self.begun is None or self.best is None or self.best + SAME_FIGURE >= self.begun:
            return None
        return (
            f"the best figure of validation, {100 * self.best:.2f} %, is below that of the network it began with, "
            f"{100 * self.begun:.2f} %: what was given was better than what was made of it. Begin again with a lower rate, "
            "freeze more stages, or bring more photographs"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

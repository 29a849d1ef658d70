"""Reading what ``torch.save`` wrote of a network's tensors; nothing but tensors is unpickled.

It checks no digest: see ``facesearch.embedding.checkpoint.read_checked``.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from facesearch.core.errors import CheckpointFormatError

if TYPE_CHECKING:
    import torch


def read_state(content: bytes, *, source: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a file's content by name.

    Args:
        content: The file.
        source: Its name, for messages.

    Raises:
        CheckpointFormatError: It holds something else.
    """
    import torch

    try:
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as exc:
        raise CheckpointFormatError(f"{source} is no file of tensors: {str(exc).splitlines()[0]}", path=source) from exc
    if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
        raise CheckpointFormatError(f"{source} holds no named tensors but {type(found).__name__}", path=source)
    return found

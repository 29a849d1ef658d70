"""facesearch: enroll people, verify two photographs (1:1) and search a gallery by face (1:N).

Importing it does no work: torch, OpenVINO and the database are loaded by the first call that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from facesearch.version import __version__

if TYPE_CHECKING:
    from facesearch.bootstrap import FaceSearch
    from facesearch.core.decision import Candidate, Identification, OperatingPoint, Verification
    from facesearch.core.errors import FaceSearchError
    from facesearch.core.face import Detection, FaceCrop
    from facesearch.core.identity import EnrolledTemplate, Identity
    from facesearch.core.image import Image
    from facesearch.core.template import Template, compare, squared_distance
    from facesearch.settings import Settings

_HOMES = {
    "FaceSearch": "facesearch.bootstrap",
    "Settings": "facesearch.settings",
    "FaceSearchError": "facesearch.core.errors",
    "Candidate": "facesearch.core.decision",
    "Identification": "facesearch.core.decision",
    "OperatingPoint": "facesearch.core.decision",
    "Verification": "facesearch.core.decision",
    "Detection": "facesearch.core.face",
    "FaceCrop": "facesearch.core.face",
    "EnrolledTemplate": "facesearch.core.identity",
    "Identity": "facesearch.core.identity",
    "Image": "facesearch.core.image",
    "Template": "facesearch.core.template",
    "compare": "facesearch.core.template",
    "squared_distance": "facesearch.core.template",
}

__all__ = [
    "Candidate",
    "Detection",
    "EnrolledTemplate",
    "FaceCrop",
    "FaceSearch",
    "FaceSearchError",
    "Identification",
    "Identity",
    "Image",
    "OperatingPoint",
    "Settings",
    "Template",
    "Verification",
    "__version__",
    "compare",
    "squared_distance",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'facesearch' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value

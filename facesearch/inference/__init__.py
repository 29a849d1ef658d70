"""How a network is run: OpenVINO on the processor (default), torch as the reference and for graphics cards.

It knows nothing of faces: networks come as a ``NetworkSpec``, arrays go in and arrays come out. Importing it loads neither engine.
"""

from facesearch.inference.engines import create_engine
from facesearch.inference.network import Engine, NetworkSpec, Precision
from facesearch.inference.precision import WantedPrecision
from facesearch.inference.processor import has_native_bf16, native_precisions

__all__ = ["Engine", "NetworkSpec", "Precision", "WantedPrecision", "create_engine", "has_native_bf16", "native_precisions"]

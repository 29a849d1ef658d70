"""How a network is run: OpenVINO on the processor (default), torch as the reference and for graphics cards.

It knows nothing of faces: networks come as a ``NetworkSpec``, arrays go in and arrays come out. Importing it loads neither engine.
"""

from facesearch.inference.engines import create_engine, has_native_bf16
from facesearch.inference.network import Engine, NetworkSpec, Precision

__all__ = ["Engine", "NetworkSpec", "Precision", "create_engine", "has_native_bf16"]

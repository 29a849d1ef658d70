"""From aligned faces to comparable vectors: embedders by name, their weights, and the network that computes them.

It neither finds nor cuts out faces. Importing it loads no inference engine, and torch is only imported to build a network.
"""

from facesearch.embedding.embedder import NetworkEmbedder, create_embedder
from facesearch.embedding.registry import EmbedderCard, available, card

__all__ = ["EmbedderCard", "NetworkEmbedder", "available", "card", "create_embedder"]

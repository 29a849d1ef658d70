"""Whether a model is an embedder at all: it is run on two different pictures before it is taken.

It measures no accuracy: a network that recognises nobody passes, one whose output is no template does not.
"""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from facesearch.core.arrays import Pixels, Vectors
from facesearch.core.errors import ModelError, UnsupportedModelError
from facesearch.embedding.card import EmbedderCard
from facesearch.embedding.networks import network_spec
from facesearch.inference import Engine

SAME_VECTOR = 1e-3
"""Largest difference of two unit vectors' elements that still counts as the same vector in f32."""

DEPENDS = 1e-5
"""Smallest difference of two pictures' unit vectors that counts as a difference."""

MAX_DIM = 8192
"""Longest vector that is taken for a template; longer outputs are feature maps."""

logger = logging.getLogger("facesearch")


def probe(card: EmbedderCard, engine: Engine) -> EmbedderCard:
    """Return a card with the vectors' length and whether the network takes several crops at once.

    Args:
        card: The model; its ``dim`` is ignored.
        engine: What runs it.

    Raises:
        UnsupportedModelError: What comes out is no template: wrong rank, zero, not finite, or the same for different pictures.
        ModelError: The network cannot be loaded or run.
    """
    pictures = probe_pictures(card.alignment.crop_px)
    alone = dataclasses.replace(card, is_batched=False)
    try:
        together = _run(dataclasses.replace(card, is_batched=True), engine, pictures)
    except ModelError as exc:
        # Many files are made for one picture; what is wrong with them shows when they get one.
        logger.info("%s takes one picture at a time: %s", card.name, exc)
        together = None
    if together is not None and len(together) == len(pictures):
        singles = _run(dataclasses.replace(card, is_batched=True), engine, pictures[:1])
        if np.abs(_directions(card, together)[:1] - _directions(card, singles)).max() <= SAME_VECTOR:
            return _judged(dataclasses.replace(card, is_batched=True), together)
    vectors = np.concatenate([_run(alone, engine, pictures[place : place + 1]) for place in range(len(pictures))])
    return _judged(alone, vectors)


def probe_pictures(crop_px: int) -> Pixels:
    """Return two pictures that differ in everything: ``(2, crop_px, crop_px, 3)``, soft shading like a face's, and noise."""
    rows, columns = np.mgrid[:crop_px, :crop_px] / crop_px - 0.5
    face = 190.0 * np.exp(-4.0 * (rows**2 * 0.7 + columns**2)) - 60.0 * np.exp(
        -90.0 * ((np.abs(columns) - 0.17) ** 2 + (rows + 0.05) ** 2)
    )
    shaded = np.stack([face, face * 0.8, face * 0.7], axis=2)
    noise = np.random.default_rng(0).integers(0, 256, shaded.shape)
    return np.stack([np.clip(shaded, 0, 255), noise]).astype(np.uint8)


def _run(card: EmbedderCard, engine: Engine, pictures: Pixels) -> Vectors:
    """Return the one output, of rank 2."""
    outputs = engine.load(network_spec(card)).run(pictures)
    shapes = ", ".join(str(output.shape) for output in outputs)
    if len(outputs) != 1:
        raise UnsupportedModelError(f"{card.name} returns {len(outputs)} outputs ({shapes}) and not one template", name=card.name)
    vectors = outputs[0]
    if vectors.ndim != 2 or len(vectors) != len(pictures) or not 1 < vectors.shape[1] <= MAX_DIM:
        raise UnsupportedModelError(
            f"{card.name} returns shape {shapes} for {len(pictures)} pictures, templates have shape ({len(pictures)}, D): "
            "this is no embedder, or another of its outputs is the template",
            name=card.name,
        )
    return np.asarray(vectors, dtype=np.float32)


def _directions(card: EmbedderCard, vectors: Vectors) -> Vectors:
    """Return unit vectors."""
    if not np.isfinite(vectors).all():
        n_bad = int((~np.isfinite(vectors)).sum())
        raise UnsupportedModelError(f"{card.name} returns {n_bad} values that are not finite (NaN or infinity)", name=card.name)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not norms.all():
        raise UnsupportedModelError(f"{card.name} returns the zero vector, which has no direction", name=card.name)
    return np.asarray(vectors / norms, dtype=np.float32)


def _judged(card: EmbedderCard, vectors: Vectors) -> EmbedderCard:
    """Return the card with what the vectors show."""
    first, second = _directions(card, vectors)
    if float(np.abs(first - second).max()) < DEPENDS:
        raise UnsupportedModelError(f"{card.name} returns the same vector for two different pictures", name=card.name)
    return dataclasses.replace(card, dim=vectors.shape[1])

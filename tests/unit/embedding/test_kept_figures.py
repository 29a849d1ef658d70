"""Figures beside a model: one way of embedding replaces its own alone, and the package's models keep theirs."""

from __future__ import annotations

import json

import pytest

from facesearch.core.errors import InputError, UnknownEmbedderError
from facesearch.embedding.kept_figures import KeptFigures
from facesearch.embedding.registry import CARD_FILE, FIGURES_FILE


class Library:
    """A models folder with one model in it, as far as figures go."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "mine").mkdir()
        (folder / "mine" / CARD_FILE).write_text("{}")
        self.written = []

    def card(self, name):
        if name not in ("mine", "shipped"):
            raise UnknownEmbedderError(f"no {name}")
        return type("Card", (), {"name": name})

    def write_figures(self, name, figures):
        self.written.append((name, figures))
        (self.folder / name / FIGURES_FILE).write_text(json.dumps(figures))


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path)


def test_each_way_of_embedding_replaces_its_own_figures_alone(library):
    for is_flipped, value in ((False, 1), (True, 2), (False, 3)):
        kept = KeptFigures(library, "mine", is_flipped=is_flipped)
        kept.check()
        kept.keep({"value": value})
    assert library.written[-1] == ("mine", {"single": {"value": 3}, "flip": {"value": 2}})


def test_a_model_of_the_package_and_an_unknown_one_are_refused_before_the_work(library):
    with pytest.raises(InputError, match=r"shipped comes with the package.*evaluate folder DIR --save NAME"):
        KeptFigures(library, "shipped", is_flipped=False).check()
    with pytest.raises(UnknownEmbedderError):
        KeptFigures(library, "nobody", is_flipped=False).check()
    assert library.written == []

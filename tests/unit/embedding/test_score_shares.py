"""How scores are spread, as the shipped card says it."""

from __future__ import annotations

import json

import pytest

from facesearch.core.errors import CheckpointFormatError
from facesearch.embedding.card_file import read_card
from facesearch.embedding.registry import SHIPPED_MODELS
from facesearch.embedding.score_shares import ScoreShares, parse_score_shares

CARD = SHIPPED_MODELS / "mobilenet-128.json"


def shares(**changes) -> ScoreShares:
    given = {"start": 0.0, "width": 0.25, "mated": (0.0, 0.0, 0.5, 0.5), "non_mated": (0.75, 0.25, 0.0, 0.0)} | changes
    return ScoreShares("made up", 2, 2, 4, **given)


def test_the_shipped_card_has_them_and_they_agree_with_its_operating_points():
    card = read_card(CARD)
    assert list(card.score_shares) == ["single"]
    told = card.score_shares["single"]
    assert (told.n_people, told.n_mated, told.n_non_mated) == (1711, 24620, 6848144)
    published = json.loads(CARD.read_text())["lfw"]["single"]["operating_points"]
    assert len(published) == 5
    for point in published:
        # A threshold lies inside a bin: the shares of the bins above it and from it on bracket the published rates.
        place = int((point["threshold"] - told.start) / told.width)
        assert sum(told.non_mated[place + 1 :]) <= point["fmr_check"] * 1.01 <= sum(told.non_mated[place:]) * 1.02
        assert sum(told.mated[place + 1 :]) - 1e-3 <= point["tar_check"] <= sum(told.mated[place:]) + 1e-3


def test_they_are_written_as_plain_values_and_read_back():
    told = shares()
    assert parse_score_shares({"flip": json.loads(json.dumps(told.as_dict()))}) == {"flip": told}


def test_a_card_without_them_has_none():
    assert parse_score_shares({}) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"mated": (0.5, 0.5)},
        {"mated": (), "non_mated": ()},
        {"mated": (0.5, 0.0, 0.0, 0.0)},
        {"non_mated": (1.5, -0.5, 0.0, 0.0)},
        {"start": -1.5},
        {"width": 0.0},
        {"width": 0.5},
        {"mated": (float("nan"), 0.0, 0.5, 0.5)},
    ],
)
def test_what_contradicts_itself_is_refused(changes):
    with pytest.raises(ValueError, match=r"histogram|bins"):
        shares(**changes)


def test_a_card_whose_histograms_are_malformed_is_refused_by_its_name(tmp_path):
    fields = json.loads(CARD.read_text())
    fields["score_histograms"]["single"]["mated"][0] = 0.5
    (tmp_path / "mobilenet-128.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointFormatError, match="add up to 1"):
        read_card(tmp_path / "mobilenet-128.json")

"""Cursors: opaque, of one list, and refused when altered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.api.paging import cursor_of, number_position, paged, text_position
from facesearch.core.errors import InputError

ABOUT = ("identities", "default", "a", "tag")


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=3))
def test_a_position_comes_back(position: str, about: list[str]) -> None:
    assert text_position(about, cursor_of(about, position)) == position


@given(st.integers(0, 2**63 - 1))
def test_a_number_comes_back(position: int) -> None:
    assert number_position(ABOUT, cursor_of(ABOUT, position)) == position


@given(st.text(min_size=1, max_size=60))
def test_nothing_made_up_is_a_cursor(made_up: str) -> None:
    with pytest.raises(InputError, match="begin at the first page"):
        text_position(ABOUT, made_up)


@pytest.mark.parametrize(
    "about", [("identities", "default", "a"), ("identities", "default", "a", "tag", ""), ("faces", "default", "a", "tag")]
)
def test_a_cursor_belongs_to_one_list(about: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        text_position(about, cursor_of(ABOUT, "Ada"))


def test_a_cursor_of_texts_is_none_of_numbers() -> None:
    with pytest.raises(InputError):
        number_position(ABOUT, cursor_of(ABOUT, "Ada"))
    with pytest.raises(InputError):
        text_position(ABOUT, cursor_of(ABOUT, 7))


def test_the_first_page_has_no_cursor() -> None:
    assert (text_position(ABOUT, None), text_position(ABOUT, ""), number_position(ABOUT, None)) == ("", "", 0)


@given(st.integers(0, 30), st.integers(1, 7))
def test_pages_hold_everything_once(n_items: int, limit: int) -> None:
    items = list(range(1, n_items + 1))
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(n_items + 1):
        after = number_position(ABOUT, cursor)
        page, cursor = paged([one for one in items if one > after][: limit + 1], limit, ABOUT, lambda one: one)
        assert len(page) <= limit
        seen += page
        if cursor is None:
            break
    assert seen == items

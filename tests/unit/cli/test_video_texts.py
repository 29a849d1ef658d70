"""Times on the command line."""

from __future__ import annotations

import pytest

from facesearch.cli.video import clock


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.0, "0:00.0"), (9.96, "0:10.0"), (59.96, "1:00.0"), (61.24, "1:01.2"), (3599.96, "1:00:00.0"), (7325.4, "2:02:05.4")],
)
def test_a_clock_rounds_and_carries(time_s, text):
    assert clock(time_s) == text

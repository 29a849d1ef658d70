"""The log of outcomes beside a plain list of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch.service.folder_report import BLOCK, FileOutcome, OutcomeLog


def outcomes(number: int) -> list[FileOutcome]:
    return [
        FileOutcome(
            Path(f"/people/{n // 2}/picture \udcff {n}.jpg"),
            f"person {n // 2}",
            *(("enrolled", "", n) if n % 3 else ("no_face", f"no {n}")),
        )
        if n % 5
        else FileOutcome(Path(f"{n}"), "x", "possible_duplicate", "said", n, "somebody", is_known=True)
        for n in range(number)
    ]


@pytest.mark.parametrize("number", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_it_reads_as_a_list(number: int) -> None:
    plain, log = outcomes(number), OutcomeLog()
    for one in plain:
        log.append(one)
    assert len(log) == len(plain) == number
    assert list(log) == plain
    assert log[BLOCK - 2 : BLOCK + 3] == plain[BLOCK - 2 : BLOCK + 3]
    assert log[::-97] == plain[::-97]
    for place in (0, -1, number // 2, number - 1):
        if number:
            assert log[place] == plain[place]
    with pytest.raises(IndexError):
        log[number]

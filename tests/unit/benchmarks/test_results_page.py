"""The page of results: goals met and missed, and nothing left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import results

AVX512 = {"processor": "made up", "family": "1/2", "flags": ["avx2", "avx512f", "avx512_bf16"], "cores": 2, "memory_gib": 8.0}
MACHINE = {**AVX512, "system": "Linux", "python": "3.11"}
RATIO = {"work": "detect", "peer": "other", "ours_ms": 2.0, "peer_ms": 10.0, "ratio": 5.0, "goal": 6.0, "note": "1 | 2"}
VALUE = {"work": "memory", "peer": None, "value": 0.9985, "unit": "share", "goal": 0.999, "better": "higher", "note": ""}


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "MEASURED", tmp_path)
    monkeypatch.setattr(results, "STATUS", tmp_path / "peers" / "status.json")
    return tmp_path


def written(folder: Path, name: str, rows: list[dict], machine: dict, date: str = "2026-01-02") -> None:
    held = {
        "name": name,
        "rows": rows,
        "tables": ["a table"],
        "machine": machine,
        "command": "python -m x",
        "seconds": 1.0,
        "date": date,
    }
    (folder / f"{name}.json").write_text(json.dumps(held))


@pytest.mark.parametrize(
    ("row", "share", "expected"),
    [
        (RATIO, 1.0, "**missed** by 1.00× (17 %)"),
        (RATIO, results.AVX2_SHARE, "met"),
        (VALUE, 1.0, "**missed** by 0.0005 share"),
        (VALUE, results.AVX2_SHARE, "**missed** by 0.0005 share"),
        ({**VALUE, "better": "lower"}, 1.0, "met"),
        ({**RATIO, "goal": None}, 1.0, ""),
    ],
)
def test_verdicts(row: dict, share: float, expected: str) -> None:
    assert results.verdict(row, share) == expected


def test_the_processor_decides_how_much_of_a_ratio_is_asked_for() -> None:
    assert results.share_asked(MACHINE)[0] == 1.0
    assert results.share_asked({**MACHINE, "flags": ["avx2", "avx_vnni"]})[0] == results.AVX2_SHARE
    assert results.share_asked({**MACHINE, "flags": ["avx2", "avx512f"]})[0] == results.AVX2_SHARE


def test_the_page_names_what_was_measured_and_what_was_not(measured: Path) -> None:
    written(measured, "detector", [RATIO, VALUE], MACHINE)
    results.STATUS.parent.mkdir()
    peers = {"peers": {"deepface": {"ok": False, "reason": "no such package"}, "faiss": {"ok": True, "reason": ""}}, "versions": {}}
    results.STATUS.write_text(json.dumps(peers))
    page = results.page()
    assert "| detect (other) | **5.00×** | ≥ 6× | **missed** by 1.00× (17 %) |" in page
    assert "1 \\| 2" in page
    assert "**Missing peer** deepface: no such package" in page
    assert "Missing peer** faiss" not in page
    assert page.count("not measured") == len(results.PARTS) - 1 > 0
    assert "a table" in page


def test_parts_of_another_machine_are_named(measured: Path) -> None:
    written(measured, "detector", [RATIO], {**MACHINE, "processor": "an older one"}, "2026-01-01")
    written(measured, "million", [VALUE], MACHINE)
    assert "Part detector was measured on another machine or system: an older one (family" in results.page()


def test_nothing_measured_is_no_page(measured: Path) -> None:
    with pytest.raises(SystemExit, match="nothing was measured"):
        results.page()

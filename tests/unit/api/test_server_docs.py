"""docs/server.md names every setting with its default, and every count."""

from __future__ import annotations

import re
from pathlib import Path

from facesearch.api.metrics import Metrics
from facesearch.server_settings import MIB, ServerSettings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "server.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def shown(value: object) -> str:
    """Return a default as the table has it."""
    if value is None or value == ():
        return ""
    if isinstance(value, int):
        return f"{value // MIB} MiB" if value >= MIB and value % MIB == 0 else f"{value:,}" if value > 9999 else str(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_setting_is_in_the_table_with_its_default_and_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]+) \|$", section("Settings"), re.MULTILINE)
    assert len(rows) >= 20
    stated = {name: (default.strip(), text.strip()) for name, default, text in rows}
    assert stated == {name: (shown(field.default), field.description) for name, field in ServerSettings.model_fields.items()}


def test_every_count_is_in_the_table() -> None:
    metrics = Metrics(version="1")
    metrics.runs("x")
    counted = set(re.findall(r"^# TYPE (facesearch_\w+)", metrics.text().decode(), re.MULTILINE))
    counted = {name for name in counted if not name.endswith("_created")} - {"facesearch_build_info"}
    named = {name.removesuffix("{") for name in re.findall(r"`(facesearch_\w+)", section("Watching it"))}
    assert len(named) >= 10
    assert named == counted


def test_its_links_lead_somewhere() -> None:
    folder = Path(__file__).resolve().parents[3] / "docs"
    links = [link for link in re.findall(r"\]\((?!https?:)([^)#]+)", PAGE) if not link.startswith("rest.md")]
    assert len(links) >= 4
    assert [link for link in links if not (folder / link).exists()] == []

"""The programs of docs/client.md do what they say, against a service behind a real socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_service import LiveService

PAGE = Path(__file__).resolve().parents[2] / "docs" / "client.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    made = LiveService(tmp_path_factory.mktemp("docs"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("place", "expected"), [(0, ["True", "Ada ", "Ada 1"]), (1, ["[True, False]"]), (2, ["2 of 3", "3.jpg no_face"])]
)
def test_a_program_of_the_page_runs(
    service: LiveService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: int,
    expected: list[str],
):
    assert len(PROGRAMS) == 3
    networks = service.api.networks
    for number, (name, person) in enumerate([("ada", 0), ("door", 0), ("group", 0), ("a", 0), ("b", 0), ("c", 1)]):
        (tmp_path / f"{name}.jpg").write_bytes(networks.portrait_png(name, person, 0.9, number))
    for label, number, data in [
        ("Eva", 1, networks.portrait_png("eva", 4)),
        ("Tom", 2, networks.portrait_png("tom", 5)),
        ("Tom", 3, networks.png("nobody")),
    ]:
        (tmp_path / "people" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "people" / label / f"{number}.jpg").write_bytes(data)
    program = PROGRAMS[place].replace("fs_…", service.key()).replace("http://127.0.0.1:8000", service.url)
    program = program.replace("Client(api_key=", f"Client({service.url!r}, api_key=")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, PAGE.name, "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    for one in expected:
        assert one in said

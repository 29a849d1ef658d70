"""Building the package with and without a working C++ compiler."""

from __future__ import annotations

from pathlib import Path

import pytest

import hatch_build
from hatch_build import LIBRARIES, CustomBuildHook, commands

ROOT = Path(__file__).resolve().parents[3]


class Listener:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, message: str) -> None:
        self.warnings.append(message)


def built(listener: Listener) -> dict:
    hook = CustomBuildHook(str(ROOT), {}, None, None, "", "wheel", app=listener)
    build_data: dict = {"force_include": {}, "pure_python": True}
    hook.initialize("standard", build_data)
    hook.finalize("standard", build_data, "")
    return build_data


def test_without_a_compiler_the_build_goes_on_with_one_warning(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    listener = Listener()
    assert built(listener) == {"force_include": {}, "pure_python": True}
    assert len(listener.warnings) == 1
    assert "no-such-compiler" in listener.warnings[0]
    assert "several times slower" in listener.warnings[0]


def test_a_compiler_that_fails_is_quoted(tmp_path, monkeypatch):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'it is out of order' >&2\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    listener = Listener()
    assert built(listener)["pure_python"] is True
    assert len(listener.warnings) == 1
    assert "it is out of order" in listener.warnings[0]


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.path.stem)
@pytest.mark.parametrize(("machine", "n_sets"), [("x86_64", 3), ("AMD64", 3), ("aarch64", 1), ("riscv64", 1)])
def test_what_is_built_here_runs_elsewhere(monkeypatch, machine, n_sets, library):
    monkeypatch.setattr(hatch_build.platform, "machine", lambda: machine)
    calls, link = commands(library, ["c++"], ROOT, Path("out"))
    assert len(calls) == n_sets + 1
    flags = {flag for call in [*calls, link] for flag in call}
    assert not [flag for flag in flags if flag.startswith(("-march", "-mtune"))]
    # Only code that is chosen at run time may need more than every processor has.
    special = [call for call in calls if any(flag.startswith("-m") for flag in call)]
    assert len(special) == n_sets - 1
    assert all("-DFS_NAME=" in " ".join(call) and library.main not in " ".join(call) for call in special)

"""A command line run in this process, over a fake library."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass

import pytest

from facesearch.cli.main import execute
from tests.cli_fakes import FakeLibrary


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self):
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        return json.loads(lines[0], parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@pytest.fixture
def library():
    return FakeLibrary()


@pytest.fixture
def service(library):
    return library.fake


@pytest.fixture
def cli(library, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no facesearch.toml of this folder

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = execute(arguments, library=library, log_folder=tmp_path / "logs")
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run

from __future__ import annotations

import os

import pytest

from facesearch.core.paths import is_file, is_folder, is_there


def test_what_is_there(tmp_path):
    file = tmp_path / "a"
    file.touch()
    assert (is_there(file), is_folder(file)) == (True, False)
    assert (is_there(str(tmp_path)), is_folder(tmp_path)) == (True, True)
    assert (is_there(tmp_path / "b"), is_folder(tmp_path / "b")) == (False, False)
    os.mkfifo(tmp_path / "pipe")
    assert [is_file(path) for path in (file, tmp_path, tmp_path / "b", tmp_path / "pipe")] == [True, False, False, False]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_path_that_cannot_be_looked_at_is_not_there(tmp_path, name):
    assert [ask(tmp_path / name) for ask in (is_there, is_folder, is_file)] == [False] * 3

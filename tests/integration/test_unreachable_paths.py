"""Paths that the system refuses to look at: too long a name here, since that refusal meets the superuser too; a folder without
permission takes the same way through the code."""

from __future__ import annotations

import pytest

from facesearch.cli.main import execute
from facesearch.core.errors import ProtocolFileError, StoreError
from facesearch.service.enroll_folder import labelled_files
from facesearch.service.photograph_lists import read_pairs_csv
from facesearch.store import schema
from facesearch.store.sql import SqlStore

TOO_LONG = "x" * 300


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("enroll", f"{TOO_LONG}.jpg", "Ada"), 2),
        (("enroll", TOO_LONG), 2),
        (("enroll", ".", "--report", f"{TOO_LONG}/r.json"), 2),
        (("evaluate", "folder", TOO_LONG), 2),
        (("evaluate", "folder", ".", "--report", f"{TOO_LONG}/r.html"), 2),
        (("--data-dir", TOO_LONG, "identities", "list"), 6),
        (("--data-dir", TOO_LONG, "db", "current"), 6),
        (("identities", "export", TOO_LONG), 6),
    ],
)
def test_a_path_that_cannot_be_looked_at_is_no_fault_of_facesearch(tmp_path, monkeypatch, capsys, arguments, code):
    monkeypatch.chdir(tmp_path)
    if "--data-dir" not in arguments:
        arguments = (*arguments, "--data-dir", "gallery")
    assert execute(arguments, log_folder=tmp_path / "logs") == code
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("ask", [schema.current, schema.check, lambda url: SqlStore(url).reading().__enter__()])
def test_a_database_that_cannot_be_looked_at_is_a_store_error(tmp_path, ask):
    with pytest.raises(StoreError):
        ask(f"sqlite:///{tmp_path / TOO_LONG / 'f.db'}")


def test_a_nul_in_a_list_is_named_by_its_line(tmp_path):
    pairs, labels = tmp_path / "pairs.csv", tmp_path / "labels.csv"
    pairs.write_text("a,b,same\na.jpg,b.jpg,1\na.jpg,c\0.jpg,0\n")
    with pytest.raises(ProtocolFileError, match="line 3"):
        read_pairs_csv(pairs)
    labels.write_text("file,label\nc\0.jpg,Ada\n")
    with pytest.raises(ProtocolFileError, match="line 2"):
        labelled_files(tmp_path, labels_csv=labels)

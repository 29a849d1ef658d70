"""Labels of any kind on pipes and on terminals."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.cli.doctor import Warned, examined, processor
from facesearch.cli.output import confirm, printable, progress, write_json, write_table
from facesearch.core.errors import GalleryStaleError, InputError, StoreError
from tests.cli_fakes import person

MARKUP = "[bold red]Eve[/] [link=http://x]:smile:"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_markup_in_a_label_is_only_text(cli, service):
    service.answers["list"] = (person(MARKUP),)
    assert MARKUP in cli("identities", "list").out


def test_markup_in_a_label_is_only_text_on_a_terminal_too(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    write_table(("label",), [(MARKUP,)])
    assert MARKUP in screen.getvalue()
    assert "\x1b[3" not in screen.getvalue()


def test_a_narrow_terminal_folds_and_cuts_nothing(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    name = "/a/very/long/path/" + "x" * 90 + ".jpg"
    write_table(("file", "why"), [(name, "no_face")])
    assert name in "".join(line.split("  ")[0].strip() for line in screen.getvalue().splitlines()[2:])


def test_a_pipe_gets_whole_names_however_long(capsys):
    name = "x" * 500
    write_table(("file", "n"), [(name, 5), ("y", 12)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1] == f"{name}   5"
    assert lines[2].split() == ["y", "12"]


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(capsys):
    write_table(("file",), [("a\x1b[2J.jpg",), (None,), ("b\nc",)])
    assert capsys.readouterr().out == "file\na\\x1b[2J.jpg\n\nb\\nc\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ada", "Ada"),
        ("Zoë 🤖 李", "Zoë 🤖 李"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\nb"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udcff.jpg", "\\udcff.jpg"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_escaped(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_printable_text_is_one_line_without_controls(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert all(letter.isprintable() or letter in "\u200c\u200d" for letter in shown)
    assert printable(shown) == shown


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_survives_every_encoding(encoding):
    import json

    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace")
    document = {"label": "Zoë 🤖 李", "path": "\udcff.jpg"}
    write_json(document, stream)
    stream.flush()
    assert json.loads(raw.getvalue().decode(encoding)) == document


def test_json_holds_no_number_that_json_has_not():
    with pytest.raises(ValueError, match="JSON"):
        write_json({"score": float("nan")}, io.StringIO())


@pytest.mark.parametrize(("answer", "passes"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_confirm_asks_on_stderr_and_takes_only_yes(monkeypatch, capsys, answer, passes):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    if passes:
        confirm("Sure?", yes=False)
    else:
        with pytest.raises(InputError, match="not confirmed"):
            confirm("Sure?", yes=False)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Sure? [y/N] ")


def test_progress_draws_on_a_terminal_only_and_only_on_stderr(monkeypatch, capsys):
    with progress("work") as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress("work [red]") as advance:
        advance(1, 2)
        advance(2, 2)
    assert "work [red]" in screen.getvalue()
    assert capsys.readouterr().out == ""


def test_checks_go_on_after_a_failure_and_keep_its_code():
    def stale():
        raise GalleryStaleError("behind")

    def broken():
        raise StoreError("no database")

    def warned():
        raise Warned("slow")

    found = examined([("a", lambda: "fine"), ("b", stale), ("c", warned), ("d", broken)])
    assert [(one.name, one.status, one.exit_code) for one in found] == [
        ("a", "ok", 0),
        ("b", "failed", 4),
        ("c", "warning", 0),
        ("d", "failed", 6),
    ]


def test_processor_is_described_from_cpuinfo(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 sse4_2\n\nprocessor : 1\nmodel name\t: Other\n")
    assert processor(cpuinfo) == "Some CPU: sse4_2 avx2"
    assert "not known" in processor(tmp_path / "absent")

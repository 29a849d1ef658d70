"""What is printed: JSON and tables on stdout, questions and progress on stderr.

It decides nothing about the content. Tables of a terminal are drawn by Rich; elsewhere they are plain columns as wide as their
content, so that a pipe never gets a cut file name, and Rich is not even imported.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from facesearch.core.errors import FileWriteError, InputError

_JOINERS = "\u200c\u200d"
"""Invisible, but part of Persian words and of many emoji."""

Advance = Callable[[int, int | None], None]
"""Told how much of a long work is done, and of how much (None: not known)."""

LINES_EVERY_S = 10.0
"""Seconds between two lines of progress of a long command where stderr is no terminal."""


def printable(text: object) -> str:
    """Return text that a terminal shows as it is; control, direction and other invisible characters become escapes."""
    return "".join(
        letter if letter.isprintable() or letter in _JOINERS else letter.encode("unicode_escape").decode() for letter in str(text)
    )


def rate(value: float) -> str:
    """Return an error rate with three significant digits, e.g. ``0.0001`` or ``1.74e-06``."""
    return f"{value:.3g}"


def box_text(box: Sequence[float]) -> str:
    """Return a box in whole pixels, ``x1,y1,x2,y2``, as ``--roi`` takes it."""
    return ",".join(f"{value:.0f}" for value in box)


def write_json(document: object, stream: TextIO | None = None) -> None:
    """Write one JSON document and a line's end; non-ASCII letters are escaped where the stream could not carry them."""
    target = stream if stream is not None else sys.stdout
    is_utf8 = (target.encoding or "").lower().replace("-", "").startswith("utf8")
    text = json.dumps(document, ensure_ascii=not is_utf8, allow_nan=False) + "\n"
    if stream is not None:
        stream.write(text)
    else:
        with writing_results():
            target.write(text)


@contextmanager
def writing_results() -> Iterator[None]:
    """Map what a full disk behind stdout raises; a closed pipe stays ``BrokenPipeError``.

    Raises:
        FileWriteError: Stdout could not be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise FileWriteError(f"standard output cannot be written: {exc.strerror or exc}") from exc


def write_line(text: str = "") -> None:
    """Write one line of a result."""
    with writing_results():
        sys.stdout.write(text + "\n")


def write_note(text: str) -> None:
    """Write one line that is no result, on stderr."""
    sys.stderr.write(text + "\n")


def write_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows under their columns' names; right-aligned where all of a column are numbers."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(rows) and all(isinstance(row[place], int | float) for row in rows) for place in range(len(columns))]
    if sys.stdout.isatty():
        _write_drawn(columns, cells, numeric)
        return
    widths = [max(len(column), *(len(row[place]) for row in cells), 0) for place, column in enumerate(columns)]
    for row in ([*columns], *cells):
        padded = (
            text.rjust(width) if right else text.ljust(width) for text, width, right in zip(row, widths, numeric, strict=True)
        )
        write_line("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else printable(value)


def _write_drawn(columns: Sequence[str], cells: Sequence[Sequence[str]], numeric: Sequence[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, right in zip(columns, numeric, strict=True):
        table.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(text) for text in row))  # Text, not str: a label such as [red] is no markup
    with writing_results():
        Console(file=sys.stdout).print(table)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be taken back.

    Args:
        question: One line.
        yes: It was answered on the command line.

    Raises:
        InputError: The answer was no, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"{question} Nobody can answer here: add --yes")
    sys.stderr.write(f"{printable(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("not confirmed: nothing was changed")


@contextmanager
def progress(description: str, *, lines_every_s: float | None = None) -> Iterator[Advance]:
    """Show a bar with the rate and the time left on stderr while the block runs.

    Args:
        description: What is going on.
        lines_every_s: Where stderr is no terminal, write a line that often, in seconds; None writes nothing there.
    """
    if not sys.stderr.isatty():
        yield _plain_progress(description, lines_every_s)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """How much is done a second."""

        def render(self, task: Task) -> Text:
            """Return the rate; nothing before there is one."""
            return Text("" if task.speed is None else f"{task.speed:.3g}/s")

    console = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)
    with Progress(
        text, BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain_progress(description: str, every_s: float | None) -> Advance:
    if every_s is None:
        return lambda _done, _total: None
    began = last = time.monotonic()

    def advance(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every_s or not done:
            return
        last = now
        rate_now = done / (now - began)
        of_all = "" if total is None else f" of {total:,}, {max(0, total - done) / rate_now:,.0f} s left"
        write_note(f"{description}: {done:,}{of_all}, {rate_now:.3g}/s")

    return advance

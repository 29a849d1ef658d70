"""The command line put together: global options, commands, and the console's entry point.

What a command does is in the module of its group.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from facesearch.cli import audit, collections, db, evaluate, feedback, gallery, identities, keys, models, operating_points
from facesearch.cli.calibrate import calibrate
from facesearch.cli.calibrate_model import calibrate_model
from facesearch.cli.compress_model import compress_model, export_model
from facesearch.cli.detect import detect
from facesearch.cli.doctor import doctor
from facesearch.cli.enroll import enroll, enroll_all, index_folder
from facesearch.cli.faults import exit_code_of
from facesearch.cli.identify import identify
from facesearch.cli.migrate_gallery import migrate
from facesearch.cli.output import write_line
from facesearch.cli.robustness import robustness
from facesearch.cli.search import compare, search
from facesearch.cli.serve import serve
from facesearch.cli.session import Library, Session, session_of
from facesearch.cli.train import app as train_app
from facesearch.cli.train_features import features
from facesearch.cli.train_run import export, resume
from facesearch.cli.train_run import run as train_run
from facesearch.cli.verify import verify
from facesearch.cli.video import app as videos_app
from facesearch.cli.video import find_in_video, index_video
from facesearch.core.errors import InputError
from facesearch.version import __version__

LOG_LEVELS = ("debug", "info", "warning", "error")

_GLOBAL_OPTIONS = frozenset(
    {"--data-dir", "--database-url", "--collection", "-c", "--embedder", "--engine", "--min-face", "--config", "--log-level"}
)


_OWN_OPTIONS = {"keys": frozenset({"--collection", "-c"})}
"""Options of a command that mean something else than the global ones of their name."""


class AnywhereGroup(TyperGroup):
    """A command group whose global options may stand behind the command too, where people write them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments with the global options moved to the front."""
        return super().parse_args(ctx, hoisted(args))


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Return arguments with the global options and their values first; what follows ``--`` stays as it is."""
    front: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        hoistable = _GLOBAL_OPTIONS - _OWN_OPTIONS.get(rest[0] if rest else "", frozenset())
        if argument == "--":
            rest += [argument, *remaining]
        elif argument in hoistable:
            front += [argument, *(value for value in [next(remaining, None)] if value is not None)]
        elif argument.startswith("--") and argument.partition("=")[0] in hoistable:
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


app = typer.Typer(cls=AnywhereGroup, add_completion=False, context_settings={"help_option_names": ["--help", "-h"]})
app.command()(detect)
app.command()(enroll)
app.command("enroll-all")(enroll_all)
app.command("index-folder")(index_folder)
app.command()(verify)
app.command()(identify)
app.command()(search)
app.command()(compare)
app.command("index-video")(index_video)
app.command("find-in-video")(find_in_video)
app.add_typer(videos_app, name="videos")
app.add_typer(identities.app, name="identities")
app.add_typer(collections.app, name="collections")
gallery.app.command()(migrate)
models.app.command("calibrate")(calibrate_model)
models.app.command("compress")(compress_model)
models.app.command("export")(export_model)
app.add_typer(models.app, name="models")
train_app.command()(features)
train_app.command("run")(train_run)
train_app.command()(resume)
train_app.command()(export)
app.add_typer(train_app, name="train")
app.add_typer(db.app, name="db")
app.command()(serve)
app.add_typer(gallery.app, name="gallery")
app.command()(doctor)
evaluate.app.command()(robustness)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(operating_points.app, name="operating-points")
app.command()(calibrate)
app.add_typer(feedback.app, name="feedback")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        write_line(f"facesearch {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Folder of the database and the indexes.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option("--database-url", metavar="URL", help="Another database, sqlite:///… or postgresql://…")
    ] = None,
    collection: Annotated[str | None, typer.Option("--collection", "-c", metavar="NAME", help="The gallery to work on.")] = None,
    embedder: Annotated[str | None, typer.Option("--embedder", metavar="NAME", help="See models list.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", metavar="openvino|torch", help="What runs the networks.")] = None,
    min_face: Annotated[
        int | None, typer.Option("--min-face", metavar="PIXELS", help="Smallest face looked for, side of its box.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings file instead of facesearch.toml.")
    ] = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="|".join(LOG_LEVELS), help="What is told on stderr.")
    ] = "warning",
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Enroll people, verify two photographs (1:1) and identify faces in a gallery (1:N).

    The options below may stand before or behind the command; settings can also come from facesearch.toml and FACESEARCH_…
    variables.

    Exit codes: 0 match or done, 1 no match, 2 bad input, 3 conflict with what is enrolled, 4 index, 5 model, 6 database.
    """
    session = session_of(context)
    given = {
        "data_dir": data_dir,
        "database_url": database_url,
        "collection": collection,
        "embedder": embedder,
        "engine": engine,
        "min_face_px": min_face,
    }
    session.overrides.update({name: value for name, value in given.items() if value is not None})
    session.config = config
    if log_level.lower() not in LOG_LEVELS:
        raise InputError(f"the log level is one of {', '.join(LOG_LEVELS)}, not {log_level!r}")
    logging.getLogger("facesearch").setLevel(log_level.upper())


def execute(arguments: Sequence[str], *, library: Library | None = None, log_folder: Path | None = None) -> int:
    """Run a command line and return its exit code; nothing is raised.

    Args:
        arguments: Without the program's name; none at all prints the help.
        library: What the commands call; None for the real one.
        log_folder: Where the traceback of an unexpected error goes; None for the user's folder of logs.
    """
    session = Session(library if library is not None else Library())
    own = list(arguments)
    before_dashes = own[: own.index("--")] if "--" in own else own
    command = typer.main.get_command(app)

    def run_command() -> object:
        return command.main(args=own or ["--help"], prog_name="facesearch", standalone_mode=False, obj=session)

    for stream in (sys.stdout, sys.stderr):
        # A file name or label that the terminal's encoding lacks is escaped, not a crash.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    with _logging_to_stderr():
        return exit_code_of(run_command, as_json="--json" in before_dashes, log_folder=log_folder)


def run() -> NoReturn:
    """Run the command line of this process: the console's entry point."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started the process
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for as long as the process
    sys.exit(execute(sys.argv[1:]))


@contextmanager
def _logging_to_stderr() -> Iterator[None]:
    logger = logging.getLogger("facesearch")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates

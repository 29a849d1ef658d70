"""A bulk job whose process is killed, again and again: what was told stays, nothing is enrolled twice, and it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from facesearch.core.jobs import ItemState, JobState
from tests.integration.interrupted_job import COLLECTION, N_PHOTOGRAPHS, records_of, submit, world_of

ROOT = Path(__file__).resolve().parents[2]


def run(data: Path, job_id: str, seconds_a_face: float, hours: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.integration.interrupted_job", str(data), job_id, str(seconds_a_face), str(hours)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def check(data: Path, job_id: str, n_told: int) -> int:
    """Compare the outcomes with what is enrolled, and return how many items are finished."""
    world = world_of(data)
    done = records_of(world).items(job_id, limit=1000, state=ItemState.DONE)
    assert len(done) >= n_told, "an outcome that was told is lost"
    stored = {
        template.template_id: person.label
        for person in world.faces.list(collection=COLLECTION)
        for template in world.faces.show(person.label, collection=COLLECTION).templates
    }
    assert {one.template_id: one.what.label for one in done}.items() <= stored.items()
    assert len({one.template_id for one in done}) == len(done)
    assert len(stored) <= N_PHOTOGRAPHS
    assert world.faces.index_status()[0].n_indexed == len(stored)
    assert records_of(world).items(job_id, limit=1000, state=ItemState.FAILED) == ()
    world.close()
    return len(done)


def told_by(process: subprocess.Popen[str], wanted: int) -> int:
    """Return how many items an observer was told to be finished, once there are as many as wanted or the job is over."""
    n_told = 0
    for line in process.stdout or ():
        if line.startswith("over"):
            break
        n_told = int(line)
        if n_told >= wanted:
            break
    return n_told


def killed_again_and_again(tmp_path: Path, *, n_kills: int) -> None:
    job_id = submit(tmp_path)
    n_told = n_done = n_killed = 0
    for number in range(n_kills):
        process = run(tmp_path, job_id, 0.02, hours=float(number))
        n_told = told_by(process, n_done + N_PHOTOGRAPHS // (n_kills + 4))
        time.sleep(0.013 * (number % 5))  # at different places of a chunk
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        n_done = check(tmp_path, job_id, n_told)
        n_killed += 0 < n_done < N_PHOTOGRAPHS
    assert n_killed >= max(1, n_kills - 2), "too few processes were killed at their work"
    if n_done < N_PHOTOGRAPHS:
        said, _ = run(tmp_path, job_id, 0.0, hours=float(n_kills)).communicate(timeout=300)
        assert said.splitlines()[-1] == "over done"
    assert check(tmp_path, job_id, N_PHOTOGRAPHS) == N_PHOTOGRAPHS
    world = world_of(tmp_path)
    assert world.faces.collection(COLLECTION).n_templates == N_PHOTOGRAPHS
    assert records_of(world).get(job_id).state is JobState.DONE
    world.close()


def test_a_killed_process_loses_no_outcome_and_doubles_nothing(tmp_path: Path):
    killed_again_and_again(tmp_path, n_kills=1)


@pytest.mark.slow
def test_eight_killed_processes_lose_no_outcome_and_double_nothing(tmp_path: Path):
    killed_again_and_again(tmp_path, n_kills=8)

"""A run that is killed, or interrupted, and run again: the gallery of one clean run, and nothing done twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from facesearch.service import enroll_folder
from tests.conftest import ROOT
from tests.integration.interrupted_run import N_EACH, N_PEOPLE, make_people, world_of
from tests.world import World

N_FILES = N_PEOPLE * N_EACH
N_FACES = N_FILES - len(range(7, N_FILES, 10))


def gallery(world: World) -> list[tuple]:
    return sorted(
        (person.label, one.provenance.image_digest, one.template.vector.tolist())
        for person in world.faces.list()
        for one in world.faces.show(person.label).templates
    )


@pytest.fixture
def people(tmp_path: Path) -> Path:
    make_people(tmp_path / "people")
    return tmp_path / "people"


@pytest.fixture
def clean(tmp_path: Path, people: Path) -> list[tuple]:
    world = world_of(tmp_path / "clean", people)
    try:
        assert world.faces.enroll_folder(people).counts == {"enrolled": N_FACES, "no_face": N_FILES - N_FACES}
        return gallery(world)
    finally:
        world.close()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_cut_short_goes_on_where_it_stopped(tmp_path: Path, people: Path, clean: list[tuple], end: signal.Signals):
    command = [sys.executable, "-m", "tests.integration.interrupted_run", str(tmp_path / "cut"), str(people), "0.02"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        told = [process.stdout.readline() for _ in range(N_FILES // 3)]
        process.send_signal(end)
        told += process.stdout.readlines()
    assert process.returncode != 0
    assert N_FILES // 3 <= len(told) < N_FILES
    world = world_of(tmp_path / "cut", people)
    try:
        before = gallery(world)
        n_told = sum(line.startswith("enrolled") for line in told)
        # Whatever was told of is there; a group may have been committed and not been told of any more.
        assert n_told <= len(before) <= n_told + 64
        assert set(map(str, before)) <= set(map(str, clean))
        report = world.faces.enroll_folder(people)
        assert gallery(world) == clean
        assert report.n_enrolled == N_FACES - len(before)
        assert report.n_known >= len(told) - 1
        assert world.networks.n_embedded <= N_FACES - n_told
    finally:
        world.close()


def test_ctrl_c_in_the_middle_of_a_group_drops_the_group(tmp_path: Path, people: Path, clean: list[tuple], monkeypatch):
    monkeypatch.setattr(enroll_folder, "GROUP_FACES", 8)
    world = world_of(tmp_path / "cut", people)
    try:
        seen = []

        def interrupt(outcome):
            seen.append(outcome)
            if len(seen) == 50:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            world.faces.enroll_folder(people, on_outcome=interrupt)
        assert not [one for one in threading.enumerate() if one.name.startswith("facesearch-stream")]
        assert {str(one) for one in gallery(world)} < {str(one) for one in clean}
        assert world.faces.index_status()[0].is_in_step
        world.faces.enroll_folder(people)
        assert gallery(world) == clean
    finally:
        world.close()

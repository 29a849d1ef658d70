"""The audit log under several processes, and under those that are killed: nothing acknowledged is lost, and the log goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from facesearch.core.audit import AuditEvent
from facesearch.service.audit import AuditLog
from facesearch.store.sql import SqlStore

SCRIPT = Path(__file__).with_name("audit_appender.py")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def url(tmp_path):
    made = f"sqlite:///{tmp_path}/audit.db"
    store = SqlStore(made)
    with store.writing():
        pass
    store.close()
    return made


@pytest.fixture
def log(url, tmp_path):
    store = SqlStore(url)
    yield AuditLog(store, tmp_path / "audit.key", tmp_path / "audit.head")
    store.close()


@pytest.fixture
def start(url, tmp_path):
    """Starts an appending process; all of them are killed at the end."""
    started = []

    def run(actor, stop="-"):
        command = [sys.executable, str(SCRIPT), url, str(tmp_path), actor, stop]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def killed(process):
    """Kill a process as ``kill -9`` does and return the last number that it had acknowledged."""
    process.kill()
    process.wait()
    lines = process.stdout.read().split()
    return int(lines[-1]) if lines else None


def numbers_of(log, actor):
    entries, after = [], 0
    while page := log.rows(after, 1_000):
        entries += [one.event.identity_ids[0] for one in page if one.event.actor == actor]
        after = page[-1].number
    return entries


def test_several_processes_make_one_chain_and_lose_nothing_when_killed(log, start):
    processes = {name: start(name) for name in ("a", "b", "c")}
    for process in processes.values():
        for _ in range(10):
            assert process.stdout.readline()
    acknowledged = {name: killed(process) for name, process in processes.items()}
    report = log.verify()
    assert report.is_sound, report.problem
    assert report.n_entries >= 30
    for name, last in acknowledged.items():
        found = numbers_of(log, name)
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= (last or 10)  # what was read before the kill is not in the rest


def test_a_process_killed_between_the_commit_and_the_head_leaves_a_log_that_goes_on(log, start):
    process = start("a", "before-head")
    while process.stdout.readline().strip() != "stuck":
        pass
    killed(process)
    report = log.verify()
    assert (report.is_sound, report.n_entries, report.head_number, report.n_after_head) == (True, 5, 4, 1)
    log.append(AuditEvent("verify", "b", "match", datetime.now(UTC)))
    report = log.verify()
    assert (report.is_sound, report.n_entries, report.n_after_head) == (True, 6, 0)


@pytest.mark.slow
def test_twenty_kills_at_any_moment(log, start):
    total = 0
    for round_number in range(20):
        process = start(f"r{round_number}")
        for _ in range(1 + round_number * 3):
            assert process.stdout.readline()
        killed(process)
        report = log.verify()
        assert report.is_sound, report.problem
        assert report.n_after_head <= 1
        assert report.n_entries >= total + 1 + round_number * 3
        total = report.n_entries

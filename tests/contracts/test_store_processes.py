"""Several processes on one database: nothing is lost, nobody is half enrolled, on each database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from facesearch.store.sql import SqlStore
from tests.store_builders import EMBEDDER

ROOT = Path(__file__).resolve().parents[2]
N_ENROLMENTS = 50

ENROLL_MANY = """
import sys
from facesearch.store.sql import SqlStore
from tests.store_builders import new_face
url, name, count = sys.argv[1:]
store = SqlStore(url, busy_timeout_s=60)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    with store.writing() as writer:
        writer.ensure_collection("default")
        before = writer.counts("default")
        identity = writer.add_identity("default", f"{name}-{number}")
        writer.add_face(identity.identity_id, new_face(2 * number))
        writer.add_face(identity.identity_id, new_face(2 * number + 1))
        after = writer.counts("default")
        if after != (before[0] + 1, before[1] + 2):
            sys.exit(f"another writer came in between: {before} became {after}")
"""

HANG_INSIDE = """
import sys, time
from facesearch.store.sql import SqlStore
from tests.store_builders import new_face, picture
with SqlStore(sys.argv[1], busy_timeout_s=60).writing() as writer:
    identity = writer.add_identity("default", "Half")
    for seed in range(200):
        writer.add_face(identity.identity_id, new_face(seed, kept=picture(seed, 30_000)))
    print("inside", flush=True)
    time.sleep(600)
"""

ENROLL_THEN_DIE = """
import os, signal, sys
from facesearch.store.sql import SqlStore
from tests.store_builders import new_face
with SqlStore(sys.argv[1]).writing() as writer:
    writer.add_face(writer.add_identity("default", "Acknowledged").identity_id, new_face(1))
os.kill(os.getpid(), signal.SIGKILL)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=120)
    return process.returncode


def test_two_processes_that_start_on_a_new_database_lose_nothing(empty_url):
    writers = [start(ENROLL_MANY, empty_url, name, str(N_ENROLMENTS)) for name in ("left", "right")]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [finish(writer) for writer in writers] == [0, 0]

    store = SqlStore(empty_url)
    with store.reading() as reader:
        people = reader.identities("default")
        assert {person.label for person in people} == {f"{name}-{n}" for name in ("left", "right") for n in range(N_ENROLMENTS)}
        assert [len(reader.templates_of(person.identity_id)) for person in people] == [2] * 2 * N_ENROLMENTS
        changes = reader.changes_since("default", 0)
        ids = [template_id for batch in reader.template_batches("default", EMBEDDER) for template_id in batch.template_ids.tolist()]
    assert changes is not None
    assert [change.revision for change in changes] == list(range(1, 4 * N_ENROLMENTS + 1))
    assert sorted(change.template_id for change in changes) == ids
    store.close()


def test_a_process_killed_inside_a_transaction_leaves_nothing(store, store_url):
    process = start(HANG_INSIDE, store_url)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    process.send_signal(signal.SIGKILL)
    assert finish(process) == -signal.SIGKILL
    with store.writing() as writer:  # and the writers' turn is free again
        assert writer.counts("default") == (0, 0)
        assert writer.collection("default").revision == 0
        assert writer.changes_since("default", 0) == ()


def test_an_acknowledged_enrolment_survives_a_kill(store, store_url):
    assert finish(start(ENROLL_THEN_DIE, store_url)) == -signal.SIGKILL
    with store.reading() as reader:
        assert [one.label for one in reader.identities("default")] == ["Acknowledged"]
        assert reader.counts("default") == (1, 1)

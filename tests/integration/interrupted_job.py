"""Works a bulk job off in a process of its own, slowly and with networks that look everything up, for others to kill.

python -m tests.integration.interrupted_job DATA_FOLDER JOB_ID SECONDS_A_FACE HOURS: prints the number of finished items whenever an
observer would have been told of it. HOURS is how far its clock is ahead, so that the leases of processes killed before are over.
"""

from __future__ import annotations

import hashlib
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from facesearch.core.jobs import ItemState, Job, NewJobItem
from facesearch.service import bulk_enroll
from facesearch.service.bulk_enroll import BulkEnroll, BulkOptions
from facesearch.service.job_records import JobRecords
from tests.integration.interrupted_run import SlowNetworks
from tests.world import World

N_PHOTOGRAPHS = 60
COLLECTION = "staff"


def name_of(place: int) -> str:
    return f"photograph {place}"


def world_of(data: Path, seconds_a_face: float = 0.0) -> World:
    """Return a world that knows the photographs' faces, two of every person."""
    networks = SlowNetworks(seconds_a_face)
    for place in range(N_PHOTOGRAPHS):
        networks.portrait(name_of(place), place // 2 % 30, 0.9, photo=place)
    return World(data, networks=networks)


def items() -> list[NewJobItem]:
    return [NewJobItem(hashlib.sha256(name_of(place).encode()).hexdigest(), f"P{place // 2:02}") for place in range(N_PHOTOGRAPHS)]


def records_of(world: World, hours: float = 0.0) -> JobRecords:
    return JobRecords(world.store, clock=lambda: datetime.now(UTC) + timedelta(hours=hours))


def submit(data: Path) -> str:
    """Make the collection and the job, and return the job's id."""
    world = world_of(data)
    world.faces.add_collection(COLLECTION)
    bulk = BulkEnroll(world.faces, records_of(world), lambda _: None, max_bytes=10**6, max_items=1000)
    job_id = bulk.submit(COLLECTION, "key", items(), BulkOptions(allow_mismatch=True)).job_id
    world.close()
    return job_id


def main() -> None:
    """Receive every photograph that is missing, and work the job off in small chunks."""
    bulk_enroll.CHUNK = 4
    data, job_id, seconds_a_face, hours = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    world = world_of(data, seconds_a_face)
    records = records_of(world, hours)
    bulk = BulkEnroll(world.faces, records, lambda _: None, max_bytes=10**6, max_items=1000)
    bulk.receive(job_id, [name_of(place).encode() for place in range(N_PHOTOGRAPHS)])
    while not (job := told(records.get(job_id))).state.is_final:
        time.sleep(0.005)
    print(f"over {job.state.value}", flush=True)
    bulk.close()
    world.close()


def told(job: Job) -> Job:
    """Tell how many items are finished, as an answer of the service would."""
    print(job.counts[ItemState.DONE], flush=True)
    return job


if __name__ == "__main__":
    main()

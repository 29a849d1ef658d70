"""A bulk job with the real networks whose service is killed in the middle and started again: the client finishes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesearch.client import Client, ConnectionFailedError, Labelled, Retries, enroll_many, go_on
from facesearch.client.models import Job, JobOptions
from tests.server_process import ServerProcess, jpeg

N_EACH = 60


@pytest.mark.slow
def test_a_job_is_finished_after_its_service_was_killed(tmp_path: Path, astronaut: np.ndarray, hopper: np.ndarray):
    photographs = [
        Labelled(jpeg(pixels, comment=str(number)), label)
        for number in range(N_EACH)
        for label, pixels in (("Eileen", astronaut), ("Grace", hopper))
    ]
    seen: list[Job] = []
    with ServerProcess(tmp_path / "data") as server:
        server.wait_until("/readyz")

        def kill_in_the_middle(job: Job) -> None:
            seen.append(job)
            if job.n_done >= 1:
                server.process.kill()

        with Client(server.url, retries=Retries(max_retries=2)) as client:
            client.create_collection("staff")
            options = JobOptions(face="largest")
            with pytest.raises(ConnectionFailedError):
                enroll_many(client, "staff", photographs, options=options, on_progress=kill_in_the_middle, poll_s=0.02)
    job = seen[-1]
    assert 1 <= job.n_done < 2 * N_EACH
    with ServerProcess(tmp_path / "data") as server, Client(server.wait_until("/readyz").url) as client:
        after = client.get_job(job.job_id)
        assert after.n_done >= job.n_done
        finished = go_on(client, job.job_id, [one.photo for one in photographs], poll_s=0.2)
        assert (finished.state, finished.n_done, finished.n_failed) == ("done", 2 * N_EACH, 0)
        assert client.get_collection("staff").n_templates == 2 * N_EACH
        assert {one.label: one.n_faces for one in client.iter_identities("staff")} == {"Eileen": N_EACH, "Grace": N_EACH}
        items = list(client.iter_job_items(job.job_id))
        assert len({one.template_id for one in items}) == 2 * N_EACH
        assert client.verify_audit().is_whole

"""What the service counts and logs, and what it keeps out of both."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from facesearch.api.logs import set_up_logging
from facesearch.api.metrics import Metrics
from facesearch.api.observed import CLIENT_GONE, Observed

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    loggers = [logging.getLogger(name) for name in ("facesearch", "uvicorn.error")]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield io.StringIO()
    for logger, handlers, level, propagates in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagates


async def _named(request: Request) -> PlainTextResponse:
    request.state.key_id = "0011223344556677"
    request.state.request_id = "abc"
    return PlainTextResponse("found")


async def _failing(_: Request) -> PlainTextResponse:
    raise ZeroDivisionError("Ada Lovelace scored 0.71")


APP = Starlette(routes=[Route("/people/{label}", _named), Route("/fail", _failing), Route("/healthz", _named)])


class Routed:
    """Names the route, as FastAPI does."""

    def __init__(self, template: str) -> None:
        self.path = template


def ask(observed: Observed, path: str, *, template: str = "") -> int:
    statuses = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "state": {}}
    if template:
        scope["route"] = Routed(template)
    asyncio.run(observed(scope, receive, send))
    return statuses[0] if statuses else 0


def test_a_request_is_one_line_without_the_address_asked_for(stream: io.StringIO) -> None:
    set_up_logging("json", "info", stream)
    metrics = Metrics()
    assert ask(Observed(APP, metrics=metrics), "/people/Ada%20Lovelace", template="/people/{label}") == 200
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert {name: said[name] for name in ("request_id", "method", "route", "status", "key_id", "level")} == {
        "request_id": "abc",
        "method": "GET",
        "route": "/people/{label}",
        "status": 200,
        "key_id": "0011223344556677",
        "level": "info",
    }
    assert said["ms"] >= 0
    assert "Ada" not in line
    assert 'facesearch_requests_total{method="GET",route="/people/{label}",status="200"} 1.0' in metrics.text().decode()


def test_what_an_unexpected_error_says_is_not_logged_but_where_it_was(stream: io.StringIO) -> None:
    set_up_logging("json", "info", stream)
    try:
        raise ZeroDivisionError("Ada Lovelace scored 0.71")
    except ZeroDivisionError:
        logging.getLogger("facesearch.api").exception("request abc ended in an unexpected error")
    said = json.loads(stream.getvalue())
    assert said["error"] == "ZeroDivisionError"
    assert said["where"][0].endswith("test_what_an_unexpected_error_says_is_not_logged_but_where_it_was")
    assert "Ada" not in stream.getvalue()
    assert "0.71" not in stream.getvalue()


def test_an_error_that_passes_through_is_counted_as_one(stream: io.StringIO) -> None:
    set_up_logging("text", "info", stream)
    metrics = Metrics()
    with pytest.raises(ZeroDivisionError):
        ask(Observed(APP, metrics=metrics), "/fail", template="/fail")
    assert "status=500" in stream.getvalue()
    assert 'route="/fail",status="500"} 1.0' in metrics.text().decode()
    assert "facesearch_requests_in_flight 0.0" in metrics.text().decode()


def test_addresses_without_a_route_share_a_name_and_lost_clients_have_a_status(stream: io.StringIO) -> None:
    set_up_logging("text", "info", stream)
    metrics = Metrics()

    async def nothing(*_: object) -> None:
        return None

    assert ask(Observed(nothing, metrics=metrics), "/anything/at/all") == 0
    assert f'route="(none)",status="{CLIENT_GONE}"}} 1.0' in metrics.text().decode()
    assert "anything" not in stream.getvalue() + metrics.text().decode()


def test_looking_after_the_service_does_not_fill_its_log(stream: io.StringIO) -> None:
    set_up_logging("json", "info", stream)
    assert ask(Observed(APP, metrics=Metrics()), "/healthz", template="/healthz") == 200
    assert stream.getvalue() == ""


def test_counts_have_what_they_are_named_for() -> None:
    metrics = Metrics(version="9.9")
    metrics.runs("mobilenet-128@0123456789ab")
    metrics.batch(3, 2)
    metrics.decision("verify", is_match=True)
    metrics.decision("identify", is_match=False, n=4)
    metrics.work(2, 5)
    metrics.refused()
    metrics.timed_out()
    text = metrics.text().decode()
    for line in (
        "facesearch_faces_embedded_total 3.0",
        "facesearch_embedder_batch_requests_sum 2.0",
        'facesearch_decisions_total{kind="verify",outcome="match"} 1.0',
        'facesearch_decisions_total{kind="identify",outcome="no_match"} 4.0',
        "facesearch_work_waiting 5.0",
        "facesearch_work_refused_total 1.0",
        "facesearch_work_timed_out_total 1.0",
        'facesearch_build_info{embedder_id="mobilenet-128@0123456789ab",version="9.9"} 1.0',
    ):
        assert line in text
    with pytest.raises(ValueError, match="verify, identify"):
        metrics.decision("guess", is_match=True)


COUNT = """
import sys
from facesearch.api.metrics import Metrics, forget_dead_processes
metrics = Metrics()
metrics.decision("verify", is_match=True, n=int(sys.argv[1]))
metrics.work(int(sys.argv[1]), 0)
print(forget_dead_processes())
print(metrics.text().decode())
"""


def test_several_processes_answer_for_each_other_and_forget_the_queues_of_the_dead(tmp_path: Path) -> None:
    variables = dict(os.environ, PROMETHEUS_MULTIPROC_DIR=str(tmp_path), PYTHONPATH=str(ROOT))

    def count(n: int) -> str:
        done = subprocess.run([sys.executable, "-c", COUNT, str(n)], env=variables, capture_output=True, text=True, check=True)
        return done.stdout

    assert count(2).startswith("0\n")
    said = count(5)
    assert int(said.splitlines()[0]) >= 1
    assert 'facesearch_decisions_total{kind="verify",outcome="match"} 7.0' in said
    assert "facesearch_work_running 5.0" in said

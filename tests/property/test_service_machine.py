"""Requests at the same time, through the client: every answer is one that some order gives, and database and index agree after all.

The application, its keys, store and index are the real ones; only the networks know their faces beforehand.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import tempfile
from collections.abc import Coroutine, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from facesearch.client import ApiError, AsyncClient, Retries
from facesearch.client.errors import DuplicateTemplateError, UnknownIdentityError
from facesearch.client.models import Enrolled, Identifications
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.gallery import GalleryIndexes
from tests.api_world import Api
from tests.world import DIM, EMBEDDER

N_PEOPLE, N_PHOTOS = 4, 3
PEOPLE, PHOTOS = st.integers(0, N_PEOPLE - 1), st.integers(0, N_PHOTOS - 1)
SAME_SCORE = 1e-5
"""Scores of two indexes of the same vectors may differ by so much: they add in another order."""


@dataclass(frozen=True)
class Enroll:
    person: int
    photo: int


@dataclass(frozen=True)
class Remove:
    person: int
    erase: bool


@dataclass(frozen=True)
class Identify:
    person: int


REQUESTS = st.builds(Enroll, PEOPLE, PHOTOS) | st.builds(Remove, PEOPLE, st.booleans()) | st.builds(Identify, PEOPLE)


class Shared:
    """One application for all examples, each in a collection of its own."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.api = Api(self.folder, requests_per_minute=None)
        self.stack.callback(self.api.close)
        self.client = AsyncClient(
            "http://127.0.0.1", self.api.every, transport=httpx.ASGITransport(self.api.app), retries=Retries(max_retries=8)
        )
        self.numbers = itertools.count()
        self.photographs = {
            (person, photo): self.api.networks.portrait_png(f"{person} {photo}", person, 0.9, photo)
            for person in range(N_PEOPLE)
            for photo in range(N_PHOTOS)
        }
        self.probes = [self.api.networks.portrait_png(f"probe {person}", person, 0.95, N_PHOTOS) for person in range(N_PEOPLE)]

    def run(self, asked: Coroutine[Any, Any, Any]) -> Any:
        return self.api.run(asked)


class ServiceMachine(RuleBasedStateMachine):
    """Sends requests in bunches and compares what is there with what some order of them would leave."""

    shared: Shared

    @initialize()
    def begin(self) -> None:
        self.collection = f"c{next(self.shared.numbers)}"
        self.enrolled: dict[int, set[int]] = {person: set() for person in range(N_PEOPLE)}
        self.ids: dict[int, int] = {}
        folder = self.shared.folder / self.collection
        factory = GalleryIndexFactory(EMBEDDER, DIM, IndexOptions())
        self.shared.run(self.shared.client.create_collection(self.collection))
        self.other_process = GalleryIndexes(self.shared.api.world.store, factory, embedder_id=EMBEDDER, folder=folder)

    @rule(requests=st.lists(REQUESTS, min_size=1, max_size=8))
    def at_once(self, requests: list[Enroll | Remove | Identify]) -> None:
        answers = self.shared.run(self._asked(requests))
        assert len(answers) == len(requests)
        acknowledged: dict[int, set[int]] = {person: set() for person in range(N_PEOPLE)}
        touched_by_removal = {one.person for one in requests if isinstance(one, Remove) and one.person in self.ids}
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(request, Enroll):
                assert isinstance(answer, Enrolled | DuplicateTemplateError), repr(answer)
                if isinstance(answer, Enrolled):
                    acknowledged[request.person].add(request.photo)
                else:  # it was there before, or another request of the bunch brought it
                    brought = {one.photo for one in requests if isinstance(one, Enroll) and one.person == request.person}
                    assert request.photo in self.enrolled[request.person] | brought
            elif isinstance(request, Remove):
                assert answer is None or isinstance(answer, UnknownIdentityError), repr(answer)
            else:
                self._check_identified(request, answer, requests)
        self._compare(acknowledged, touched_by_removal)

    def _check_identified(self, request: Identify, answer: Any, requests: Iterable[object]) -> None:
        assert isinstance(answer, Identifications), repr(answer)
        (face,) = answer.faces
        assert face.label in (None, f"Person {request.person}")
        is_changing = any(isinstance(one, Enroll | Remove) and one.person == request.person for one in requests)
        if not is_changing:
            assert face.is_match == bool(self.enrolled[request.person])

    async def _asked(self, requests: list[Enroll | Remove | Identify]) -> list[Any]:
        return await asyncio.gather(*(self._ask(one) for one in requests))

    async def _ask(self, request: Enroll | Remove | Identify) -> Any:
        client, shared = self.shared.client, self.shared
        try:
            if isinstance(request, Enroll):
                photograph = shared.photographs[request.person, request.photo]
                return await client.enroll_identity(self.collection, photograph, f"Person {request.person}")
            if isinstance(request, Remove):
                return await client.delete_identity(self.collection, self.ids.get(request.person, 2**40), erase=request.erase)
            return await client.identify_faces(self.collection, shared.probes[request.person])
        except ApiError as exc:
            return exc

    def _compare(self, acknowledged: dict[int, set[int]], touched_by_removal: set[int]) -> None:
        """Read what is there: it must be what was acknowledged, where nothing else may have happened to a person."""
        found = self._stored()
        for person in range(N_PEOPLE):
            before, added, after = self.enrolled[person], acknowledged[person], found[person]
            if person not in touched_by_removal:
                assert after == before | added, f"person {person}"
            else:  # the removal came before, between or after the enrolments
                assert after <= added, f"person {person} was removed"
        self.enrolled = found
        people = self.shared.api.world.faces.list(collection=self.collection)
        self.ids = {int(one.label.removeprefix("Person ")): one.identity_id for one in people}
        assert set(self.ids) >= {person for person in range(N_PEOPLE) if found[person]}

    def _stored(self) -> dict[int, set[int]]:
        """Return the photographs of each person that the database holds."""
        digests = {hashlib.sha256(data).hexdigest(): where for where, data in self.shared.photographs.items()}
        found: dict[int, set[int]] = {person: set() for person in range(N_PEOPLE)}
        faces = self.shared.api.world.faces
        for one in faces.list(collection=self.collection):
            for template in faces.show(one.label, collection=self.collection).templates:
                person, photo = digests[template.provenance.image_digest]
                assert one.label == f"Person {person}"
                assert photo not in found[person], "the same photograph is enrolled twice"
                found[person].add(photo)
        return found

    def teardown(self) -> None:
        """Compare the database with the index of the service, with one that followed it, and with one built anew."""
        if not hasattr(self, "collection"):
            return
        world = self.shared.api.world
        factory = GalleryIndexFactory(EMBEDDER, DIM, IndexOptions())
        anew = GalleryIndexes(world.store, factory, embedder_id=EMBEDDER, folder=self.shared.folder / f"{self.collection} anew")
        with world.store.reading() as reader:
            stored = [one for person in reader.identities(self.collection) for one in reader.templates_of(person.identity_id)]
            for indexes in (world.indexes, self.other_process, anew):
                collection, index = indexes.synced(reader, self.collection)
                assert (len(index), index.revision) == (len(stored), collection.revision)
                for one in stored:
                    best = index.search(one.template, 1)[0]
                    assert (best.template_id, best.identity_id) == (one.template_id, one.identity_id)
                    assert abs(best.score - 1.0) <= SAME_SCORE


@pytest.fixture(scope="module")
def shared():
    made = Shared()
    yield made
    made.run(made.client.close())
    made.stack.close()


def run_machine(shared: Shared, *, n_examples: int, n_steps: int) -> None:
    ServiceMachine.shared = shared
    bounds = settings(max_examples=n_examples, stateful_step_count=n_steps, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(ServiceMachine, settings=bounds)


def test_requests_at_the_same_time(shared: Shared):
    run_machine(shared, n_examples=4, n_steps=4)


@pytest.mark.slow
def test_many_requests_at_the_same_time(shared: Shared):
    run_machine(shared, n_examples=60, n_steps=12)

"""Any sequence of changes leaves the store as a plain model of it says, and its history tells an index the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from facesearch.core.identity import ChangeKind
from facesearch.store.sql import SqlStore
from tests.store_builders import EMBEDDER, new_face, picture


class StoreModel(RuleBasedStateMachine):
    """``people`` maps identity ids to their label and template ids; ``replayed`` is what an index would hold."""

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = SqlStore(f"sqlite:///{self.folder}/gallery.db")
        self.people: dict[int, tuple[str, set[int]]] = {}
        self.used: set[int] = set()
        self.replayed: set[int] = set()
        self.revision = self.seed = 0
        with self.store.writing() as writer:
            writer.add_collection("default")

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def chosen(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.people)))

    @rule(faces=st.integers(0, 3))
    def enroll(self, faces: int) -> None:
        with self.store.writing() as writer:
            label = f"person {self.seed}"
            identity_id = writer.add_identity("default", label).identity_id
            self.people[identity_id] = (label, set())
            for _ in range(faces):
                self._add(writer, identity_id)
        self.seed += 1

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def add_face(self, data: st.DataObject) -> None:
        with self.store.writing() as writer:
            self._add(writer, self.chosen(data))

    def _add(self, writer, identity_id: int) -> None:
        self.seed += 1
        kept = picture(self.seed, 50) if self.seed % 2 else None
        template_id = writer.add_face(identity_id, new_face(self.seed, digest=f"{self.seed % 5}", kept=kept)).template_id
        assert template_id not in self.used
        self.used.add(template_id)
        self.people[identity_id][1].add(template_id)

    @precondition(lambda self: self.people)
    @rule(data=st.data(), erase=st.booleans())
    def remove(self, data: st.DataObject, erase: bool) -> None:
        identity_id = self.chosen(data)
        with self.store.writing() as writer:
            assert set(writer.remove_identity(identity_id, erase=erase)) == self.people.pop(identity_id)[1]

    @precondition(lambda self: any(templates for _, templates in self.people.values()))
    @rule(data=st.data())
    def remove_template(self, data: st.DataObject) -> None:
        owned = sorted((template_id, owner) for owner, (_, templates) in self.people.items() for template_id in templates)
        template_id, owner = data.draw(st.sampled_from(owned))
        with self.store.writing() as writer:
            writer.remove_template(template_id)
        self.people[owner][1].remove(template_id)

    @precondition(lambda self: len(self.people) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        source, target = data.draw(st.permutations(sorted(self.people)))[:2]
        with self.store.writing() as writer:
            moved = set(writer.merge_identities(source, target))
        assert moved == self.people.pop(source)[1]
        self.people[target][1].update(moved)

    @precondition(lambda self: any(templates for _, templates in self.people.values()))
    @rule(data=st.data())
    def move_template(self, data: st.DataObject) -> None:
        owned = sorted((template_id, owner) for owner, (_, templates) in self.people.items() for template_id in templates)
        template_id, owner = data.draw(st.sampled_from(owned))
        target = self.chosen(data)
        with self.store.writing() as writer:
            moved = set(writer.move_template(template_id, target))
        assert moved <= self.people[owner][1]
        assert (template_id in moved) == (owner != target)
        self.people[owner][1].difference_update(moved)
        self.people[target][1].update(moved)

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def give_up_halfway(self, data: st.DataObject) -> None:
        try:
            with self.store.writing() as writer:
                writer.add_face(self.chosen(data), new_face(999))
                writer.remove_identity(self.chosen(data))
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass

    @rule()
    def scrub(self) -> None:
        self.store.scrub()

    @invariant()
    def store_and_model_agree(self) -> None:
        with self.store.reading() as reader:
            assert {one.identity_id: one.label for one in reader.identities("default")} == {
                identity_id: label for identity_id, (label, _) in self.people.items()
            }
            owners = {
                int(template_id): int(owner)
                for batch in reader.template_batches("default", EMBEDDER, size=3)
                for template_id, owner in zip(batch.template_ids, batch.identity_ids, strict=True)
            }
            assert owners == {one: owner for owner, (_, templates) in self.people.items() for one in templates}
            assert reader.counts("default") == (len(self.people), len(owners))
            changes = reader.changes_since("default", self.revision)
            assert changes is not None
            for change in changes:
                if change.kind is ChangeKind.ADD:
                    self.replayed.add(change.template_id)
                elif change.kind is not ChangeKind.MOVE:
                    self.replayed.remove(change.template_id)
            self.revision = reader.collection("default").revision
        assert self.replayed == set(owners)


TestStoreModel = StoreModel.TestCase
TestStoreModel.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

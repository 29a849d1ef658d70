"""Group commit: everybody gets their own answer after the commit, and nobody waits for ever."""

from __future__ import annotations

import threading

import pytest

from facesearch.core.errors import InputError, StoreError
from facesearch.service.group_commit import GroupCommit


def run_threads(work, n):
    threads = [threading.Thread(target=work, args=(one,)) for one in range(n)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=30)
    assert not any(one.is_alive() for one in threads)


def test_a_thread_alone_commits_at_once():
    groups = []
    group = GroupCommit(lambda items: groups.append(list(items)) or [item * 2 for item in items])
    assert [group.submit(number) for number in (1, 2)] == [2, 4]
    assert groups == [[1], [2]]


def test_those_who_come_during_a_commit_share_the_next_one():
    groups, everybody_waits = [], threading.Event()

    def commit(items):
        if not groups:
            assert everybody_waits.wait(30)
        groups.append(list(items))
        return list(items)

    group = GroupCommit(commit, max_group=6)
    got = {}

    def work(number):
        got[number] = group.submit(number)

    first = threading.Thread(target=work, args=(0,))
    first.start()
    while not group._is_led:
        pass
    others = [threading.Thread(target=work, args=(number,)) for number in range(1, 11)]
    for one in others:
        one.start()
    while len(group._queue) < 10:
        pass
    everybody_waits.set()
    for one in (first, *others):
        one.join(timeout=30)
    assert got == {number: number for number in range(11)}
    assert [len(one) for one in groups] == [1, 6, 4]


def test_a_refused_item_leaves_the_others_alone():
    def commit(items):
        return [InputError(f"no {item}") if item % 2 else item for item in items]

    group, got = GroupCommit(commit), {}

    def work(number):
        try:
            got[number] = group.submit(number)
        except InputError as exc:
            got[number] = exc.message

    run_threads(work, 20)
    assert got == {number: f"no {number}" if number % 2 else number for number in range(20)}


def test_a_failed_commit_fails_everybody_each_with_an_error_of_its_own():
    def commit(items):
        raise StoreError("the disk is full", database="x")

    group, caught = GroupCommit(commit), []

    def work(number):
        try:
            group.submit(number)
        except StoreError as exc:
            caught.append(exc)

    run_threads(work, 10)
    assert len({id(one) for one in caught}) == 10
    assert {(one.message, one.context["database"]) for one in caught} == {("the disk is full", "x")}


def test_a_fault_of_the_program_reaches_the_leader_and_nobody_hangs():
    calls = []

    def commit(items):
        calls.append(list(items))
        if len(calls) == 1:
            raise ZeroDivisionError
        return list(items)

    group = GroupCommit(commit)
    with pytest.raises(ZeroDivisionError):
        group.submit(1)
    assert group.submit(2) == 2

"""How often an API key may ask: a token bucket in the database, so that it holds across processes.

A bucket holds a minute's worth of requests and fills evenly. Which key may ask at all is ``api_keys``' work.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from facesearch.core.access_protocols import RateBucket
from facesearch.core.errors import FaceSearchError, InputError, RateLimitedError
from facesearch.core.protocols import IdentityStore, StoreWriter
from facesearch.service.group_commit import GroupCommit

LEASE_S = 0.25
"""A busy key's tokens are taken from the database for so many seconds ahead, so that not every request writes to it."""

KEEP_LEASE_S = 1.0
"""Tokens taken ahead and not used for so long are given back when the key next asks."""


@dataclass(slots=True)
class _Held:
    """What a process has taken of a key's bucket and not used yet."""

    tokens: int = 0
    ahead: int = 1
    is_asking: bool = False
    taken_at: float = -math.inf
    refused_until: float = -math.inf
    refused_cost: int = 0
    per_minute: int = 0


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a thread asks the database for.

    Attributes:
        key_id: The key.
        per_minute: Its limit.
        needed: Tokens without which the request is refused.
        wanted: Tokens taken where there are so many.
        returned: Tokens given back.
    """

    key_id: str
    per_minute: int
    needed: int
    wanted: int
    returned: int


class RateLimits:
    """Counts requests. Safe to use from several threads and processes.

    Never lets a key make more requests, over all processes, than its bucket held. Tokens that one process took ahead (at most a
    quarter of a second's worth, and only while a key asks several times in that time) are out of the others' reach until they are
    used or given back, so a key near its limit may be refused that much early.

    Args:
        store: Where the buckets are kept.
        clock: Seconds since 1970; tests set it.
    """

    def __init__(self, store: IdentityStore, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._group: GroupCommit[_Wish, int] = GroupCommit(self._commit)

    def take(self, key_id: str, per_minute: int, *, cost: int = 1) -> None:
        """Count a request, or refuse it.

        Args:
            key_id: Whose request.
            per_minute: Requests a minute, at least 1: so many at once, then one every ``60 / per_minute`` seconds.
            cost: How many requests it counts for; more than ``per_minute`` count as that.

        Raises:
            RateLimitedError: The key has none left; ``context["retry_after_s"]`` says for how long, in seconds.
            InputError: A number is out of range.
        """
        if per_minute < 1 or cost < 1:
            raise InputError(f"a rate limit and a cost are at least 1, not {per_minute} a minute and {cost}")
        cost = min(cost, per_minute)
        wish = self._wish(key_id, per_minute, cost)
        if wish is None:
            return
        try:
            granted = self._group.submit(wish)
        except RateLimitedError as exc:
            self._note_refusal(wish, float(str(exc.context["retry_after_s"])))
            raise
        finally:
            if wish.wanted > wish.needed:
                with self._lock:
                    self._held[key_id].is_asking = False
        with self._lock:
            self._held[key_id].tokens += granted - cost

    def take_at_once(self, key_id: str, per_minute: int) -> bool:
        """Count a request where tokens taken before are enough; False where ``take`` must ask the database.

        Raises:
            RateLimitedError: The key has none left, as the database said of late.
        """
        now = self._clock()
        with self._lock:
            held = self._held.get(key_id)
            if held is None or held.per_minute != per_minute:
                return False
            if now < held.refused_until and held.refused_cost <= 1 > held.tokens:
                raise _refusal(per_minute, held.refused_until - now)
            if held.tokens < 1 or not 0 <= now - held.taken_at < KEEP_LEASE_S:
                return False
            held.tokens -= 1
            return True

    def _wish(self, key_id: str, per_minute: int, cost: int) -> _Wish | None:
        """Return what must be asked of the database, or None where tokens taken before are enough."""
        now = self._clock()
        with self._lock:
            held = self._held.setdefault(key_id, _Held())
            if held.per_minute != per_minute:
                held.per_minute, held.refused_until = per_minute, -math.inf
            if now < held.refused_until and cost >= held.refused_cost and held.tokens < cost:
                raise _refusal(per_minute, held.refused_until - now)
            age = now - held.taken_at
            if held.tokens >= cost and 0 <= age < KEEP_LEASE_S:
                held.tokens -= cost
                return None
            most = max(1, int(per_minute / 60 * LEASE_S))
            held.ahead = min(most, held.ahead * 2) if 0 <= age < LEASE_S else 1
            returned, held.tokens = held.tokens, 0
            held.taken_at = now
            # Of several threads that ask at once only one takes tokens ahead.
            wanted = cost if held.is_asking else max(cost, held.ahead)
            held.is_asking = held.is_asking or wanted > cost
            return _Wish(key_id, per_minute, cost, wanted, returned)

    def _note_refusal(self, wish: _Wish, retry_after_s: float) -> None:
        # Whoever goes on asking in vain is refused from memory: the bucket cannot be fuller before that.
        with self._lock:
            held = self._held[wish.key_id]
            held.refused_until, held.refused_cost = self._clock() + retry_after_s, wish.needed

    def _commit(self, wishes: Sequence[_Wish]) -> Sequence[int | FaceSearchError]:
        now = self._clock()
        with self._store.writing() as writer:
            return [_granted(writer, wish, now) for wish in wishes]


def _granted(writer: StoreWriter, wish: _Wish, now: float) -> int | FaceSearchError:
    rate = wish.per_minute / 60
    bucket = writer.rate_bucket(wish.key_id)
    tokens = float(wish.per_minute)
    if bucket is not None:
        # Clocks of several machines differ, and may be set back: time that runs backwards fills nothing.
        tokens = min(tokens, bucket.tokens + max(0.0, now - bucket.at_s) * rate + wish.returned)
        now = max(now, bucket.at_s)
    if tokens < wish.needed:
        if wish.returned:
            writer.set_rate_bucket(wish.key_id, RateBucket(tokens, now))
        return _refusal(wish.per_minute, (wish.needed - tokens) / rate)
    granted = min(wish.wanted, int(tokens))
    writer.set_rate_bucket(wish.key_id, RateBucket(tokens - granted, now))
    return granted


def _refusal(per_minute: int, retry_after_s: float) -> RateLimitedError:
    return RateLimitedError(
        f"more than {per_minute} requests a minute: ask again in {retry_after_s:.3g} seconds",
        retry_after_s=max(retry_after_s, 0.001),
        requests_per_minute=per_minute,
    )

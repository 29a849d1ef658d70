"""Who asks, and whether they may: the key of a request, its scope, its collections and its rate.

Routes say ``Depends(require(Scope.READ))``; a route that says nothing is refused at start-up. Checked before a byte of the body is
read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

from fastapi import Request
from fastapi.dependencies.models import Dependant
from starlette.concurrency import run_in_threadpool

from facesearch.api.context import ServerContext, context_of
from facesearch.api.problems import request_id_of
from facesearch.core.access import ApiKey, Scope, local_key
from facesearch.core.errors import ForbiddenError, UnauthorizedError, UnknownCollectionError
from facesearch.server_settings import KEYS_OFF, is_loopback

COLLECTION = "collection"
"""Name of the path parameter that holds a collection."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        key: The key, or what stands for one where keys are off.
        request_id: The request's id.
    """

    key: ApiKey
    request_id: str

    def check_collection(self, name: str) -> None:
        """Raise where a collection is not this caller's: to its key, there is no such collection.

        Raises:
            UnknownCollectionError: The same as for a name that nobody has.
        """
        if not self.key.may_touch(name):
            raise UnknownCollectionError(f"there is no collection {name!r}", collection=name)


@dataclass(frozen=True)
class Guard:
    """What a route demands of its caller.

    Attributes:
        scopes: All of them are needed; none means that any valid key will do.
        is_repeatable: Whether answers are kept for a second request with the same ``Idempotency-Key``; None for writes only.
    """

    scopes: frozenset[Scope]
    is_repeatable: bool | None = None

    async def __call__(self, request: Request) -> Caller:
        """Return who asks; the route has checked it already (see ``GuardedRoute``)."""
        return caller_of(request)

    def keeps_answers(self, method: str) -> bool:
        """Whether the answer to a request of this method is kept for a repetition."""
        if self.is_repeatable is not None:
            return self.is_repeatable
        return method in ("POST", "PATCH", "PUT", "DELETE") and bool(self.scopes & {Scope.ENROLL, Scope.ADMIN})

    async def admit(self, request: Request) -> Caller:
        """Return who asks, after checking that they may.

        Raises:
            UnauthorizedError: There is no key, or none that is valid.
            RateLimitedError: The key asked too often.
            ForbiddenError: It lacks a scope; or keys are off and the request comes from another site's page.
            UnknownCollectionError: It may not touch the collection of the path.
        """
        context = context_of(request)
        if context.settings.keys == KEYS_OFF:
            _refuse_other_sites(request, context)
            key = local_key(datetime.now(UTC))
        else:
            text = _key_text(request)
            known = _checked_at_once(context, text)
            key = known if known is not None else await run_in_threadpool(_checked_key, context, text)
        request.state.key_id = key.key_id
        for scope in sorted(self.scopes):
            key.require(scope)
        caller = Caller(key, request_id_of(request))
        collection = request.path_params.get(COLLECTION)
        if collection is not None:
            caller.check_collection(collection)
        request.state.caller = caller
        return caller


def require(*scopes: Scope, repeatable: bool | None = None) -> Guard:
    """Return the dependency of a route that is open to keys with these scopes (all of them).

    Args:
        *scopes: What the route does; none means that any valid key will do.
        repeatable: Whether it keeps answers for an ``Idempotency-Key``; None for writes only. False where answers are secret.
    """
    return Guard(frozenset(scopes), repeatable)


def guard_of(dependant: Dependant) -> Guard | None:
    """Return what a route demands of its caller, or None where it demands nothing."""
    return next((one.call for one in dependant.dependencies if isinstance(one.call, Guard)), None)


def caller_of(request: Request) -> Caller:
    """Return who asks.

    Raises:
        UnauthorizedError: Nobody checked: a route without ``GuardedRoute``.
    """
    found = getattr(request.state, "caller", None)
    if not isinstance(found, Caller):
        raise UnauthorizedError("this route checks no key")
    return found


def _checked_at_once(context: ServerContext, text: str) -> ApiKey | None:
    """Return the key and count the request from what is in memory, as most are; None where that needs the database."""
    key = context.keys.authenticate_at_once(text)
    if key is None:
        return None
    per_minute = _rate_of(context, key)
    return key if per_minute is None or context.rates.take_at_once(key.key_id, per_minute) else None


def _rate_of(context: ServerContext, key: ApiKey) -> int | None:
    return key.requests_per_minute or context.settings.requests_per_minute


def _checked_key(context: ServerContext, text: str) -> ApiKey:
    key = context.keys.authenticate(text)
    per_minute = _rate_of(context, key)
    if per_minute is not None:
        context.rates.take(key.key_id, per_minute)
    return key


def _key_text(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if kind.lower() == "bearer" else ""
    plain = request.headers.get("x-api-key", "").strip()
    if bearer and plain and bearer != plain:
        raise UnauthorizedError("two different API keys were sent; send one")
    if not (bearer or plain):
        raise UnauthorizedError("an API key is needed: send the header 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
    return bearer or plain


def _refuse_other_sites(request: Request, context: ServerContext) -> None:
    """Raise where a page of another site asks through this machine's browser: without keys, nothing else would stop it."""
    host = request.headers.get("host", "")
    if not is_loopback(_split(f"//{host}").hostname or ""):
        raise ForbiddenError("keys are off: the service answers only to 127.0.0.1, ::1 and localhost")
    origin = request.headers.get("origin")
    if origin is None:
        is_foreign = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    else:
        is_foreign = _split(origin).netloc != host and origin not in context.settings.cors_origins
    if is_foreign:
        raise ForbiddenError("keys are off: pages of other sites may not ask")


def _split(address: str) -> SplitResult:
    """Return the parts of an address; none of what is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")

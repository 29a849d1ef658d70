"""The routes of the service: each one guarded, its answers kept for repetitions where it writes.

``guarded_router`` makes the routers that the modules of ``facesearch.api.routes`` fill.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from facesearch.api.access import Guard, guard_of
from facesearch.api.repeats import repeatable
from facesearch.core.errors import SettingsError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class GuardedRoute(APIRoute):
    """A route that lets nobody in, and reads no body, before the caller is known."""

    @property
    def guard(self) -> Guard:
        """What it demands of its caller.

        Raises:
            SettingsError: Nothing: a route for everybody does not belong to a guarded router.
        """
        found = guard_of(self.dependant)
        if found is None:
            raise SettingsError(f"the route {self.path} does not say whom it is for: add Depends(require(…))")
        return found

    def get_route_handler(self) -> Handler:
        """Return what answers a request of this route."""
        answer, guard = super().get_route_handler(), self.guard

        async def guarded(request: Request) -> Response:
            caller = await guard.admit(request)
            if request.method in _WITH_BODY:
                await request.body()  # kept by the request: read here, where limits apply and errors are the house's
            if guard.keeps_answers(request.method):
                return await repeatable(request, caller, answer)
            return await answer(request)

        return guarded


def guarded_router(prefix: str = "/v1", *, tag: str) -> APIRouter:
    """Return a router whose routes all ask for a key.

    Args:
        prefix: What their paths begin with.
        tag: Their heading in the OpenAPI document.
    """
    return APIRouter(prefix=prefix, tags=[tag], route_class=GuardedRoute)

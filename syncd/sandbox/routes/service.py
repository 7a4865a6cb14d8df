"""What the routes share: the running server's parts, authentication, worker threads, faulty answers."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from syncd.sandbox.context import Backend
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.faults import Fault, Faults, Stats
from syncd.sandbox.graphql import Engine
from syncd.sandbox.routes.line import Line
from syncd.sandbox.state import entities
from syncd.sandbox.state.records import User

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything a route may need. `cut` closes the connection of a scope at once."""

    backend: Backend
    executor: Executor
    cut: Callable[[Scope], None]
    line: Line
    engine: Engine = field(default_factory=Engine)
    faults: Faults = field(default_factory=Faults)
    stats: Stats = field(default_factory=Stats)

    async def in_thread(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Run blocking work beside the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, lambda: work(*args, **kwargs))

    def user(self, request: Request) -> User | None:
        """Whose API key a request carries; None for no key at all, an error for a wrong one."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() == "bearer":
            key = credentials
        else:
            try:
                key = base64.b64decode(credentials, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                key = ""
        found = entities.user_by_key(self.backend.db, key) if key else None
        if found is None:
            raise SandboxError("invalid API key", status=HTTPStatus.UNAUTHORIZED)
        return found

    def require_user(self, request: Request) -> User:
        """Who asks, or an error."""
        found = self.user(request)
        if found is None:
            raise SandboxError("user is not logged in", status=HTTPStatus.UNAUTHORIZED)
        return found


def service(request: Request) -> Service:
    """The service a request is for."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


class _CutError(Exception):
    """Ends a response in the middle."""


class Faulty(Response):
    """A response with a fault on its way out."""

    def __init__(self, inner: Response | None, fault: Fault, cut: Callable[[Scope], None]) -> None:
        super().__init__()
        self._inner = inner
        self._fault = fault
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the inner response, damaged."""
        if self._inner is None:
            self._cut(scope)
            return
        left = self._fault.number
        corrupted = False

        async def damaging_send(message: Message) -> None:
            nonlocal left, corrupted
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or not body:
                await send(message)
            elif self._fault.action == "corrupt":
                if not corrupted:
                    body = bytes([body[0] ^ 1]) + body[1:]
                    corrupted = True
                await send({**message, "body": body})
            else:
                part = body[:left]
                left -= len(part)
                await send({**message, "body": part, "more_body": True})
                if len(part) < len(body) or left == 0:
                    raise _CutError

        try:
            await self._inner(scope, receive, damaging_send)
        except _CutError:
            # Returning from an unfinished response makes the server close the connection behind what was sent.
            return


def refusal(fault: Fault) -> Response:
    """The answer of a `status` fault."""
    headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    body = {"errors": [{"message": f"fault: status {fault.number}"}], "data": None}
    return JSONResponse(body, status_code=fault.number, headers=headers)


async def early(found: Service, fault: Fault | None) -> Response | None:
    """What a fault does before any work: wait, refuse or hang up; None to go on."""
    if fault is None:
        return None
    if fault.action == "delay":
        await asyncio.sleep(fault.number / 1000)
        return None
    if fault.action == "status":
        return refusal(fault)
    if fault.action == "drop":
        return Faulty(None, fault, found.cut)
    return None


def late(found: Service, fault: Fault | None, response: Response) -> Response:
    """A response with what a fault does to its body."""
    if fault is not None and fault.action in {"truncate", "corrupt"}:
        return Faulty(response, fault, found.cut)
    return response


async def damaged(fault: Fault | None, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """An upload's body with what a fault does to it on the way in."""
    left = fault.number if fault is not None and fault.action == "truncate" else None
    corrupt = fault is not None and fault.action == "corrupt"
    async for chunk in body:
        part = chunk if left is None else chunk[:left]
        left = None if left is None else left - len(part)
        if corrupt and part:
            part = bytes([part[0] ^ 1]) + part[1:]
            corrupt = False
        yield part

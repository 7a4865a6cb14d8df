"""Whether this process lives (`/healthz`), and whether syncd does its work (`/readyz`).

The face answers for the mover too, by its signs of life: a mover that hangs does not beat, and so a
green answer means that somebody moves. That W&B or Oxen are away is told and is no fault of ours:
the mover waits for them, and starting it again would help nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from syncd.catalog.catalog import Catalog
from syncd.catalog.pulse import ENGINE, GONE, Beat
from syncd.web.inbox import Inbox

OLD = 30.0  # seconds after which a mover that beats every 5 is taken for dead
_HEADERS = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What `/readyz` tells.

    Args:
        reasons: why syncd does not do its work; none when it does.
        notices: what a person should know all the same.
        readable: whether the catalog could be read.
    """

    reasons: tuple[str, ...]
    notices: tuple[str, ...] = ()
    readable: bool = True


def engines(beats: Sequence[Beat], now: float) -> tuple[list[Beat], list[Beat]]:
    """The movers that live, and those that have fallen silent within a day."""
    found = [beat for beat in beats if beat.name.startswith(ENGINE)]
    return (
        [beat for beat in found if now - beat.at <= OLD],
        [beat for beat in found if OLD < now - beat.at <= GONE],
    )


def waiting_for(beat: Beat) -> str:
    """What a mover waits for, in its own words; empty when it works."""
    told = beat.detail.get("waiting_for")
    return told if isinstance(told, str) else ""


def brief(error: Exception) -> str:
    """The first line of what a database says; the others quote its statement."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def readiness(catalog: Catalog, inbox: Inbox, now: float) -> Readiness:
    """Look whether the parts of syncd do their work.

    Args:
        catalog: what they share.
        inbox: this process's own part.
        now: Unix seconds.
    """
    try:
        living, silent = engines(catalog.pulse.beats(), now)
    except Exception as error:  # noqa: BLE001 whatever a database may raise is the answer
        return Readiness(reasons=(f"the catalog cannot be read: {brief(error)}",), readable=False)
    reasons = [f"the catalog cannot be written: {inbox.problem}"] if inbox.problem else []
    if not living:
        last = max(silent, key=lambda beat: beat.at, default=None)
        reasons.append(
            f"no engine has given a sign of life for {now - last.at:.0f} s; look at its log"
            if last
            else "no engine has given a sign of life; start `syncd run`"
        )
    # Whoever may ask this has shown no token: machines and folders are not named.
    notices = [text for beat in living if (text := waiting_for(beat))]
    if living:
        notices += [f"an engine fell silent {now - beat.at:.0f} s ago" for beat in silent]
    return Readiness(reasons=tuple(reasons), notices=tuple(notices))


def health_routes(
    catalog: Catalog, inbox: Inbox, clock: Callable[[], float] = time.time
) -> list[BaseRoute]:
    """`/healthz` and `/readyz`; neither asks for a token, neither names a project.

    Args:
        catalog: what the processes share.
        inbox: this process's own part.
        clock: Unix seconds.
    """

    async def healthz(request: Request) -> Response:
        del request
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    def readyz(request: Request) -> Response:
        del request
        found = readiness(catalog, inbox, clock())
        document = {
            "status": "not ready" if found.reasons else "ready",
            "reasons": found.reasons,
            "notices": found.notices,
        }
        return JSONResponse(document, status_code=503 if found.reasons else 200, headers=_HEADERS)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]

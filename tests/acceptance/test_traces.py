"""Traces: a collector of OpenTelemetry sees the way of each version, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from acceptance_world import World

from syncd.testing.served import served


@contextmanager
def collector(status: int, bodies: list[bytes]) -> Iterator[str]:
    """The address of somebody who takes traces, and answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with served(Handler) as url:
        yield f"{url}/v1/traces"


def test_a_collector_sees_every_stage_and_one_that_refuses_holds_nothing_up(small: World) -> None:
    """The names of stages and of the workflow; no key."""
    refused: list[bytes] = []
    with collector(400, refused) as url:
        first = small.syncd("backfill", "--json", "--limit", "1", env={"SYNCD_ENGINE__TRACES": url})
    bodies: list[bytes] = []
    with collector(200, bodies) as url:
        done = small.syncd("backfill", "--json", env={"SYNCD_ENGINE__TRACES": url})
    told = b"".join(bodies)

    assert refused
    assert [found.document["versions"]["failed"] for found in (first, done)] == [0, 0]
    assert first.document["versions"]["replaced"] == 1
    for name in ("move_version", "transfer", "commit", "verify", "replace"):
        assert name.encode() in told, name
    assert small.api_key.encode() not in told

"""Counters of what clients did, and faults that make the server misbehave on purpose.

A fault says what it matches, what happens, and how often. The first that matches a request is taken.

| match | meets |
|---|---|
| `graphql:NAME` | a GraphQL operation |
| `download:GLOB`, `upload:GLOB` | a file of a version, by its path in the artifact |
| `manifest-download:*`, `manifest-upload:*` | a manifest |
| `run-file-download:GLOB`, `run-file-upload:GLOB` | a file saved with a run |
| `file_stream:RUN` | what a run streams |
| `webhook:GLOB` | a delivery, by the webhook's name |

| action | does |
|---|---|
| `status:503` | answers with that status (and `Retry-After`, if the fault has `retry_after`) |
| `drop` | closes the connection without an answer |
| `truncate:1000` | closes it after 1000 bytes of the body, its full length announced |
| `corrupt` | flips a bit of the first byte of the body |
| `delay:500` | waits for 500 ms, then goes on |

A fault with a `rate` from 0 to 1 meets only that share of the requests it matches, spread evenly.

Of these a webhook's delivery knows `status` (a failed attempt), `drop` (it is never made), `delay`, and one of its own:
`double` (it is made twice).

On an upload `truncate` and `corrupt` damage what arrives, which its Content-MD5 then gives away.
"""

from __future__ import annotations

import fnmatch
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from syncd.sandbox.errors import SandboxError

_PLAIN = {"drop", "corrupt"}
_NUMBERED = {"status", "truncate", "delay"}
_OUTCOMES = ("delivered", "retried", "failed", "dropped", "skipped")
_KINDS = {"graphql", "file_stream", "webhook"} | {
    f"{prefix}{way}" for prefix in ("", "manifest-", "run-file-") for way in ("download", "upload")
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of misbehaviour."""

    kind: str
    pattern: str
    action: str
    number: int
    retry_after: str | None
    times: int | None
    rate: float

    @classmethod
    def from_json(cls, given: object) -> Fault:
        """Read a fault as posted."""
        if not isinstance(given, dict):
            raise SandboxError("a fault is an object", status=HTTPStatus.BAD_REQUEST)
        kind, _, pattern = str(given.get("match", "")).partition(":")
        action, _, number = str(given.get("action", "")).partition(":")
        plain = {"drop", "double"} if kind == "webhook" else _PLAIN
        numbered = {"status", "delay"} if kind == "webhook" else _NUMBERED
        well_formed = (action in plain and not number) or (
            action in numbered and number.isdecimal()
        )
        times, retry_after = given.get("times"), given.get("retry_after")
        rate = given.get("rate", 1)
        shared = isinstance(rate, (int, float)) and 0 < rate <= 1
        if kind not in _KINDS or not pattern or not well_formed or not shared:
            raise SandboxError(f"not a fault: {given!r}", status=HTTPStatus.BAD_REQUEST)
        return cls(
            kind,
            pattern,
            action,
            int(number or 0),
            None if retry_after is None else str(retry_after),
            None if times is None else int(times),
            float(rate),
        )


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[tuple[Fault, int | None]] = []
        self._due: Counter[Fault] = Counter()  # requests that each would have met by its rate

    def arm(self, given: Iterable[object]) -> int:
        """Add faults; how many are in force now."""
        new = [Fault.from_json(item) for item in given]
        with self._lock:
            self._armed += [(fault, fault.times) for fault in new]
            return len(self._armed)

    def clear(self) -> None:
        """End all faults."""
        with self._lock:
            self._armed.clear()
            self._due.clear()

    def take(self, kind: str, name: str) -> Fault | None:
        """The fault that meets this request, one time less from now on."""
        with self._lock:
            for position, (fault, left) in enumerate(self._armed):
                if fault.kind == kind and fnmatch.fnmatchcase(name, fault.pattern):
                    if not self._meets(fault):
                        continue
                    if left is not None:
                        if left <= 1:
                            del self._armed[position]
                        else:
                            self._armed[position] = (fault, left - 1)
                    return fault
        return None

    def _meets(self, fault: Fault) -> bool:
        """Whether this request is among the share that a fault meets."""
        self._due[fault] += 1
        return int(self._due[fault] * fault.rate) > int((self._due[fault] - 1) * fault.rate)


class Stats:
    """What clients did since the start or the last reset. Manifests and run files are counted on their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start again from nothing."""
        with self._lock:
            self._operations: Counter[str] = Counter()
            self._transfers: Counter[str] = Counter()
            self._webhooks: Counter[str] = Counter()

    def operation(self, name: str) -> None:
        """Count a GraphQL operation."""
        with self._lock:
            self._operations[name] += 1

    def transfer(self, kind: str, size: int) -> None:
        """Count a download or upload and its bytes."""
        with self._lock:
            self._transfers[kind] += 1
            self._transfers[f"{kind} bytes"] += size

    def webhook(self, outcome: str) -> None:
        """Count what became of a delivery, or of one attempt at it."""
        with self._lock:
            self._webhooks[outcome] += 1

    def to_json(self) -> dict[str, Any]:
        """All counters."""
        with self._lock:
            count = self._transfers
            return {
                "graphql": dict(self._operations),
                "downloads": count["download"],
                "uploads": count["upload"],
                "bytes_downloaded": count["download bytes"],
                "bytes_uploaded": count["upload bytes"],
                "manifest_downloads": count["manifest-download"],
                "manifest_uploads": count["manifest-upload"],
                "run_file_downloads": count["run-file-download"],
                "run_file_uploads": count["run-file-upload"],
                **{f"webhooks_{outcome}": self._webhooks[outcome] for outcome in _OUTCOMES},
            }

"""Requests to an Oxen server, seen on their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from contract_files import REPO

from syncd.clients.payload import Answer, Body, Payload
from syncd.errors import SyncdError

_LISTING, _MOVING = "GET /dir/", "PUT /branches/"


class Watched(Payload):
    """Remembers what is asked of the repository, and fails where it is told to.

    Args:
        fails: what is raised in the place of an answer, by request as `seen` has it.
    """

    def __init__(self, fails: Mapping[str, SyncdError] | None = None) -> None:
        super().__init__()
        self.seen: list[str] = []  # as `GET /branches`: behind the repository, without the query
        self._fails = fails or {}

    @property
    def listed(self) -> list[str]:
        """The folders that were listed."""
        found = [asked.removeprefix(_LISTING) for asked in self.seen if asked.startswith(_LISTING)]
        return [path.partition("/")[2] for path in found]

    @property
    def moved(self) -> list[str]:
        """The branches that were moved, and not made."""
        return [asked.removeprefix(_MOVING) for asked in self.seen if asked.startswith(_MOVING)]

    def ask(self, asked: str) -> None:
        """Before it is sent: note it, and fail where that is wanted.

        Raises:
            SyncdError: as told.
        """
        self.seen.append(asked)
        if asked in self._fails:
            raise self._fails[asked]

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Iterator[Answer]:
        """As any request."""
        self.ask(f"{method} {url.partition('?')[0].partition(f'/{REPO.repo}')[2]}")
        with super().request(method, url, what=what, headers=headers, body=body) as answer:
            yield answer

"""One HTTP session with a W&B server, and GraphQL over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import msgspec

from syncd import retry
from syncd.clients.http import check_status, check_url, place, session, translated
from syncd.errors import AuthenticationError, NotFoundError, PermanentError

PAGE = 100  # versions, collections or projects a request
Json = dict[str, Any]


class WandbSession:
    """A server's GraphQL endpoint, and plain HTTP for the signed URLs it hands out.

    Args:
        base_url: the API's URL, e.g. `https://api.wandb.ai`.
        api_key: sent as Basic auth to that URL's GraphQL endpoint and to nothing else.
    """

    def __init__(self, base_url: str, api_key: str) -> None:
        self.base = check_url(base_url.rstrip("/"))
        self.http = session()
        self._auth = httpx.BasicAuth("api", api_key)

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def pages(
        self,
        what: str,
        query: str,
        variables: Mapping[str, Any],
        connection: Callable[[Json], Json | None],
        *,
        page: int = PAGE,
    ) -> Iterator[Json]:
        """The nodes of a connection, page by page.

        Args:
            what: what is read, for errors and the log.
            query: an operation that takes `$cursor` and `$perPage`.
            variables: its other variables.
            connection: finds the connection in the answer's data; None ends the list.
            page: nodes a request.

        Raises:
            NotFoundError: when something on the way to the connection is not there.
        """
        cursor: str | None = None
        passed: set[str | None] = set()
        while True:
            data = self.query(what, query, {**variables, "cursor": cursor, "perPage": page})
            try:
                found = connection(data)
            except (KeyError, TypeError):
                raise NotFoundError(f"{what}: W&B has nothing under this name") from None
            if found is None:
                return
            for edge in found["edges"]:
                yield edge["node"]
            if not found["pageInfo"]["hasNextPage"]:
                return
            if found["pageInfo"]["endCursor"] in {None, *passed}:
                raise PermanentError(f"{what}: W&B says there is more, but not from where on")
            cursor = found["pageInfo"]["endCursor"]
            passed.add(cursor)

    def query(self, what: str, query: str, variables: Mapping[str, Any]) -> Json:
        """Send one operation, again while W&B is unavailable, and return the answer's data.

        Args:
            what: what is done, for errors and the log.
            query: the operation.
            variables: its variables.

        Raises:
            AuthenticationError: when the API key is refused.
            PermanentError: when W&B answers with errors.
            ServiceUnavailableError: when it stays unavailable.
        """
        url = f"{self.base}/graphql"

        def attempt() -> Json:
            answer = self.send(what, query, variables)
            try:
                document = msgspec.json.decode(answer.content)
            except msgspec.DecodeError:
                document = None
            said = _messages(document)
            check_status(what, answer, detail=said)
            if not isinstance(document, dict) or (not said and "data" not in document):
                raise PermanentError(
                    f"{what}: {place(url)} did not answer with GraphQL",
                    hint="Check that [wandb] base_url is the API's URL.",
                )
            if said:
                raise PermanentError(f"{what}: W&B refused: {said}")
            data = document["data"]
            if not isinstance(data, dict):
                raise AuthenticationError(
                    f"{what}: W&B answered with no data", hint="Check the API key."
                )
            return data

        return retry.call(attempt, what=what)

    def send(self, what: str, query: str, variables: Mapping[str, Any]) -> httpx.Response:
        """Send one operation once; the answer as it comes.

        Raises:
            ServiceUnavailableError: when nobody answers.
        """
        url = f"{self.base}/graphql"
        operation = query.split("(", 1)[0].split()[1]
        body = {"query": query, "variables": variables, "operationName": operation}
        with translated(what, url):
            return self.http.post(url, json=body, auth=self._auth)


def _messages(document: object) -> str:
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        return ""
    return "; ".join(str(item.get("message")) for item in errors if isinstance(item, dict))

"""Which versions the aliases of collections are on.

W&B lists the aliases of a collection by name, and says of one at a time which version it is on; many are
asked for in one request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from syncd.clients import wandb_graphql as gql
from syncd.clients.artifacts import Collection
from syncd.clients.wandb_session import PAGE, WandbSession
from syncd.errors import NotFoundError, PermanentError

NAMES = 1000  # aliases a request where only their names are told, as the SDK asks for them


class WandbAliases:
    """Reads where aliases are on one server.

    Args:
        session: the server.
    """

    def __init__(self, session: WandbSession) -> None:
        self._session = session

    def pointed(self, collections: Sequence[Collection]) -> Sequence[Mapping[str, str]] | None:
        """See `ArtifactSource.pointed`."""
        try:
            return self._pointed(collections)
        except PermanentError as error:
            if type(error) is not PermanentError:  # e.g. the API key was refused
                raise
            return None

    def _pointed(self, collections: Sequence[Collection]) -> list[dict[str, str]]:
        found: list[dict[str, str]] = [{} for _ in collections]
        asked = [
            (number, alias)
            for number, collection in enumerate(collections)
            for alias in (self._all(collection) if collection.crowded else collection.elsewhere)
        ]
        for start in range(0, len(asked), PAGE):
            groups = [
                (number, [alias for _, alias in group])
                for number, group in groupby(asked[start : start + PAGE], key=lambda item: item[0])
            ]
            variables = {f"c{n}": collections[number].id for n, (number, _) in enumerate(groups)}
            for n, (_, aliases) in enumerate(groups):
                variables |= {f"a{n}_{k}": alias for k, alias in enumerate(aliases)}
            data = self._session.query(
                "look where aliases are",
                gql.pointers([len(aliases) for _, aliases in groups]),
                variables,
            )
            for n, (number, aliases) in enumerate(groups):
                places = data[f"c{n}"] or {}
                for k, alias in enumerate(aliases):
                    version = (places.get(f"a{n}_{k}") or {}).get("artifact")
                    if version and version["state"] == "COMMITTED":
                        found[number][alias] = version["id"]
        return found

    def _all(self, collection: Collection) -> Iterator[str]:
        """All aliases of a collection that none of its newest versions has, a thousand a request."""
        try:
            for node in self._session.pages(
                f"list the aliases of {collection.name}",
                gql.ALIASES,
                {"id": collection.id},
                lambda data: data["artifactCollection"]["aliases"],
                page=NAMES,
            ):
                if node and node["alias"] not in collection.shown:
                    yield node["alias"]
        except NotFoundError:  # it was deleted just now
            return

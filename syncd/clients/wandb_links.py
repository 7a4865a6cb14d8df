"""Where W&B holds a version: its collection, portfolios and registries, and the aliases in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace as changed
from typing import Any

from syncd.clients import wandb_graphql as gql
from syncd.clients.artifacts import Membership, Standing, Version
from syncd.clients.wandb_session import WandbSession
from syncd.clients.wandb_values import membership_of, run_ref, version_of
from syncd.errors import NotFoundError, PermanentError

LATEST = "latest"
Json = dict[str, Any]


class WandbLinks:
    """Memberships of versions, read and changed.

    Args:
        session: with the server.
    """

    def __init__(self, session: WandbSession) -> None:
        self._session = session

    def memberships(self, version: Version) -> Sequence[Membership]:
        """See `ArtifactSource.memberships`."""
        return _memberships(
            self._artifact(f"read who holds {version.ref}", gql.MEMBERSHIPS, version.id)
        )

    def standing(self, artifact_id: str) -> Standing:
        """See `ArtifactSource.standing`."""
        node = self._artifact("read a version and its links", gql.STANDING, artifact_id)
        if node["state"] != "COMMITTED":
            raise _gone(artifact_id)
        users = [edge["node"] for edge in node["usedBy"]["edges"]]
        visible = [user for user in users if user["project"]]
        open_ = [user for user in visible if not user["project"]["readOnly"]]
        shut = [str(run_ref(user)) for user in visible if user["project"]["readOnly"]]
        hidden = [
            f"run {user['name']} of a hidden project" for user in users if not user["project"]
        ]
        return Standing(
            version=version_of(node),
            memberships=_memberships(node),
            consumers=tuple(run_ref(user) for user in open_),
            closed=(*shut, *hidden),
        )

    def move_aliases(
        self, version: Version, aliases: Sequence[str], places: Sequence[Membership]
    ) -> None:
        """See `ArtifactSource.move_aliases`."""
        ref = version.ref
        own = [_alias(ref.place, alias) for alias in aliases]
        linked = [
            _alias((place.entity, place.project, place.collection), alias)
            for place in places
            for alias in place.aliases
        ]
        self._session.query(
            f"move aliases to {ref}",
            gql.ADD_ALIASES,
            {"input": {"artifactID": version.id, "aliases": own + linked}},
        )

    def link(self, version: Version, membership: Membership, aliases: Sequence[str]) -> Membership:
        """See `ArtifactSource.link`."""
        place = (membership.entity, membership.project, membership.collection)
        wanted = {
            "artifactID": version.id,
            "artifactPortfolioName": membership.collection,
            "entityName": membership.entity,
            "projectName": membership.project,
            "aliases": [
                {"artifactCollectionName": membership.collection, "alias": alias}
                for alias in aliases
            ],
        }
        what = f"link {version.ref} to {membership.name}"
        variables: Json = {"input": wanted}
        query = gql.LINK
        if LATEST not in aliases and membership.latest != version.id:
            holder, name, query = (
                (membership.latest, "back", gql.LINK_GIVING_BACK)
                if membership.latest
                else (version.id, "off", gql.LINK_TAKING_OFF)
            )
            variables[name] = {"artifactID": holder, "aliases": [_alias(place, LATEST)]}
        try:
            made = self._session.query(what, query, variables)
        except PermanentError:
            # Nobody says whether W&B takes a link twice, and a repeat after a lost answer is one: what is
            # there needs none.
            held = self._place(version, membership)
            if held is not None and not {*aliases} <= {*held.aliases}:
                self.move_aliases(version, (), [changed(membership, aliases=tuple(aliases))])
                held = self._place(version, membership)
            if held is not None:
                mine = LATEST in aliases or membership.latest in {"", version.id}
                if not mine and held.latest == version.id:
                    raise
                return held
            if query != gql.LINK_TAKING_OFF:
                raise
            # Nor whether `latest` can be taken off: if not, the one who is linked has it.
            made = self._session.query(what, gql.LINK, {"input": wanted})
        return membership_of(made["result"]["artifactMembership"])

    def unlink(self, version: Version, membership: Membership) -> None:
        """See `ArtifactSource.unlink`."""
        wanted = {"artifactID": version.id, "artifactPortfolioID": membership.collection_id}
        what = f"unlink {version.ref} from {membership.name}"
        try:
            self._session.query(what, gql.UNLINK, {"input": wanted})
        except PermanentError:
            if self._place(version, membership) is not None:
                raise  # else it was done, and only the answer was lost

    def _place(self, version: Version, membership: Membership) -> Membership | None:
        """The version's membership in a collection, which is named where its id is not known."""
        name, held = membership.name, self.memberships(version)
        by_id = membership.collection_id
        return next(
            (p for p in held if (p.collection_id == by_id if by_id else p.name == name)), None
        )

    def _artifact(self, what: str, query: str, artifact_id: str) -> Json:
        node: Json | None = self._session.query(what, query, {"id": artifact_id})["artifact"]
        if node is None:
            raise _gone(artifact_id)
        return node


def _gone(artifact_id: str) -> NotFoundError:
    return NotFoundError(f"artifact {artifact_id} is gone from W&B")


def _memberships(node: Json) -> tuple[Membership, ...]:
    edges: Iterable[Json] = node["artifactMemberships"]["edges"]
    # A collection that was deleted leaves a membership without one behind.
    return tuple(
        membership_of(edge["node"]) for edge in edges if edge["node"]["artifactCollection"]
    )


def _alias(place: tuple[str, str, str], alias: str) -> Json:
    entity, project, collection = place
    return {
        "entityName": entity,
        "projectName": project,
        "artifactCollectionName": collection,
        "alias": alias,
    }

"""What resolvers and routes work with: the state, the bytes, the URLs, and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from graphql import GraphQLResolveInfo

from syncd.sandbox.blobs import Blobs
from syncd.sandbox.errors import SandboxError
from syncd.sandbox.settings import Settings
from syncd.sandbox.state.database import Database
from syncd.sandbox.state.records import User
from syncd.sandbox.urls import SignedUrls


@dataclass(frozen=True, slots=True)
class Backend:
    """The parts of one running sandbox."""

    db: Database
    blobs: Blobs
    urls: SignedUrls
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class Context:
    """One GraphQL request."""

    backend: Backend
    viewer: User | None

    def user(self) -> User:
        """Who asks, or an error."""
        if self.viewer is None:
            raise SandboxError("user is not logged in", status=401)
        return self.viewer


Info: TypeAlias = GraphQLResolveInfo[Context]


def context(info: Info) -> Context:
    """The request a resolver works for."""
    return info.context


def backend(info: Info) -> Backend:
    """The parts a resolver works with."""
    return context(info).backend


def database(info: Info) -> Database:
    """The state a resolver works with."""
    return context(info).backend.db


def settings(info: Info) -> Settings:
    """The settings in force."""
    return context(info).backend.settings

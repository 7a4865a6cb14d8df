"""Where a rehearsal may play, and how the place is left: nobody's data is touched, nothing stays.

A project is fit when it is empty, or when all that it holds bears the mark of a rehearsal: then an
earlier one was cut off, and what it left is removed first. Oxen repositories bear the same mark, and
one is removed before the collection that names it, so that none is forgotten.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_removal import remove_folder, remove_from_server
from syncd.clients.oxen_wire import Wire
from syncd.clients.payload import Payload
from syncd.clients.wandb_scratch import Item, WandbScratch
from syncd.config import Config, oxen_token
from syncd.config.model import Engine, Reclaim, References, Select
from syncd.errors import AuthenticationError, SyncdError, UsageError
from syncd.naming import namespace_name, repo_name
from syncd.refs import RepoRef, Target

MARK = "syncd-rehearsal-"
# W&B puts collections of its own beside a run: `run-ID-history` and the like.
_MARKED = re.compile(rf"(?:(?:run|job|source)-)?{MARK}[0-9a-f]{{8}}-.+")
MOVES_FROM = "4KiB"  # the size of files from which on they move
MAX_SHOWN = 3


def new_mark() -> str:
    """What the names of one rehearsal begin with."""
    return f"{MARK}{secrets.token_hex(4)}"


def is_marked(item: Item) -> bool:
    """Whether a rehearsal made it."""
    return _MARKED.fullmatch(item.name) is not None


def check(scratch: WandbScratch, project: Target) -> bool:
    """Whether the project is there; nothing is changed.

    Raises:
        UsageError: when it holds anything that no rehearsal made, or nobody is called like its owner.
        AuthenticationError: when the API key may not change it.
    """
    writable = scratch.is_writable()
    if writable is None:
        if not scratch.has_owner():
            raise UsageError(
                f"W&B shows this API key no user and no team {scratch.owner!r}",
                hint="Write ENTITY/scratch, with a user or a team that the key belongs to.",
            )
        return False
    foreign = [item.name for item in scratch.contents() if not is_marked(item)]
    if foreign:
        more = f" and {len(foreign) - MAX_SHOWN} more" if len(foreign) > MAX_SHOWN else ""
        raise UsageError(
            f"{project} is no scratch project: it holds {', '.join(foreign[:MAX_SHOWN])}{more}",
            hint="Nothing was touched. Name a project that is for nothing else, or one that does "
            "not exist yet.",
        )
    if not writable:
        raise AuthenticationError(f"this API key may not write to {project}")
    return True


class Cleaner:
    """Removes what rehearsals made.

    Args:
        scratch: the project in W&B.
        config: where Oxen is.
        environ: for Oxen's token.
    """

    def __init__(self, scratch: WandbScratch, config: Config, environ: Mapping[str, str]) -> None:
        self._scratch, self._config, self._environ = scratch, config, environ

    def clean(self) -> list[str]:
        """Remove all that bears the mark; what could not be removed, each with the reason."""
        left: list[str] = []
        try:
            items = [item for item in self._scratch.contents() if is_marked(item)]
            with self._oxen() as api:
                for item in items:
                    if item.kind == "ArtifactSequence":
                        left += self._remove(item, api)
            left += [
                f"W&B {item.kind} {item.name}: {error}" for item, error in self._scratch.drop(items)
            ]
        except SyncdError as error:
            left.append(f"whatever bears the mark {MARK}: {error}; the next rehearsal removes it")
        return left

    def _remove(self, item: Item, api: OxenApi | None) -> list[str]:
        repo = repository(self._config, self._scratch.owner, item.name)
        try:
            if api is None:
                assert self._config.oxen.directory is not None, "there is a server or a folder"
                remove_folder(self._config.oxen.directory, repo)
            else:
                remove_from_server(api, repo)
        except SyncdError as error:
            return [f"Oxen repository {repo}: {error}"]
        return []

    @contextmanager
    def _oxen(self) -> Iterator[OxenApi | None]:
        """The server, or None where repositories lie in a folder."""
        if self._config.oxen.directory is not None:
            yield None
            return
        token = oxen_token(self._config, self._environ)
        http = Payload()
        try:
            bearer = token.get_secret_value() if token else ""
            yield OxenApi(Wire(self._config.oxen.url, bearer, http))
        finally:
            http.close()


def repository(config: Config, entity: str, collection: str) -> RepoRef:
    """The Oxen repository of a marked collection; no other collection has it."""
    namespace = namespace_name(config.oxen.namespace or entity)
    return RepoRef(namespace=namespace, repo=repo_name(collection))


def rehearsed(config: Config, project: Target, folder: Path, base_url: str) -> Config:
    """The configuration of a rehearsal: the same servers, and a state of its own.

    Args:
        config: the user's.
        project: where it plays.
        folder: an empty folder for state.
        base_url: what references begin with.
    """
    oxen = {"repo": "{collection}", "path": "", "branch": "main"}
    return config.model_copy(
        update={
            "wandb": config.wandb.model_copy(update={"projects": (str(project),)}),
            "oxen": config.oxen.model_copy(update=oxen),
            "select": Select(min_file_size=MOVES_FROM),  # type: ignore[arg-type]  # it is parsed
            "references": References(base_url=base_url),
            "reclaim": Reclaim(policy="delete", grace=timedelta(0)),
            "transfer": config.transfer.model_copy(update={"spool_dir": folder / "spool"}),
            "engine": Engine(state_dir=folder / "state"),
        }
    )

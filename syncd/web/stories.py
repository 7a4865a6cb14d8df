"""What a version's commit says of it, read from its lineage file in Oxen: its story, and its files.

What a commit says never changes, so stories are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syncd.catalog.panels import PAGE
from syncd.clients.origins import Found, Origin
from syncd.config import Config
from syncd.errors import NotFoundError
from syncd.refs import ArtifactRef, CommitRef
from syncd.stages.plan import place
from syncd.versions.lineages import MALFORMED, Lineage, Story, story
from syncd.versions.plans import lineage_in

LARGEST = 64 << 20  # bytes of a lineage file that a page waits for
KEPT = 256  # stories in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a version.

    Args:
        path: in the artifact.
        size: bytes, None when nobody knows.
        hash: what Oxen calls its content; empty when Oxen has none.
        where: `moved`, `kept` in W&B too, `reference` elsewhere, or `omitted`.
        tree_path: in the commit's tree; empty when it is not in there.
    """

    path: str
    size: int | None
    hash: str
    where: str
    tree_path: str


class Stories:
    """Reads lineage files.

    Args:
        origin: where they lie.
        config: says in which folder of a commit.
    """

    def __init__(self, origin: Origin, config: Config) -> None:
        self._origin = origin
        self._config = config
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[CommitRef, str], Story] = OrderedDict()

    def story(self, ref: ArtifactRef, kind: str, commit: CommitRef) -> Story:
        """What a version's commit says.

        Raises:
            SyncdError: when it cannot be read.
        """
        _, folder = place(ref, kind, self._config)
        key = (commit, folder)
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            found = self._read(commit, folder)
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return found

    def files(
        self, ref: ArtifactRef, kind: str, commit: CommitRef, page: int
    ) -> tuple[list[File], bool]:
        """A page of a version's files, by path, and whether there are more.

        Raises:
            SyncdError: when they cannot be read.
        """
        _, folder = place(ref, kind, self._config)
        first, found = page * PAGE, list[File]()
        passed = 0
        lineage = self._opened(commit, folder)
        try:
            for name, members in lineage.files():
                for path, item in members.items():
                    if passed >= first:
                        found.append(_file(name, path, item, folder))
                    passed += 1
                    if len(found) > PAGE:
                        return found[:PAGE], True
        except MALFORMED as error:
            raise _damaged(commit, error) from error
        return found, False

    def _opened(self, commit: CommitRef, folder: str) -> Lineage:
        found = self._found(commit, folder)
        return Lineage(self._origin.read(found, 0, found.size))

    def _found(self, commit: CommitRef, folder: str) -> Found:
        path = lineage_in(folder)
        return self._origin.find(commit.repo, [commit.commit, *path.split("/")])

    def _read(self, commit: CommitRef, folder: str) -> Story:
        found = self._found(commit, folder)
        if found.size > LARGEST:
            raise NotFoundError(
                f"the lineage file of {commit} is too large for a page",
                hint=f"`syncd resolve` names the commit; the file is {found.path}.",
            )
        try:
            return story(self._origin.read(found, 0, found.size))
        except MALFORMED as error:
            raise _damaged(commit, error) from error


def _file(group: str, path: str, item: Any, folder: str) -> File:
    if group == "omitted" or not isinstance(item, Mapping):
        return File(path=path, size=None, hash="", where="omitted", tree_path="")
    size = item.get("size")
    if group == "references":
        return File(path=path, size=size, hash="", where="reference", tree_path="")
    return File(
        path=path,
        size=size,
        hash=str(item.get("hash", "")),
        where="moved" if item.get("moved") else "kept",
        tree_path=f"{folder}/{path}" if folder else path,
    )


def _damaged(commit: CommitRef, error: Exception) -> NotFoundError:
    return NotFoundError(
        f"the lineage file of {commit} cannot be read: {error}",
        hint="Run `syncd verify` on this version.",
    )

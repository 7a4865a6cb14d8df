"""Trees of commits on a server, listed once; the server here is a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import xxhash

from syncd.clients.commits import TreeEntry
from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_trees import TreeCache
from syncd.errors import NotFoundError
from syncd.refs import CommitRef, RepoRef

REPO = RepoRef(namespace="team", repo="data")
FIRST = {"a": "1", "a-b": "2", "a.d/x": "3", "b/c/d": "4", "b/c/e": "5", "b/f": "6", "b.g/h": "7"}


class Table:
    """What `TreeCache` asks of a server: commits by id, as path -> content."""

    def __init__(self, **commits: Mapping[str, str]) -> None:
        self._commits = commits
        self.listed: list[str] = []

    def commit(self, _repo: RepoRef, commit: str) -> object:
        """A commit, if there is one."""
        return self._commits.get(commit)

    def directory(self, _repo: RepoRef, commit: str, folder: str) -> Iterator[dict[str, Any]]:
        """A folder's entries; a folder's hash is made of all below it."""
        self.listed.append(folder)
        inside = f"{folder}/" if folder else ""
        found: dict[str, list[str]] = {}
        for path, content in sorted(self._commits[commit].items()):
            if path.startswith(inside):
                name, _, below = path.removeprefix(inside).partition("/")
                found.setdefault(name, []).append(f"{below} {content}")
        for name, lines in found.items():
            is_dir = not lines[0].startswith(" ")
            content = xxhash.xxh3_128_hexdigest("\n".join([name, *lines]).encode())
            hash_ = content if is_dir else lines[0].strip()
            yield {"filename": name, "is_dir": is_dir, "hash": hash_, "size": 1}


def cached(table: Table, folder: Path) -> TreeCache:
    """A cache that asks the table."""
    return TreeCache(cast("OxenApi", table), folder)


def held(cache: TreeCache, commit: str) -> dict[str, str]:
    """What a cache says of a commit."""
    entries = list(cache.entries(REPO, commit))
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    return {entry.path: entry.hash for entry in entries}


def test_a_commit_is_listed_once(tmp_path: Path) -> None:
    """Each folder with one question, also for the next process."""
    table = Table(c1=FIRST)

    assert held(cached(table, tmp_path), "c1") == held(cached(table, tmp_path), "c1") == FIRST
    assert sorted(table.listed) == ["", "a.d", "b", "b.g", "b/c"]


@pytest.mark.parametrize(
    ("second", "listed"),
    [
        (FIRST, [""]),
        ({**FIRST, "a": "9"}, [""]),
        ({**FIRST, "b/f": "9"}, ["", "b"]),
        ({**FIRST, "b/c/d": "9", "b/c/n/m": "8"}, ["", "b", "b/c", "b/c/n"]),
        ({path: FIRST[path] for path in FIRST if not path.startswith("b/")}, [""]),
        ({**FIRST, "b.g/i": FIRST["b.g/h"]}, ["", "b.g"]),
        ({"b": "9"}, [""]),
    ],
)
def test_an_increment_lists_the_folders_it_changed(
    tmp_path: Path, second: dict[str, str], listed: list[str]
) -> None:
    """All others are taken from the commit before, whatever lies below them."""
    table = Table(c1=FIRST, c2=second)
    cache = cached(table, tmp_path)
    cache.fetch(REPO, "c1")
    table.listed.clear()

    cache.fetch(REPO, "c2", like="c1")

    assert sorted(table.listed) == listed
    assert held(cache, "c2") == second
    assert sorted(table.listed) == listed


@pytest.mark.parametrize("byte", [200, -10])
def test_a_damaged_tree_is_not_taken_from(tmp_path: Path, byte: int) -> None:
    """All is listed then."""
    table = Table(c1=FIRST, c2=FIRST)
    cache = cached(table, tmp_path)
    cache.fetch(REPO, "c1")
    path = RepoIndex(tmp_path, REPO).index_path("c1")
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)
    table.listed.clear()

    cache.fetch(REPO, "c2", like="c1")

    assert len(table.listed) == 5
    assert held(cache, "c2") == FIRST


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """Its line is for the cache alone."""
    cache = cached(Table(c1=FIRST), tmp_path)
    commit = CommitRef(repo=REPO, commit="c1")

    assert cache.entry(commit, "b/f") == TreeEntry(path="b/f", hash="6", size=1)
    assert [cache.entry(commit, path) for path in ("b", "b/", "b/c/", "")] == [None] * 4


def test_a_commit_that_is_not_there_has_no_tree(tmp_path: Path) -> None:
    """Neither asked for, nor as what another is like."""
    table = Table(c1=FIRST)
    cache = cached(table, tmp_path)

    with pytest.raises(NotFoundError):
        cache.fetch(REPO, "c2", like="c1")
    cache.fetch(REPO, "c1", like="c0")

    assert held(cache, "c1") == FIRST

"""What the contract's tests share: repositories, and files in and out of a store."""

from __future__ import annotations

from collections.abc import Mapping

from syncd.clients.commits import Author, StoredContent, TreeEntry
from syncd.clients.protocols import VersionStore
from syncd.refs import CommitRef, RepoRef

REPO = RepoRef(namespace="team", repo="project-data")
OTHER = RepoRef(namespace="team", repo="other")
ANN = Author(name="Ann B. Müller", email="ann@example.com")
MESSAGE = "Dataset v0\n\nWandb-Artifact: team/project/data:v0\nWandb-Digest: 00ff"

HOSTILE = [
    "spaces in a name.bin",
    " leading and trailing ",
    "hash#mark",
    "question?mark",
    "percent%41%2F",
    "plus+plus",
    "amp&and=;,:@!$'()",
    '"quotes"',
    "new[1]*?.bin",
    "[a]*?",
    "]",
    "[!x]/**/{a,b}",
    "*",
    "-rf",
    "~",
    ".hidden",
    ".oxen.txt",
    "folder/.oxenignore",
    "ends with dot.",
    "dots.../file",
    "caf\u00e9",  # NFC
    "cafe\u0301",  # NFD
    "日本語/ファイル",
    "\U0001f600",
    "\u202eright to left",
    "line\u2028separator",
    "a",
    "A",
    "Data/x",
    "data/x",
    "x" * 240,
    "/".join(f"d{level}" for level in range(40)) + "/deep",
    "a.parquet",
    "b.csv",
    "c.png",
    "d.jsonl",
    "e.mp4",
    "f.xlsx",
]


def put(store: VersionStore, data: bytes, repo: RepoRef = REPO) -> StoredContent:
    """Store bytes in pieces."""
    return store.put(repo, iter([data[:3], b"", data[3:]]))


def commit(
    store: VersionStore,
    files: Mapping[str, bytes],
    *,
    branch: str = "main",
    message: str = MESSAGE,
    repo: RepoRef = REPO,
) -> CommitRef:
    """Store files and commit them as one tree."""
    tree = []
    for path, data in sorted(files.items()):
        content = put(store, data, repo)
        tree.append(TreeEntry(path=path, hash=content.hash, size=content.size))
    return store.commit(repo, branch=branch, tree=tree, message=message, author=ANN)


def contents(store: VersionStore, ref: CommitRef) -> dict[str, bytes]:
    """Every file of a commit with its bytes, after the store itself found nothing wrong."""
    assert list(store.verify(ref)) == []
    return {entry.path: b"".join(store.read(ref, entry.path)) for entry in store.tree(ref)}


def ancestors(store: VersionStore, ref: CommitRef) -> list[str]:
    """The commits below one, nearest first; a store may put its own in between."""
    found: list[str] = []
    commit = store.resolve(ref.repo, ref.commit)
    while commit is not None and commit.parents:
        found.append(commit.parents[0])
        commit = store.resolve(ref.repo, commit.parents[0])
    return found

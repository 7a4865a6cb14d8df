"""An oxen.toml beside weights, which tells the hub what they were made from.

The version's own commit stays as it was proved: the file comes in a commit on the endpoint's branch,
`deploy/NAME`, whose tree is the version's and that file. A version that brings its own is deployed as
it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from syncd import retry
from syncd.clients.commits import Author, Commit, TreeEntry
from syncd.clients.protocols import VersionStore
from syncd.naming import repo_name
from syncd.promotion.journal import PATIENCE
from syncd.refs import CommitRef
from syncd.versions.events import Point

FILE = "oxen.toml"
_OF = "Deploys"  # the trailer that names the version's commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the hub is told of weights.

    Args:
        source: the model they were made from, as Oxen knows it.
        type: `lora` or `full`.
    """

    source: str
    type: str

    @property
    def text(self) -> str:
        """The file; JSON's spelling of text is also TOML's."""
        source = json.dumps(self.source, ensure_ascii=False)
        return f'[model]\nsource = {source}\ntype = "{self.type}"\n'


def branch_of(endpoint: str) -> str:
    """The branch of an endpoint's commits."""
    return f"deploy/{endpoint}"


def with_card(store: VersionStore, point: Point, card: Card, endpoint: str, by: str) -> CommitRef:
    """The commit that an endpoint serves of a version; the earlier one when it is there.

    Args:
        store: Oxen.
        point: where the version lies.
        card: what the file says.
        endpoint: whose branch it is.
        by: who asks.
    """
    assert point.commit is not None, "only what is in Oxen is deployed"
    repo, branch = point.commit.repo, branch_of(endpoint)
    path = f"{point.folder}/{FILE}" if point.folder else FILE
    tree = {entry.path: entry for entry in store.tree(point.commit)}
    if path in tree:
        return point.commit
    head = store.resolve(repo, branch)
    if head is not None and _is_of(head, point.commit) and _says(store, head, path, card):
        return head.ref
    name = " ".join(point.version.split())

    def commit() -> CommitRef:
        stored = store.put(repo, [card.text.encode()])
        tree[path] = TreeEntry(path=path, hash=stored.hash, size=stored.size)
        return store.commit(
            repo,
            branch=branch,
            tree=sorted(tree.values(), key=lambda entry: entry.path),
            message=f"{endpoint} serves {name}\n\n{_OF}: {point.commit}",
            author=Author(name=by, email=f"{repo_name(by)}@syncd.invalid"),
        )

    return retry.call(commit, what=f"commit to {branch} of {repo}", policy=PATIENCE)


def _is_of(head: Commit, commit: CommitRef) -> bool:
    return f"{_OF}: {commit}" in head.message.splitlines()


def _says(store: VersionStore, head: Commit, path: str, card: Card) -> bool:
    if path not in {entry.path for entry in store.tree(head.ref)}:
        return False
    return b"".join(store.read(head.ref, path)) == card.text.encode()

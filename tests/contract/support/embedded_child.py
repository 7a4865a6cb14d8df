"""A process that works on an embedded store and dies, or waits, at a named point.

    embedded_child.py ROOT POINT ACTION...

An action is `commit:PATH,PATH,...`, whose files hold their own names, or `branch:NAME:REVISION`.
Tests use it also to prepare: liboxen keeps a repository locked until its process ends.
At POINT it prints a line and stops for ever; the parent kills it with SIGKILL.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from syncd.clients.commits import Author, TreeEntry
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.refs import RepoRef

REPO = RepoRef(namespace="team", repo="data")


def main(root: str, point: str, *actions: str) -> None:
    """Do it."""

    def checkpoint(name: str) -> None:
        if name == point:
            sys.stderr.write("reached\n")
            sys.stderr.flush()
            time.sleep(600)

    store = EmbeddedVersionStore(Path(root), checkpoint=checkpoint)
    for action in actions:
        verb, _, what = action.partition(":")
        if verb == "branch":
            name, _, revision = what.partition(":")
            found = store.resolve(REPO, revision)
            assert found is not None
            store.set_branch(found.ref, name)
            continue
        tree = []
        for path in sorted(what.split(",")):
            content = store.put(REPO, [path.encode()])
            tree.append(TreeEntry(path=path, hash=content.hash, size=content.size))
        author = Author(name="Child", email="child@example.com")
        store.commit(REPO, branch="main", tree=tree, message="by the child", author=author)


if __name__ == "__main__":
    main(*sys.argv[1:])

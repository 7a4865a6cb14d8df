"""The routes of an Oxen server that tell of branches, and move them.

Read in the crate oxen-server 0.65.2 (`src/controllers/branches.rs`) and tried against it.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from syncd import retry
from syncd.clients.oxen_wire import AS_JSON, Json, Wire
from syncd.errors import NotFoundError, ServiceUnavailableError
from syncd.refs import RepoRef


class BranchRoutes:
    """The branches of the repositories on one server.

    Args:
        wire: how the server is spoken to.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def branches(self, repo: RepoRef) -> dict[str, str]:
        """All branches with the commit each points at."""
        found = self._json("GET", repo, "/branches", f"list the branches of {repo}")
        return {str(item["name"]): str(item["commit_id"]) for item in found["branches"]}

    def set_branch(self, repo: RepoRef, name: str, commit: str) -> None:
        """Point a branch at a commit, making or moving it."""
        before = self.branch(repo, name)
        if before is None:
            self.create_branch(repo, name, commit)
        elif before != commit:
            self._move_branch(repo, name, commit)

    def create_branch(self, repo: RepoRef, name: str, commit: str) -> None:
        """Make a branch; one that is there all the same is moved.

        The server makes sure that it has all that the commit adds to `main`. Where a branch is made by
        being moved it looks at all that the commit holds: 6 us a file (tried), for each branch of
        each version.
        """
        what = f"make {name} of {repo}"

        def attempt() -> None:
            body = json.dumps({"new_name": name, "commit_id": commit}).encode()
            try:
                self._wire.send("POST", f"{self._wire.place(repo)}/branches", what, body, AS_JSON)
            except ServiceUnavailableError:  # also said of one that is there
                if self.branch(repo, name) is None:
                    raise
                self._move_branch(repo, name, commit)

        retry.call(attempt, what=what)

    def _move_branch(self, repo: RepoRef, name: str, commit: str) -> None:
        path = f"/branches/{quote(name)}"
        self._json("PUT", repo, path, f"move {name} of {repo}", {"commit_id": commit})

    def delete_branch(self, repo: RepoRef, name: str) -> None:
        """Delete a branch; nothing happens when there is none."""
        try:
            self._json("DELETE", repo, f"/branches/{quote(name)}", f"delete {name} of {repo}")
        except NotFoundError:
            return

    def branch(self, repo: RepoRef, name: str) -> str | None:
        """The commit a branch points at."""
        try:
            found = self._json("GET", repo, f"/branches/{quote(name)}", f"look up {name} of {repo}")
        except NotFoundError:
            return None
        return str(found["branch"]["commit_id"])

    def _json(self, method: str, repo: RepoRef, path: str, what: str, body: object = None) -> Json:
        """Send a request about a repository that may be repeated."""
        return self._wire.json(method, f"{self._wire.place(repo)}{path}", what, body)

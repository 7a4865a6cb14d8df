"""What names of W&B become in Oxen: folders, repositories, namespaces and branches.

Oxen and file systems take fewer characters than W&B. Two names that differ there stay two here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from syncd.refs import VERSION

_REPO_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SERVER_OWNED = frozenset({"repo", "name_table"})  # folders (liboxen 0.65.2, `sync_dir.rs`)
_BRANCH_UNSAFE = re.compile(r"[^A-Za-z0-9._/-]|\.\.|\.(?=/|$)|(?<![^/])[./]|/$|@\{")


def folder_name(text: str) -> str:
    """A folder's name in a repository that Oxen and any file system accept.

    What must be replaced is followed by a short hash of the original, so that two names that
    differ stay two folders.
    """
    safe = _REPO_UNSAFE.sub("-", text).lstrip("._-").rstrip(".-")[:100]
    return safe if safe == text and safe else _told_apart(safe, text)


def repo_name(text: str) -> str:
    """A repository's name that Oxen and any file system accept, replaced as `folder_name` tells.

    A server's names begin with a letter or a digit and have two characters at least (liboxen 0.65.2,
    `is_valid_repo_name`).
    """
    name = folder_name(text)
    return name if len(name) > 1 else _told_apart(name, text)


def namespace_name(text: str) -> str:
    """A namespace's name that Oxen and any file system accept, replaced as `folder_name` tells.

    A server's have no dot and fifty characters at most, and are no folder of its own (liboxen 0.65.2,
    `is_valid_namespace_name`, `is_server_owned`).
    """
    name = repo_name(text)
    if "." not in name and len(name) <= 50 and name.lower() not in _SERVER_OWNED:  # noqa: PLR2004
        return name
    return _told_apart(name.replace(".", "-")[:41], text)


def _told_apart(safe: str, text: str) -> str:
    return f"{safe or 'x'}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def version_branch(index: int, prefix: str = "") -> str:
    """The branch that stands for a version, `wandb/v3`; `prefix` is the version's folder."""
    return "/".join(part for part in (prefix, "wandb", f"v{index}") if part)


def branch_index(name: str, prefix: str = "") -> int | None:
    """The number of the version that a branch stands for, or None when it stands for none."""
    number = name.removeprefix(version_branch(0, prefix)[:-1])
    return int(number) if number != name and VERSION.fullmatch(f"v{number}") else None


def index_at(branches: Mapping[str, str], commit: str, prefix: str = "") -> int | None:
    """The number of the version that a commit holds, by the branches; None when none stands for one.

    Args:
        branches: the commits that a repository's branches point at, by name.
        commit: the commit's id.
        prefix: the version's folder.
    """
    numbers = (branch_index(name, prefix) for name, at in branches.items() if at == commit)
    return max((number for number in numbers if number is not None), default=None)


def alias_branch(alias: str, prefix: str = "", *, main: str = "main") -> str:
    """The branch that stands for a W&B alias: its own name where Oxen can carry it.

    Characters that Oxen refuses in a branch name (liboxen 0.65.2, `ref_manager.rs`) become `-xx`
    hex escapes behind a leading `wandb/alias/`, and so does an alias that would hide the main
    branch or a version's branch.
    """
    branch = f"{prefix}/{alias}" if prefix else alias
    hides = branch == main or alias in {main, "HEAD", ""}
    if not hides and "/" not in alias and not _BRANCH_UNSAFE.search(alias):
        return branch
    branch = f"wandb/alias/{_escaped(alias)}"
    return f"{prefix}/{branch}" if prefix else branch


def branch_part(name: str) -> str:
    """A name of W&B's as a part of a branch's; escaped as `alias_branch` does where it must be."""
    plain = name and "/" not in name and not _BRANCH_UNSAFE.search(name)
    return name if plain else _escaped(name)


def _escaped(name: str) -> str:
    return (
        re.sub(
            r"[^A-Za-z0-9_]",
            lambda found: "".join(f"-{byte:02x}" for byte in found[0].encode()),
            name,
        )
        or "-"
    )

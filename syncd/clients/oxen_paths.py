"""Which paths, trees and branches Oxen can hold; known without liboxen, so that a plan can say it first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from syncd.clients.commits import TreeEntry
from syncd.errors import InvalidNameError, PermanentError
from syncd.refs import HASH, RepoRef, check_path

MAX_TREE_PATH_BYTES = 3072  # leaves 1 KiB of Linux' PATH_MAX to the directory of the repository
MAX_TREE_FOLDERS = 100  # above each other; with 250 oxen-server 0.65.2 overflows its stack (tried)
MAX_TREE_SEGMENT_BYTES = 240  # liboxen adds up to 15 bytes while it restores a file (tried)
SHOWN = 80  # characters of a path in a message
NOWHERE = "syncd-no-branch"  # what HEAD names while files are staged, never a branch
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_HIDDEN = re.compile(r"(\.oxen[. ]*|oxen~[0-9]+[. ]*)(:.*)?", re.IGNORECASE)
PLAIN_LENGTH = 2000  # bytes, within any limit of a tree's
_PLAIN_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_. -]{0,199}"
_PLAIN = re.compile(f"(?:{_PLAIN_NAME}/){{0,{MAX_TREE_FOLDERS}}}+{_PLAIN_NAME}")


def plain(path: str) -> bool:
    """Whether nothing in a path is read in a way of its own by Oxen or a file system: most are so.

    A quick answer for millions; of a path that is not plain, `unsupported_path` knows more.
    """
    return len(path) <= PLAIN_LENGTH and _PLAIN.fullmatch(path) is not None


def unsupported_path(path: str) -> str | None:
    r"""Why a path cannot be part of an Oxen tree, or None when it can.

    From liboxen 0.65.2 (`util/fs.rs` `is_oxen_hidden_dir_name`, `core/oxenignore.rs`) and from
    trying: a folder with a backslash in its name is committed but cannot be found again, and a
    `.oxenignore` at the root changes what is staged.
    """
    try:
        check_path(path)
    except InvalidNameError as error:
        return str(error)
    segments = path.split("/")
    reasons = {
        "goes through Oxen's own folder .oxen": any(map(_HIDDEN.fullmatch, segments)),
        "would make Oxen leave out other files": path == ".oxenignore",
        "holds a backslash, which Oxen reads as a folder separator": "\\" in path,
        f"is longer than {MAX_TREE_PATH_BYTES} bytes": len(path.encode()) > MAX_TREE_PATH_BYTES,
        f"lies in more than {MAX_TREE_FOLDERS} folders": len(segments) > MAX_TREE_FOLDERS + 1,
        f"has a name longer than {MAX_TREE_SEGMENT_BYTES} bytes": any(
            len(segment.encode()) > MAX_TREE_SEGMENT_BYTES for segment in segments
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            shown = repr(path) if len(path) <= SHOWN else f"{path[:SHOWN]!r}..."
            return f"path {shown} {reason}"
    return None


def check_tree(tree: Iterable[TreeEntry]) -> None:
    """See that Oxen can hold a tree; it is gone through once, and nothing of it is kept.

    Args:
        tree: the entries, sorted by path.

    Raises:
        InvalidNameError: for a path that Oxen cannot hold (see `unsupported_path`) or a malformed
            hash or size.
        PermanentError: when a path occurs twice, is a file and a folder at once, or when the
            entries are not sorted.
    """
    for path in files_and_folders(_checked(tree)):
        raise PermanentError(f"path {path!r} is a file and a folder in one tree")


def _checked(tree: Iterable[TreeEntry]) -> Iterator[str]:
    """The paths of a tree, each seen to be good, and to follow the one before."""
    previous = ""
    for entry in tree:
        path = entry.path
        if not plain(path) and (reason := unsupported_path(path)):
            raise InvalidNameError(
                reason, hint="Keep this file in W&B: exclude it from what is moved."
            )
        if not HASH.fullmatch(entry.hash) or entry.hash[0] == "0" or entry.size < 0:
            raise InvalidNameError(f"path {path!r} has no valid hash and size")
        if path == previous:
            raise PermanentError(f"path {path!r} occurs twice in one tree")
        if path < previous:
            raise PermanentError(f"the tree is not sorted: {path!r} follows {previous!r}")
        previous = path
        yield path


def files_and_folders(paths: Iterable[str]) -> Iterator[str]:
    """Paths of files that are folders, too: `a` beside `a/b`; once for each file below.

    Args:
        paths: sorted. Then only paths that begin with `a` stand between the two, and no more is
            remembered than the paths that the current one begins with.
    """
    begun: list[str] = []
    for path in paths:
        while begun and not path.startswith(begun[-1]):
            begun.pop()
        for shorter in begun:
            if path[len(shorter)] == "/":
                yield shorter
        begun.append(path)


def parents(path: str) -> Iterator[str]:
    """The folders a path lies in, innermost first, without the root."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def escaped(path: str) -> str:
    """A path as a pattern of liboxen's that matches it alone."""
    return "".join(f"[{letter}]" if letter in "*?[]" else letter for letter in path)


def check_branch(name: str) -> str:
    """A branch name that liboxen takes (`core/refs/ref_manager.rs`) and HEAD can tell from an id.

    Raises:
        InvalidNameError: when it is none.
    """
    forbidden = ("..", "~", "^", ":", "?", "[", "*", "\\", " ", "@{")
    if (
        not name
        or name in {"@", "HEAD", NOWHERE}
        or name.endswith(".")
        or any(part in name for part in forbidden)
        or not name.isprintable()
    ):
        raise InvalidNameError(f"{name!r} cannot be an Oxen branch")
    return name


def check_repo(repo: RepoRef) -> RepoRef:
    """A repository whose names lead to no other folder and no other route.

    Raises:
        InvalidNameError: when namespace or repository is not a plain name.
    """
    for name in (repo.namespace, repo.repo):
        if not _NAME.fullmatch(name):
            raise InvalidNameError(
                f"{name!r} cannot be an Oxen namespace or repository",
                hint="Letters, digits, '_', '-' and '.' (not first), at most 200.",
            )
    return repo

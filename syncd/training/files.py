"""Fetch: the files of a commit in a folder of this machine, each read from Oxen once.

A folder that is fetched into holds the commit's files and nothing else: what another commit left
there would be trained on, too, and nobody would know.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path

from syncd import retry
from syncd.clients.commits import TreeEntry
from syncd.clients.disk import disk
from syncd.clients.protocols import VersionStore
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.refs import CommitRef, check_path
from syncd.training import ends
from syncd.training.cache import PART, Cache, cache_folder
from syncd.versions.contents import groups

OWN = ".syncd"  # the folder of syncd's own files in a tree
AT_ONCE = 8  # files, or groups of small ones, on their way
SHOWN = 5  # names in a message


@ends.telling
def fetch(
    commit: CommitRef | str,
    *,
    paths: str | Iterable[str] | None = None,
    to: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    store: VersionStore | None = None,
) -> Path:
    """Bring files of a commit into a folder; what is there already is not read from Oxen again.

    Contents are kept in `~/.cache/syncd` (SYNCD_CACHE_DIR), each once under its hash; a folder's files
    are read-only links to them, or copies where it lies on another disk.

    Args:
        commit: `oxen://namespace/repo@commit`, as `pinned` gives it.
        paths: which files: a path, a folder, or a pattern such as `train/*.parquet` (`*` also stands
            for `/`); all when None. syncd's own, in `.syncd`, only when they are named.
        to: the folder; a folder of its own in the cache when None.
        environ: the environment variables; the process's own when None.
        store: Oxen; what the environment configures when None.

    Returns:
        The folder.

    Raises:
        NotFoundError: when there is no such commit, or a path or pattern names nothing in it.
        InvalidNameError: when a path of the commit would lead out of the folder.
        IntegrityError: when bytes arrive that are not what the commit names.
        PermanentError: when the folder holds files that are not the commit's.
    """
    variables = os.environ if environ is None else environ
    named = CommitRef.parse(commit) if isinstance(commit, str) else commit
    cache = Cache(cache_folder(variables))
    with ExitStack() as stack:
        if store is None:
            config = ends.configuration(variables)
            store = stack.enter_context(ends.reading(config, variables))
        what = f"list {named}"
        there = store  # for closures: it is there from here on
        tree = retry.call(lambda: [_checked(entry) for entry in there.tree(named)], what=what)
        wanted = _selected(named, tree, paths)
        folder = Path(to).absolute() if to is not None else _own_folder(cache, named)
        held = {entry.path for entry in wanted}
        # One fetch of a commit at a time, and one into a folder: two commits must not mix there.
        with cache.alone(_key(str(named))), cache.alone(_key(str(folder.resolve()))):
            # What another fetch of this commit brought into the folder is brought up again with it.
            present = _present(folder, named, tree)
            brought = [entry for entry in tree if entry.path in held or entry.path in present]
            _bring(there, named, cache, brought)
            _lay(cache, folder, brought)
    return folder


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _checked(entry: TreeEntry) -> TreeEntry:
    check_path(entry.path)
    return entry


def _own_folder(cache: Cache, commit: CommitRef) -> Path:
    repo = commit.repo
    for name in (repo.namespace, repo.repo, commit.commit):
        check_path(name)
        if "/" in name:
            raise UsageError(f"{commit} names no commit")
    return cache.folder / "commits" / repo.namespace / repo.repo / commit.commit


def _selected(
    commit: CommitRef, tree: Sequence[TreeEntry], paths: str | Iterable[str] | None
) -> list[TreeEntry]:
    """The entries that are meant."""
    if paths is None:
        return [entry for entry in tree if OWN not in entry.path.split("/")]
    chosen: set[str] = set()
    for pattern in [paths] if isinstance(paths, str) else paths:
        folder = f"{pattern.rstrip('/')}/"
        named = [entry.path for entry in tree if entry.path == pattern] or [
            entry.path
            for entry in tree
            if (entry.path.startswith(folder) or fnmatchcase(entry.path, pattern))
            and (OWN in pattern.split("/") or OWN not in entry.path.split("/"))
        ]
        if not named:
            raise NotFoundError(
                f"{commit} holds nothing that {pattern!r} names",
                hint="Write a path, a folder, or a pattern such as train/*.parquet.",
            )
        chosen |= set(named)
    return [entry for entry in tree if entry.path in chosen]


def _present(folder: Path, commit: CommitRef, tree: Sequence[TreeEntry]) -> set[str]:
    """Paths of the commit that the folder holds.

    Raises:
        PermanentError: when it holds anything else.
    """
    known = {entry.path for entry in tree}
    found: set[str] = set()
    strange: list[str] = []
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*files, *links):
            path = (Path(place) / name).relative_to(folder).as_posix()
            if path in known and name not in links:
                found.add(path)
            elif not name.startswith(PART):
                strange.append(path)
    if strange:
        more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
        raise PermanentError(
            f"{folder} holds files that are not of {commit}: {', '.join(sorted(strange)[:SHOWN])}{more}",
            hint="Fetch into an empty folder, one for each commit, and write elsewhere.",
        )
    return found


def _bring(
    store: VersionStore, commit: CommitRef, cache: Cache, entries: Sequence[TreeEntry]
) -> None:
    """See that the cache has these contents."""
    unique = {entry.hash: entry for entry in entries}
    missing = [entry for entry in unique.values() if not cache.has(entry.hash, entry.size)]
    stopped = threading.Event()

    def bring(group: Sequence[TreeEntry]) -> None:
        left = list(group)

        def attempt() -> None:
            small = store.read_small(commit, left) if len(left) > 1 else {}
            while left and not stopped.is_set():
                entry = left[0]
                data = small.get(entry.hash)
                chunks = store.read(commit, entry.path) if data is None else [data]
                cache.keep(entry.hash, entry.size, chunks, f"{commit} {entry.path}")
                left.pop(0)

        try:
            retry.call(
                attempt, what=f"fetch {group[0].path} of {commit}", progress=lambda: -len(left)
            )
        except BaseException:
            stopped.set()  # the others have no use any more
            raise

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
        try:
            futures = [pool.submit(bring, group) for group in groups(missing, lambda e: e.size)]
            for future in futures:
                future.result()
        except BaseException:  # Ctrl-C, too: what is on its way ends, what waits never begins
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _lay(cache: Cache, folder: Path, entries: Sequence[TreeEntry]) -> None:
    """Put the files into the folder."""
    with disk(f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for parent in sorted({(folder / entry.path).parent for entry in entries}):
            parent.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        cache.put_into(entry.hash, entry.size, folder / entry.path)

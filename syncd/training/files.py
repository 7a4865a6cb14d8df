"""Fetch: the files of a commit in a folder of this machine, each read from Oxen once.

A folder that is fetched into holds the commit's files and nothing else: what another commit left
there would be trained on, too, and nobody would know.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from unicodedata import normalize

from syncd import log, retry
from syncd.clients.commits import TreeEntry
from syncd.clients.disk import disk
from syncd.clients.protocols import VersionStore
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.refs import CommitRef, check_path
from syncd.training import ends
from syncd.training.cache import PART, Cache, cache_folder, remove_forsaken
from syncd.training.folder import check_readable
from syncd.versions.commit_texts import ELSEWHERE
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
        ServiceUnavailableError: when a folder's disk is not mounted, or the server is away.
        NotFoundError: when there is no such commit, or a path or pattern names nothing in it.
        UsageError: when `paths` is empty.
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
            check_readable(config, [named])
            store = stack.enter_context(ends.reading(config, variables))
        what = f"list {named}"
        there = store  # for closures: it is there from here on
        tree = retry.call(lambda: [_checked(entry) for entry in there.tree(named)], what=what)
        wanted = _selected(named, tree, paths)
        if paths is None:
            _tell_of_others(there, named)
        folder = Path(to).absolute() if to is not None else _own_folder(cache, named)
        held = {entry.path for entry in wanted}

        def all_wanted() -> list[TreeEntry]:
            # What another fetch of this commit brought into the folder is brought up again with it.
            present = _present(folder, named, tree)
            return [entry for entry in tree if entry.path in held or entry.path in present]

        def bring() -> None:
            brought = all_wanted()
            _bring(there, named, cache, brought)
            _lay(cache, folder, brought)

        # One fetch of a commit at a time, and one into a folder: two commits must not mix there.
        keys = (_key(str(named)), _key(str(folder.resolve())))
        with cache.turn(*keys) as is_alone:
            if is_alone:
                bring()
                return folder
            if all(cache.is_in(e.hash, e.size, folder / e.path) for e in all_wanted()):
                return folder
        with cache.alone(*keys):
            bring()
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
    patterns = [paths] if isinstance(paths, str) else list(paths)
    if not patterns:
        raise UsageError("paths names nothing", hint="Leave paths out to fetch all files.")
    for pattern in patterns:
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


def _tell_of_others(store: VersionStore, commit: CommitRef) -> None:
    """Say so where a version has files that its commit lacks: who trains on it lacks them, too."""
    found = retry.call(lambda: store.resolve(commit.repo, commit.commit), what=f"read {commit}")
    said = found.trailers if found else {}
    if number := said.get(ELSEWHERE):
        log.get().warning(
            log.Life.FETCH_PARTIAL,
            commit=str(commit),
            artifact=said.get("Wandb-Artifact", ""),
            files_elsewhere=number,
            hint="They are references to other places, or stayed in W&B: download them from there.",
        )


def _present(folder: Path, commit: CommitRef, tree: Sequence[TreeEntry]) -> set[str]:
    """Paths of the commit that the folder holds.

    Raises:
        PermanentError: when it holds anything else.
    """
    known = {entry.path for entry in tree}
    found: set[str] = set()
    strange: list[str] = []
    top = f"{folder}"
    for place, folders, files in os.walk(top):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        remove_forsaken(Path(place), files)
        below = place[len(top) :].replace(os.sep, "/").strip("/")
        for name in (*files, *links):
            path = f"{below}/{name}" if below else name
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
    if missing:
        cache.tidy()
        _Bringing(store, commit, cache).all(missing)


class _StoppedError(Exception):
    """Another file failed, or somebody pressed Ctrl-C."""


class _Bringing:
    """Contents on their way from a commit into the cache; the first failure stops them all."""

    def __init__(self, store: VersionStore, commit: CommitRef, cache: Cache) -> None:
        self._store, self._commit, self._cache = store, commit, cache
        self._stopped = threading.Event()
        self._causes: list[BaseException] = []

    def all(self, missing: Sequence[TreeEntry]) -> None:
        """Bring them; nobody waits for what is of no use any more."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
            try:
                parts = groups(missing, lambda entry: entry.size)
                for future in [pool.submit(self._bring, part) for part in parts]:
                    future.result()
            except BaseException as error:  # Ctrl-C, too
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, _StoppedError):
                    raise self._causes[0] from None
                raise

    def _bring(self, group: Sequence[TreeEntry]) -> None:
        left = list(group)

        def attempt() -> None:
            small = self._store.read_small(self._commit, left) if len(left) > 1 else {}
            while left and not self._stopped.is_set():
                entry = left[0]
                data = small.get(entry.hash)
                chunks = self._store.read(self._commit, entry.path) if data is None else [data]
                what = f"{self._commit} {entry.path}"
                self._cache.keep(entry.hash, entry.size, self._going(chunks), what)
                left.pop(0)

        what = f"fetch {group[0].path} of {self._commit}"
        try:
            retry.call(attempt, what=what, progress=lambda: -len(left))
        except _StoppedError:
            raise
        except BaseException as error:
            self._causes.append(error)
            self._stopped.set()
            raise

    def _going(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stopped.is_set():
                raise _StoppedError
            yield chunk


def _refuse_twins(folder: Path, entries: Sequence[TreeEntry]) -> None:
    """See that no file of a commit hides another one, as on the disks of many laptops.

    Raises:
        PermanentError: when the disk takes two of its names for one.
    """
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for path in (entry.path for entry in entries):
        names = [path]
        while (parent := names[-1].rpartition("/")[0]) and parent not in folders:
            folders.add(parent)
            names.append(parent)
        for name in names:
            other = seen.setdefault(normalize("NFC", name).casefold(), name)
            if other != name and not _are_one(folder):
                return
            if other != name:
                raise PermanentError(
                    f"{folder} lies on a disk that takes {other} and {name} for one name",
                    hint="Fetch to a disk that tells them apart, or other paths of the commit.",
                )


def _are_one(folder: Path) -> bool:
    """Whether a disk takes names for one that differ by case, or in how their accents are written."""
    name = f"{PART}{os.getpid()}-{os.urandom(4).hex()}-\u00e9"
    probe = folder / name
    probe.touch(exist_ok=False)
    try:
        return any((folder / other).exists() for other in (name.swapcase(), normalize("NFD", name)))
    finally:
        probe.unlink()


def _lay(cache: Cache, folder: Path, entries: Sequence[TreeEntry]) -> None:
    """Put the files into the folder."""
    with disk(f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_twins(folder, entries)
        for parent in sorted({entry.path.rpartition("/")[0] for entry in entries}):
            (folder / parent).mkdir(parents=True, exist_ok=True)
    for entry in entries:
        cache.put_into(entry.hash, entry.size, folder / entry.path)

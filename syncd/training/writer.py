"""Who writes to Oxen for a script: this process to a server, another one to a folder of repositories.

liboxen keeps a repository to the process that opened it until that process ends, and a script may
train on for days after it has published. So a folder is written to by `python -m
syncd.training.writer`, which reads one request from its standard input, answers it on its standard
output, and ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from syncd import errors
from syncd.clients.protocols import VersionStore
from syncd.config import Config
from syncd.refs import CommitRef, RepoRef
from syncd.training import commits, ends
from syncd.training.commits import Work
from syncd.training.folder import Named, check_writable

LOCKED = (
    "syncd keeps a repository of a folder to itself from its first commit there until it ends: stop "
    "`syncd run`, or wait for `syncd backfill`, and publish again. An Oxen server has several writers."
)


class Writer(Protocol):
    """Makes commits and moves branches."""

    def check(self, repo: RepoRef, named: Sequence[Named], others: Iterable[Named]) -> None:
        """Make sure that a commit may be made there, see `folder.check_writable`."""
        ...

    def commit(self, work: Work) -> CommitRef:
        """Commit and prove, see `commits.commit`."""
        ...

    def prove(self, commit: CommitRef) -> None:
        """Read a commit back, see `commits.prove`."""
        ...

    def point(self, commit: CommitRef, branches: Sequence[str]) -> None:
        """Point branches at a commit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """A `Writer` in this process.

    Args:
        store: Oxen.
    """

    store: VersionStore

    def check(self, repo: RepoRef, named: Sequence[Named], others: Iterable[Named]) -> None:
        """See `Writer.check`; a server is itself or does not answer."""

    def commit(self, work: Work) -> CommitRef:
        """See `Writer.commit`."""
        return commits.commit(self.store, work)

    def prove(self, commit: CommitRef) -> None:
        """See `Writer.prove`."""
        commits.prove(self.store, commit)

    def point(self, commit: CommitRef, branches: Sequence[str]) -> None:
        """See `Writer.point`."""
        commits.point(self.store, commit, branches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a writing process is asked for; the answer is the commit's id.

    Args:
        root: the folder of repositories.
        work: what to commit.
        commit: or what to prove, or to point branches at.
        branches: these; None to prove.
        mark: the folder's mark, as it was when the folder was checked; empty when it was not.
    """

    root: str
    work: Work | None = None
    commit: CommitRef | None = None
    branches: tuple[str, ...] | None = None
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How it went: a commit, or an error of `syncd.errors` by its class's name."""

    commit: CommitRef | None = None
    error: str = ""
    message: str = ""
    hint: str = ""


class Elsewhere:
    """A `Writer` that starts a process for each request.

    Args:
        root: the folder of repositories.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._mark = ""

    def check(self, repo: RepoRef, named: Sequence[Named], others: Iterable[Named]) -> None:
        """See `Writer.check`; from here on the folder has to stay what it is."""
        self._mark = check_writable(self._root, repo, named, others)

    def commit(self, work: Work) -> CommitRef:
        """See `Writer.commit`."""
        return self._asked(Request(root=str(self._root), work=work, mark=self._mark))

    def prove(self, commit: CommitRef) -> None:
        """See `Writer.prove`."""
        self._asked(Request(root=str(self._root), commit=commit, mark=self._mark))

    def point(self, commit: CommitRef, branches: Sequence[str]) -> None:
        """See `Writer.point`."""
        names = tuple(branches)
        self._asked(Request(root=str(self._root), commit=commit, branches=names, mark=self._mark))

    @staticmethod
    def _asked(request: Request) -> CommitRef:
        """Have a request answered; the other process waits a while for one that keeps it out."""
        done = subprocess.run(
            [sys.executable, "-m", "syncd.training.writer"],
            input=msgspec.json.encode(request),
            capture_output=True,
            check=False,
        )
        try:
            reply = msgspec.json.decode(done.stdout, type=Reply)
        except msgspec.DecodeError as error:
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise errors.PermanentError(
                f"the process that writes to {request.root} ended with {done.returncode}: {said}",
                hint="Nothing is half done: publish again.",
            ) from error
        if reply.commit is None:
            raise _error(reply)
        return reply.commit


@contextmanager
def writer(config: Config, environ: Mapping[str, str]) -> Iterator[Writer]:
    """Who writes to the store that the configuration names.

    Raises:
        ConfigurationError: when the server's URL cannot be used, or its token cannot be read.
    """
    root = config.oxen.directory
    if root is not None:
        yield Elsewhere(root=root)
        return
    with ends.reading(config, environ) as store:
        yield Here(store=store)


def _error(reply: Reply) -> errors.SyncdError:
    kind = getattr(errors, reply.error, errors.PermanentError)
    made = kind(reply.message, hint=reply.hint)
    assert isinstance(made, errors.SyncdError)
    return made


def answer(request: Request) -> Reply:
    """Do what is asked, in a process of its own."""
    from syncd.clients.oxen_local import EmbeddedVersionStore  # noqa: PLC0415 importing oxen takes 1 s

    store = EmbeddedVersionStore(Path(request.root))
    here = Here(store=store)
    try:
        if request.mark and store.mark.read() != request.mark:  # its disk went away since
            raise store.mark.missing()
        if request.work is not None:
            made = here.commit(request.work)
            store.mark.make()  # what a person marked by an empty file is a store in use now
            return Reply(commit=made)
        assert request.commit is not None, "a request names one of both"
        if request.branches is None:
            here.prove(request.commit)
        else:
            here.point(request.commit, request.branches)
        return Reply(commit=request.commit)
    except errors.StoreLockedError as error:
        return Reply(error=type(error).__name__, message=str(error), hint=LOCKED)
    except errors.SyncdError as error:
        return Reply(error=type(error).__name__, message=str(error), hint=error.hint)


def main() -> None:
    """Answer one request; liboxen prints to standard output, and so gets another one."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    with os.fdopen(out, "wb") as stream:
        stream.write(msgspec.json.encode(answer(request)))


if __name__ == "__main__":
    main()

"""Pins: which Oxen commits a script is to use, read from its environment, or a refusal to run.

A script that trains on "whatever is there" cannot say later what it trained on. Where its
environment does not name full commits that the server knows, it does not begin.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from syncd import retry
from syncd.clients.oxen_paths import check_repo
from syncd.clients.protocols import VersionStore
from syncd.errors import InvalidNameError, PermanentError, UsageError
from syncd.refs import FULL_COMMIT, CommitRef, OxenURL, RepoRef
from syncd.training import ends
from syncd.training.folder import check_readable

SHORTENED = re.compile(r"[0-9a-f]{6,23}")
NAME = re.compile(r"[a-z][a-z0-9_]*")
SHORT = {"dataset": "dataset", "model": "base_model"}  # what a pin is called in a run's config


class PinError(PermanentError):
    """The environment does not say what to train on; `problems` lists every mistake.

    Args:
        problems: one sentence per mistake, each beginning with the variable.
    """

    default_hint = (
        "Set the variables named above and start again. `syncd resolve entity/project/name:v3` tells "
        "the commit that a W&B version stands for."
    )

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "\n".join(["this run is not pinned:", *(f"  {item}" for item in problems)])
        )
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """The commits that a run is to use.

    Args:
        commits: by name: `dataset`, `model`, and any others that were asked for.
    """

    commits: Mapping[str, CommitRef] = field(default_factory=dict)

    @property
    def dataset(self) -> CommitRef:
        """The commit to train on.

        Raises:
            UsageError: when it was not asked for.
        """
        return self["dataset"]

    @property
    def model(self) -> CommitRef | None:
        """The commit to begin with; None where none is named and none was needed."""
        return self.commits.get("model")

    def __getitem__(self, name: str) -> CommitRef:
        if name not in self.commits:
            raise UsageError(
                f"no commit is pinned as {name!r}",
                hint=f"Ask for it: pinned(datasets=[{name!r}]).",
            )
        return self.commits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.commits)


@ends.telling
def pinned(
    *,
    dataset: bool = True,
    model: bool = True,
    datasets: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    store: VersionStore | None = None,
) -> Pins:
    """The commits that the environment names, each known to Oxen; a refusal otherwise.

    OXEN_DATASET_COMMIT and OXEN_DATASET_REPO, OXEN_MODEL_COMMIT and OXEN_MODEL_REPO; a repository
    is written `oxen://namespace/repo`. The server is `[oxen] url` of syncd's configuration, or
    SYNCD_OXEN__URL; its token OXEN_TOKEN.

    Args:
        dataset: whether there must be a dataset; one that is named is read all the same.
        model: likewise for the model that training begins with.
        datasets: names of further ones that there must be; `validation` is OXEN_VALIDATION_COMMIT
            and OXEN_VALIDATION_REPO.
        environ: the environment variables; the process's own when None.
        store: Oxen; what the environment configures when None.

    Raises:
        PinError: with every mistake: what is missing, malformed, a branch, or unknown to the server.
        ConfigurationError: when syncd's configuration is wrong.
        TransientError: when the server could not be asked, or a folder's disk is not mounted.
    """
    variables = os.environ if environ is None else environ
    needed = {"dataset": dataset, "model": model}
    for name in datasets:
        if not NAME.fullmatch(name) or name in SHORT:
            raise UsageError(
                f"{name!r} cannot name a further dataset", hint="Write a word such as validation."
            )
        needed[name] = True
    problems: list[str] = []
    named: dict[str, CommitRef] = {}
    for name, must in needed.items():
        found = _read(name, variables, problems, must=must)
        if found is not None:
            named[name] = found
    with ExitStack() as stack:
        if store is None:
            config = ends.configuration(variables)
            check_readable(config, list(named.values()))
            store, place = stack.enter_context(ends.reading(config, variables)), config.oxen.url
        else:
            place = "the server"
        for name, commit in named.items():
            if problem := _unknown(store, place, name, commit):
                problems.append(problem)
    if problems:
        raise PinError(problems)
    return Pins(commits=named)


def variables_of(name: str) -> tuple[str, str]:
    """The variables that name a pin's commit and repository."""
    return f"OXEN_{name.upper()}_COMMIT", f"OXEN_{name.upper()}_REPO"


def _read(
    name: str, environ: Mapping[str, str], problems: list[str], *, must: bool
) -> CommitRef | None:
    """What the environment names; None when it names nothing, or wrongly."""
    commit_at, repo_at = variables_of(name)
    commit, repo = environ.get(commit_at, "").strip(), environ.get(repo_at, "").strip()
    if not commit and not repo and not must:
        return None
    place = None
    if not repo:
        problems.append(
            f"{repo_at} is not set; write the repository, {repo_at}=oxen://namespace/repo"
        )
    else:
        try:
            url = OxenURL.parse(f"{repo}@main")
            place = check_repo(url.repo) if not url.path and url.revision == "main" else None
        except (UsageError, InvalidNameError):
            place = None
        if place is None:
            problems.append(f"{repo_at}={repo!r} is not a repository; write oxen://namespace/repo")
    if not commit:
        problems.append(f"{commit_at} is not set; write the full id of a commit{_example(place)}")
    elif SHORTENED.fullmatch(commit):
        problems.append(
            f"{commit_at}={commit!r} is a shortened id; write the full id of the commit"
        )
    elif place is not None:
        return CommitRef(repo=place, commit=commit)  # a branch's commit can be told
    elif not FULL_COMMIT.fullmatch(commit):
        problems.append(f"{commit_at}={commit!r} is not the full id of a commit")
    return None


def _example(repo: RepoRef | None) -> str:
    return f" of {repo}" if repo else ""


def _unknown(store: VersionStore, place: str, name: str, wanted: CommitRef) -> str:
    """What is wrong with a commit that was named; empty when the server has it."""
    commit_at, repo_at = variables_of(name)
    text, repo = wanted.commit, wanted.repo
    what = f"look for {wanted}"
    found = None
    if text.isprintable() and "\\" not in text:
        found = retry.call(lambda: store.resolve(repo, text), what=what)
    if found is not None and found.ref.commit == text:
        return ""
    if found is not None:
        return (
            f"{commit_at}={text!r} is a branch, which moves; it is at this commit now, write "
            f"{commit_at}={found.ref.commit}"
        )
    if not FULL_COMMIT.fullmatch(text):
        return f"{commit_at}={text!r} is not the full id of a commit, some 32 characters of 0-9 and a-f"
    if not retry.call(lambda: store.branches(repo), what=what):
        return f"{repo_at}={repo} is not a repository of {place}, or the token may not read it"
    return f"{commit_at}={text} is not a commit of {repo} at {place}"

"""Names and URLs of both worlds: the only place that parses and formats them.

W&B names a version `entity/project/collection:v3` (or by alias), a run `entity/project/runs/ID`.
Oxen content is named `oxen://namespace/repo@revision/path`. A reference URL is what a replacement
version's manifest holds: `{base}/api/repos/{namespace}/{repo}/file/{commit}/{path}`, every path
segment percent-encoded so that the `requests` library sends it unchanged (it would cut a raw `#`
off as a fragment; requests 2.34.2, `PreparedRequest.prepare_url`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit

from syncd.errors import InvalidNameError, UsageError

VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})")  # as many as databases count
_COMMIT = re.compile(r"[0-9a-f]{1,64}")
FULL_COMMIT = re.compile(r"[0-9a-f]{24,64}")  # liboxen writes 128 bits without leading zeros
HASH = re.compile(r"[0-9a-f]{3,32}")  # of a content, as Oxen writes it
MAX_PATH_BYTES = 4096
MAX_SEGMENT_BYTES = 255

CollectionName = tuple[str, str, str]  # entity, project, collection


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """`entity/project/collection:alias`, where alias may be a version such as `v3`.

    Without an alias it is what a version is called before W&B has numbered it.
    """

    entity: str
    project: str
    collection: str
    alias: str

    @classmethod
    def parse(cls, text: str) -> ArtifactRef:
        """Parse `entity/project/collection:alias`; without an alias, `latest` is meant.

        Raises:
            UsageError: when the text is not such a name.
        """
        path, _, alias = text.partition(":")
        parts = path.split("/")
        if len(parts) != 3 or not all(parts):  # noqa: PLR2004 entity, project, collection
            raise UsageError(
                f"{text!r} is not a W&B version", hint="Write entity/project/collection:v3."
            )
        return cls(entity=parts[0], project=parts[1], collection=parts[2], alias=alias or "latest")

    @property
    def index(self) -> int | None:
        """The number in `vN`, or None when the alias is not a version."""
        return int(self.alias[1:]) if VERSION.fullmatch(self.alias) else None

    @property
    def place(self) -> CollectionName:
        """The collection that it is in."""
        return self.entity, self.project, self.collection

    def __str__(self) -> str:
        name = "/".join(self.place)
        return f"{name}:{self.alias}" if self.alias else name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef:
    """`entity/project/runs/RUNID`."""

    entity: str
    project: str
    run_id: str

    @classmethod
    def parse(cls, text: str) -> RunRef:
        """Parse what `str` makes of one.

        Raises:
            UsageError: when the text is none.
        """
        parts = text.split("/")
        if len(parts) != 4 or parts[2] != "runs" or not all(parts):  # noqa: PLR2004
            raise UsageError(f"{text!r} is not a run", hint="Write entity/project/runs/RUNID.")
        return cls(entity=parts[0], project=parts[1], run_id=parts[3])

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/runs/{self.run_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a command works on: a project, all projects of an entity, a collection or one version."""

    entity: str
    project: str | None = None
    collection: str | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse `entity/project`, `entity/*`, `entity/project/collection[:alias]`.

        Raises:
            UsageError: when the text is none of these.
        """
        path, colon, alias = text.partition(":")
        parts = path.split("/")
        shapes = {2: not colon, 3: not colon or bool(alias)}
        if not shapes.get(len(parts), False) or not all(parts):
            raise UsageError(
                f"{text!r} is not a target",
                hint="Write entity/project, entity/*, entity/project/collection or a full "
                "entity/project/collection:v3.",
            )
        project = None if parts[1] == "*" else parts[1]
        if project is None and len(parts) > 2:  # noqa: PLR2004 a collection needs its project
            raise UsageError(f"{text!r} names a collection without its project")
        return cls(
            entity=parts[0],
            project=project,
            collection=parts[2] if len(parts) > 2 else None,  # noqa: PLR2004
            alias=alias or None,
        )

    @classmethod
    def of(cls, ref: ArtifactRef) -> Target:
        """The collection of a version."""
        return cls(entity=ref.entity, project=ref.project, collection=ref.collection)

    @property
    def whole(self) -> Target:
        """The target without its alias: the collection that a version lies in."""
        return replace(self, alias=None)

    def covers(self, other: Target) -> bool:
        """Whether whoever looks at this project, or at all of an entity, looks at the other one."""
        return self.entity == other.entity and self.project in (None, other.project)

    def __str__(self) -> str:
        text = f"{self.entity}/{self.project or '*'}"
        if self.collection:
            text += f"/{self.collection}"
        return f"{text}:{self.alias}" if self.alias else text


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RepoRef:
    """An Oxen repository, `oxen://namespace/repo`."""

    namespace: str
    repo: str

    def __str__(self) -> str:
        return f"oxen://{self.namespace}/{self.repo}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRef:
    """A commit of an Oxen repository, `oxen://namespace/repo@commit`."""

    repo: RepoRef
    commit: str

    @classmethod
    def parse(cls, text: str) -> CommitRef:
        """Parse `oxen://namespace/repo@commit`; a path behind it is refused.

        Raises:
            UsageError: when the text is not such a name.
        """
        url = OxenURL.parse(text)
        if url.path:
            raise UsageError(f"{text!r} names a file, not a commit")
        return cls(repo=url.repo, commit=url.revision)

    def __str__(self) -> str:
        return f"{self.repo}@{self.commit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OxenURL:
    """`oxen://namespace/repo@revision[/path]`; the revision is a commit or a branch.

    A branch name may hold slashes, so that `@wandb/v3/data/a.bin` is ambiguous: the text behind
    `@` up to the first slash is the revision unless it is percent-encoded (`candidate%2Fv3`). What
    every version has, `wandb/vN`, is understood as it is.
    """

    repo: RepoRef
    revision: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> OxenURL:
        """Parse an oxen:// name.

        Raises:
            UsageError: when the text is not such a name.
        """
        match = re.fullmatch(
            r"oxen://([^/@]+)/([^/@]+)@(wandb/v[0-9]+(?![^/])|[^/]+)(?:/(.*))?", text
        )
        if match is None:
            raise UsageError(
                f"{text!r} is not an Oxen name", hint="Write oxen://namespace/repo@rev."
            )
        namespace, repo, revision, path = match.groups()
        return cls(
            repo=RepoRef(namespace=namespace, repo=repo),
            revision=unquote(revision),
            path=path or "",
        )

    def __str__(self) -> str:
        text = f"{self.repo}@{quote(self.revision, safe='')}"
        return f"{text}/{self.path}" if self.path else text


def check_path(path: str) -> str:
    """Return an artifact path that is safe to use in a tree and in a URL.

    Raises:
        InvalidNameError: for an absolute or empty path, `.`, `..` or empty segments, NUL or other
            control characters, lone surrogates, and segments over 255 or paths over 4096 bytes.
    """
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise InvalidNameError(f"path {path!r} is not valid unicode") from error
    segments = path.split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        raise InvalidNameError(
            f"path {path!r} is empty, absolute, or has an empty, . or .. segment"
        )
    if any(ord(character) < 32 or ord(character) == 127 for character in path):  # noqa: PLR2004
        raise InvalidNameError(f"path {path!r} holds a control character")
    longest = max(len(segment.encode()) for segment in segments)
    if len(encoded) > MAX_PATH_BYTES or longest > MAX_SEGMENT_BYTES:
        raise InvalidNameError(f"path {path[:80]!r}... is too long for a file system")
    return path


def reference_url(base: str, commit: CommitRef, path: str) -> str:
    """The URL under which a file of a commit is served, for ever the same bytes.

    Args:
        base: the Oxen server's or the gateway's URL, without `/api`.
        commit: the commit that holds the file.
        path: the file's path in the commit's tree, not encoded.

    Raises:
        InvalidNameError: when the path is not safe (see `check_path`).
    """
    segments = [quote(segment, safe="-._~") for segment in check_path(path).split("/")]
    repo = commit.repo
    return (
        f"{base.rstrip('/')}/api/repos/{quote(repo.namespace, safe='')}/{quote(repo.repo, safe='')}"
        f"/file/{commit.commit}/{'/'.join(segments)}"
    )


def parse_reference_url(url: str) -> tuple[CommitRef, str] | None:
    """The commit and path that a reference URL names, or None when it is another URL."""
    try:
        parts = urlsplit(url)
    except ValueError:  # e.g. a bracket that is no IPv6 address
        return None
    match = re.search(r"/api/repos/([^/]+)/([^/]+)/file/([0-9a-f]+)/(.+)$", parts.path)
    if match is None or parts.query or parts.fragment or not _COMMIT.fullmatch(match[3]):
        return None
    namespace, repo, commit, path = match.groups()
    return (
        CommitRef(repo=RepoRef(namespace=unquote(namespace), repo=unquote(repo)), commit=commit),
        unquote(path),
    )

"""`syncd review` and `syncd merge`: what a version would change on the main branch, and making it so."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context, changes
from syncd.cli.changes import Files

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.changes.merging import Review
    from syncd.changes.sides import Ends, Side

MOST_CONFLICTS = 1000
CONFLICTS_SHOWN = 20
Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF", help="entity/project/collection:v3 (or :alias), or oxen://ns/repo@rev."
    ),
]
Into = Annotated[
    str,
    typer.Option(
        "--into",
        metavar="BRANCH",
        help="Another branch than the main one of [oxen]; none that stands for an alias of W&B's.",
        show_default=False,
    ),
]
Theirs = Annotated[
    bool,
    typer.Option("--theirs", help="Take the version's file where both sides changed it."),
]


def review(
    context: Context, ref: Ref, *, into: Into = "", theirs: Theirs = False, files: Files = ""
) -> None:
    """Show what merging a version, or a branch of Oxen's, into the main branch would change.

    Changes nothing, and ends with 0 also where there are conflicts.
    """
    from syncd.changes import merging  # noqa: PLC0415

    limit = changes.limit_of(files, as_json=context.output.as_json)
    with changes.ends(context, ref) as ends:
        side, candidate = _candidate(ends, ref)
        branch = into or context.config.oxen.main_branch
        _refuse_alias(context, ends, candidate, branch)
        found = merging.review(ends.store, candidate, branch, theirs=theirs)
        document = {
            "candidate": side.document(),
            **_document(found),
            **changes.document(found.difference, limit),
            **_story(ends, side),
        }
    context.output.result(document, lambda console: _print_review(console, document, side.title))


def merge(
    context: Context,
    ref: Ref,
    *,
    into: Into = "",
    theirs: Theirs = False,
    message: Annotated[
        str,
        typer.Option(
            "--message",
            "-m",
            help="What the merge's commit says; a commit is made then also where the branch could "
            "just move to the version's.",
            show_default=False,
        ),
    ] = "",
    by: Annotated[
        str,
        typer.Option(
            "--by", help="Who merges; by default you, on this machine.", show_default=False
        ),
    ] = "",
) -> None:
    """Merge a version, or a branch of Oxen's, into the main branch.

    The branch moves to the version's own commit where it has nothing of its own, and else gets a
    commit with what both have. Where both changed the same files, nothing is done. W&B is not changed.
    """
    from datetime import UTC, datetime  # noqa: PLC0415

    from syncd import runtime  # noqa: PLC0415
    from syncd.changes import merging  # noqa: PLC0415
    from syncd.durable import fleet  # noqa: PLC0415

    config = context.config
    with runtime.only_one(config), changes.ends(context, ref) as ends:
        side, candidate = _candidate(ends, ref)
        branch = into or config.oxen.main_branch
        _refuse_alias(context, ends, candidate, branch)
        with (
            fleet.joined(config) as member,
            member.locks.alone(f"repository {candidate.repo}"),
        ):
            found = merging.review(ends.store, candidate, branch, theirs=theirs)
            made = merging.merge(
                ends.store,
                found,
                author=_author(by),
                now=datetime.now(UTC),
                message=message or None,
            )
    document = {
        "candidate": side.document(),
        **_document(found),
        "state": str(found.outcome(made)),
        "commit": str(made),
        "summary": found.difference.document(),
    }
    context.output.result(document, lambda console: _print_merge(console, document, side.title))


def _candidate(ends: Ends, ref: str) -> tuple[Side, Any]:
    from syncd import errors  # noqa: PLC0415
    from syncd.changes import sides  # noqa: PLC0415

    side = sides.side(ends, ref)
    if side.below:
        raise errors.UsageError(f"{ref} names files, and only a whole version can be merged")
    if side.commit is None:
        raise errors.NotFoundError(
            f"{side.title} has not been moved to Oxen", hint="Run `syncd plan` to see why."
        )
    return side, side.commit


def _refuse_alias(context: Context, ends: Ends, candidate: Any, branch: str) -> None:
    """See that a branch is no alias's. W&B is asked where it can be, also when Oxen's names were given."""
    from syncd import runtime  # noqa: PLC0415
    from syncd.errors import ConfigurationError  # noqa: PLC0415
    from syncd.promotion.branches import refuse_alias  # noqa: PLC0415

    config = context.config
    if branch == config.oxen.main_branch:
        return
    commit = ends.store.resolve(candidate.repo, candidate.commit)
    with ExitStack() as stack:
        source = ends.source
        if source is None:
            with suppress(ConfigurationError):  # whoever has no key works with Oxen alone
                parts = stack.enter_context(runtime.opened(config, context.environ))
                source = parts.source
        refuse_alias(source, ends.store, config, commit, branch)


def _author(by: str) -> Any:
    import getpass  # noqa: PLC0415
    import socket  # noqa: PLC0415

    from syncd.clients.commits import Author  # noqa: PLC0415

    name = " ".join(by.split()) or getpass.getuser()
    user = name if name.isascii() and name.isalnum() else getpass.getuser()
    return Author(name=name, email=f"{user}@{socket.gethostname()}")


def _document(found: Review) -> dict[str, Any]:
    rows = found.conflicts
    conflicts = [rows.at(number) for number in range(min(len(rows), MOST_CONFLICTS))]
    return {
        "repo": str(found.candidate.ref.repo),
        "into": found.into,
        "state": str(found.state),
        "head": found.head.ref.commit if found.head else None,
        "base": found.base,
        "ahead": found.ahead,
        "behind": found.behind,
        "conflicts": [{"path": path, "reason": reason} for path, reason in conflicts],
        "conflicts_left_out": len(rows) - len(conflicts),
    }


def _story(ends: Ends, side: Side) -> dict[str, Any]:
    """What the commit's lineage file says of the version; empty where there is none."""
    from syncd.versions.lineages import MALFORMED, story  # noqa: PLC0415
    from syncd.versions.plans import lineage_in  # noqa: PLC0415

    artifact: Mapping[str, Any] = {}
    run: Mapping[str, Any] | None = None
    inputs: list[Mapping[str, Any]] = []
    if side.held is not None and side.commit is not None:
        path = lineage_in(side.root)
        try:
            told = story(ends.store.read(side.commit, path))
        except MALFORMED as error:
            from syncd.errors import PermanentError  # noqa: PLC0415

            raise PermanentError(
                f"{path} of {side.commit} is no lineage file ({error!r})"
            ) from error
        artifact, run, inputs = told.artifact, told.run, list(told.inputs)
    return {
        "version": artifact.get("ref"),
        "description": artifact.get("description"),
        "aliases": artifact.get("aliases", []),
        "run": {key: run.get(key) for key in ("ref", "name", "url")} if run else None,
        "inputs": [{"artifact": item.get("artifact"), "oxen": item.get("oxen")} for item in inputs],
    }


def _print_review(console: Console, document: dict[str, Any], title: str) -> None:
    plain = changes.plain
    console.print(f"{title}  {document['candidate']['oxen']}")
    if document["description"]:
        console.print(f"  {' '.join(str(document['description']).split())}")
    if run := document["run"]:
        console.print(f"  run   {run['ref']}  {run['url']}")
    for item in document["inputs"]:
        told = f"{item['artifact']}  {item['oxen'] or ''}"
        console.print(f"  input {told.rstrip()}")
    head = document["head"] or "not there yet"
    console.print(
        f"into {document['into']} ({head}): {document['state']}; "
        f"{document['ahead']} ahead, {document['behind']} behind",
    )
    for item in document["conflicts"][:CONFLICTS_SHOWN]:
        console.print(f"  conflict: {plain(item['path'])} ({item['reason']})")
    more = len(document["conflicts"]) - CONFLICTS_SHOWN + document["conflicts_left_out"]
    if more > 0:
        console.print(f"  … and {more:,} more conflicts")
    if document["state"] != "already merged":
        changes.print_summary(console, document["summary"])
        changes.print_files(console, document)


def _print_merge(console: Console, document: dict[str, Any], title: str) -> None:
    if document["state"] == "already merged":
        console.print(f"{title} is already merged into {document['into']}")
        return
    console.print(f"{title} merged into {document['into']}: {document['commit']}")
    changes.print_summary(console, document["summary"])

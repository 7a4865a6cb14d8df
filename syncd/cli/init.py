"""`syncd init`: a first configuration, asked for, written and tried."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context, ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.config import Config
    from syncd.runtime import Ends

HEAD = "# Made by `syncd init`. `syncd config example` prints every key and what it means.\n"


def init(
    context: Context,
    projects: Annotated[
        list[str] | None,
        typer.Option("--project", metavar="TARGET", help="entity/project or entity/*."),
    ] = None,
    *,
    wandb: Annotated[str, typer.Option("--wandb", metavar="URL", help="W&B's API.")] = "",
    oxen: Annotated[
        str,
        typer.Option(
            "--oxen",
            metavar="URL",
            help="https://hub.oxen.ai, a server of yours, or file:///folder.",
        ),
    ] = "",
    references: Annotated[
        str,
        typer.Option(
            "--references", metavar="URL", help="Where training machines reach the moved files."
        ),
    ] = "",
) -> ExitCode:
    """Write a configuration file, and try both ends; what no option says is asked for.

    The file is --config's, else config.toml here; one that is there is left alone. Secrets are not
    asked for: the W&B key comes from WANDB_API_KEY or `wandb login`, Oxen's token from OXEN_TOKEN.
    """
    from syncd import config, errors  # noqa: PLC0415

    file = (context.config_file or Path("config.toml")).expanduser().absolute()
    if file.exists():
        raise errors.UsageError(f"{file} is there already", hint="Name another: --config FILE.")
    # What is proposed: the defaults, wherever a container listens.
    proposed = {**context.environ, "SYNCD_CONFIG": os.devnull, "SYNCD_WEB__BIND": "127.0.0.1:8337"}
    base = config.load(None, proposed)
    ask = _asker()
    named = ", ".join(projects or ()) or ask("W&B projects (entity/project, entity/*)", "")
    server = oxen or ask("Oxen (https://hub.oxen.ai, a server, or file:///folder)", base.oxen.url)
    tables: dict[str, dict[str, Any]] = {
        "wandb": {
            "base_url": wandb or ask("W&B's API", base.wandb.base_url),
            "projects": [name.strip() for name in named.split(",") if name.strip()],
        },
        "oxen": {"url": server},
    }
    if served := references or (
        ask("Address of the gateway, as training machines reach it", base.references.base_url)
        if server.startswith("file:")
        else ""
    ):
        tables["references"] = {"base_url": served}
    if not tables["wandb"]["projects"]:
        raise errors.UsageError("no project was named", hint="For example: --project team/project")
    made = _written(file, tables, context)
    problems = _tried(made, context)
    document = {"file": str(file), "problems": problems}
    context.output.result(document, partial(_print, document=document))
    return ExitCode.FAILED if problems else ExitCode.DONE


def _asker() -> Callable[[str, str], str]:
    """Asks a person; where none looks on, what is proposed is taken."""
    if not sys.stdin.isatty():
        return lambda _question, proposed: proposed
    return lambda question, proposed: str(
        typer.prompt(question, default=proposed or None, err=True)
    )


def _written(file: Path, tables: dict[str, dict[str, Any]], context: Context) -> Config:
    """Write the file when it is one that can be read.

    Raises:
        ConfigurationError: with all mistakes; nothing was written.
    """
    from syncd import config  # noqa: PLC0415
    from syncd.clients.disk import disk  # noqa: PLC0415

    lines = [HEAD]
    for name, keys in tables.items():
        lines.append(f"\n[{name}]\n")
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in keys.items()
        ]
    with disk(f"cannot write {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with disk(f"cannot write {file}"), os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.writelines(lines)
        made = config.load(Path(aside), context.environ)
        with disk(f"cannot write {file}"):
            os.link(aside, file)  # unlike a rename never over another
    finally:
        Path(aside).unlink()
    return made


def _tried(made: Config, context: Context) -> list[dict[str, str]]:
    """What is wrong with either end."""
    from syncd import errors, runtime  # noqa: PLC0415

    problems: list[dict[str, str]] = []
    with runtime.ends(made, context.environ) as ends:
        for name, check in (("W&B", _try_wandb), ("Oxen", _try_oxen)):
            try:
                check(ends, made.wandb.projects)
            except errors.SyncdError as error:
                problems.append({"end": name, "problem": str(error), "hint": error.hint})
    return problems


def _try_wandb(ends: Ends, projects: Sequence[object]) -> None:
    from syncd.refs import Target  # noqa: PLC0415

    for project in projects:
        target = Target.parse(str(project))
        ends.source.probe(target.entity)
        next(iter(ends.source.collections(target)), None)


def _try_oxen(ends: Ends, _projects: Sequence[object]) -> None:
    from syncd import runtime  # noqa: PLC0415

    runtime.probe_oxen(ends.store, ends.config)


def _print(console: Console, document: dict[str, Any]) -> None:
    console.print(f"{document['file']} is written.")
    for item in document["problems"]:
        console.print(f"{item['end']}: {item['problem']}")
        console.print(f"  next: {item['hint']}")
    if not document["problems"]:
        console.print("W&B and Oxen answer. Next: syncd plan")

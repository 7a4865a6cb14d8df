"""`syncd demo`: the whole job with nothing configured."""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from syncd.cli import Context, ExitCode
from syncd.cli.output import console
from syncd.cli.scope import size

_INVITATION = (
    "Everything keeps running; Ctrl-C ends it. To talk to the server with the plain wandb package:",
    "  export WANDB_BASE_URL={base_url} WANDB_API_KEY={api_key}",
    "  {python} -c \"import wandb; print(wandb.Api().artifact('{model}').logged_by())\"",
    "To ask syncd about it, or to run docs/training.md's script on it:",
    "  export SYNCD_WANDB__PROJECTS={project} SYNCD_OXEN__URL={oxen}",
    "  export SYNCD_ENGINE__STATE_DIR={state} SYNCD_REFERENCES__BASE_URL={gateway}",
    "To see the pages of a model before and after: {base_url}/{project}/artifacts",
    "The gateway that serves the moved files: {gateway}",
)


def demo(
    context: Context,
    *,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="An empty folder that keeps everything.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Leave it running to look around.")
    ] = False,
) -> ExitCode:
    """The whole job with nothing configured: log, move, download, compare.

    Starts a W&B-compatible server and the gateway, logs a real project with the plain wandb SDK,
    moves it into Oxen repositories, and downloads everything again with a plain client.
    """
    from syncd import errors  # noqa: PLC0415
    from syncd.demo import story  # noqa: PLC0415

    people = console()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncd-demo-")))
        elif folder.exists() and any(folder.iterdir()):
            raise errors.UsageError(f"{folder} is not empty", hint="Name a new folder.")
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)

        def stay(document: dict[str, Any], servers: dict[str, str]) -> None:
            context.output.result(document, lambda out: _print(out, document))
            if serve:
                for line in _INVITATION:
                    people.print(line.format(**servers, python=sys.executable), soft_wrap=True)
                with suppress(KeyboardInterrupt):
                    signal.pause()

        document = story.play(folder, lambda line: people.print(line, soft_wrap=True), stay)
    return ExitCode.DONE if document["all_equal"] else ExitCode.FAILED


def _print(out: Any, document: dict[str, Any]) -> None:
    lineage = document["lineage"]
    out.print(
        f"{document['versions_moved']} versions moved: {size(document['bytes_moved'])} are "
        f"references to Oxen now, {size(document['bytes_kept'])} stayed in W&B; "
        f"{size(document['bytes_downloaded'])} travelled, "
        f"{size(document['bytes_deduplicated'])} were there already."
    )
    verdict = "all equal" if document["all_equal"] else "DIFFERENT"
    out.print(
        f"{document['entries_compared']} entries compared by a plain wandb client in a fresh "
        f"process with an empty cache: {verdict}."
    )
    for line in document["different"]:
        out.print(f"  different: {line}")
    out.print(f"Among them {document['registry_link']}, through the registry's link.")
    out.print(f"Which data trained {lineage['model']}?")
    out.print(f"  model    {lineage['model_commit']}")
    out.print(f"  run      {lineage['run']}  {lineage['config']}")
    for dataset in lineage["datasets"]:
        out.print(f"  dataset  {dataset['commit']}  ({dataset['artifact']})")

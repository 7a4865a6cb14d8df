"""`syncd finetune`: the hub trains a model on a version, and the journal knows on which."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import Context
from syncd.cli.promote import By, whoami

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.versions.deployments import FineTuned

ENDS = {
    "intended": ", and nobody knows whether the hub made it",
    "failed": ", and the hub refused",
}
Name = Annotated[str, typer.Argument(metavar="ID", help="As `syncd finetune list` has it.")]


def start(
    context: Context,
    ref: Annotated[
        str,
        typer.Argument(metavar="REF", help="entity/project/collection:v3 (or :alias), or oxen://"),
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A file of the version, e.g. train.parquet.")
    ],
    *,
    base_model: Annotated[
        str, typer.Option("--base-model", metavar="MODEL", help="E.g. Qwen/Qwen3-0.6B.")
    ],
    script_type: Annotated[
        str, typer.Option("--script-type", metavar="TYPE", help="As the hub names them.")
    ] = "text_generation",
    params: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME=VALUE",
            help="A training parameter, e.g. epochs=3; JSON, or else text. May be given again.",
        ),
    ] = None,
    by: By = "",
) -> None:
    """Let the hub fine-tune a model on a file, as the version's commit has it.

    Each call begins another fine-tune: it costs money, and is never repeated by itself.
    """
    from syncd import runtime  # noqa: PLC0415
    from syncd.cli.hub import opened  # noqa: PLC0415
    from syncd.deployment import finetune as work  # noqa: PLC0415
    from syncd.promotion import located  # noqa: PLC0415
    from syncd.promotion.journal import Journal, home, known, read  # noqa: PLC0415
    from syncd.versions.deployments import Recipe  # noqa: PLC0415

    recipe = Recipe(
        path=file,
        base_model=base_model,
        script_type=script_type,
        training_params=dict(_param(text) for text in params or ()),
    )
    with (
        opened(context, "trains") as hub,
        runtime.one_promotion(context.config, "finetune"),
        runtime.opened(context.config, context.environ) as parts,
    ):
        data = located.from_ref(parts.source, parts.store, ref)
        entity = data.version.ref.entity
        tuner = work.Tuner(
            journal=Journal(parts.store, home(parts.config, entity), parts.catalog.mirror),
            events=lambda: read(parts.store, known(parts.config, parts.catalog, [entity])),
            store=parts.store,
            hub=hub,
            by=by or whoami(),
        )
        begun = work.start(tuner, data.point, recipe)
    context.output.result({"fine_tune": begun.document()}, partial(_print, begun=begun))


def list_(context: Context) -> None:
    """What syncd began to fine-tune, the latest last. Neither the hub nor W&B is asked."""
    from syncd.cli.deploy import journaled  # noqa: PLC0415
    from syncd.versions.deployments import fine_tuned  # noqa: PLC0415

    _, events = journaled(context)
    found = fine_tuned(events)
    document = {"fine_tunes": [item.document() for item in found]}
    context.output.result(document, partial(_print_all, found=found))


def show(context: Context, name: Name) -> None:
    """How far a fine-tune has come, and its checkpoints: as the hub tells it."""
    from syncd.cli.hub import opened  # noqa: PLC0415

    begun = _named(context, name)
    repo = begun.commit.repo
    with opened(context, "trains") as hub:
        told = {
            "status": hub.fine_tune(repo, name).status,
            "train_status": hub.train_status(repo, name),
            "checkpoints": hub.checkpoints(repo, name),
        }
    document = {"fine_tune": {**begun.document(), **told}}
    context.output.result(document, partial(_print, begun=begun, told=told))


def logs(context: Context, name: Name) -> None:
    """What a fine-tune printed, as the hub tells it."""
    from syncd.cli.hub import opened  # noqa: PLC0415

    begun = _named(context, name)
    with opened(context, "trains") as hub:
        told = hub.logs(begun.commit.repo, name)
    context.output.result(told, partial(_print_told, told=told))


def run(context: Context, name: Name) -> None:
    """Run a fine-tune that was made and does not run."""
    _act(context, name, "run")


def stop(context: Context, name: Name) -> None:
    """Stop a fine-tune; its checkpoints so far stay."""
    _act(context, name, "stop")


def _act(context: Context, name: str, action: str) -> None:
    from syncd.cli.hub import opened  # noqa: PLC0415

    begun = _named(context, name)
    with opened(context, "trains") as hub:
        act = hub.start if action == "run" else hub.stop
        act(begun.commit.repo, name)
        status = hub.fine_tune(begun.commit.repo, name).status
    document = {"fine_tune": {**begun.document(), "status": status}}
    context.output.result(document, partial(_print, begun=begun, told={"status": status}))


def _named(context: Context, name: str) -> FineTuned:
    from syncd.cli.deploy import journaled  # noqa: PLC0415
    from syncd.deployment import finetune as work  # noqa: PLC0415

    _, events = journaled(context)
    return work.named(events, name)


def _param(text: str) -> tuple[str, Any]:
    """A training parameter.

    Raises:
        UsageError: when it is none.
    """
    from syncd.errors import UsageError  # noqa: PLC0415

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--param {text!r} is no NAME=VALUE", hint="For example: --param epochs=3")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _print(console: Console, begun: FineTuned, told: dict[str, Any] | None = None) -> None:
    recipe = begun.recipe
    console.print(f"fine-tune {begun.id or 'without a name'}")
    console.print(f"  model    {recipe.base_model}, {recipe.script_type}")
    console.print(f"  data     {begun.version}  {begun.commit}")
    console.print(f"  file     {recipe.path}")
    console.print(f"  since    {begun.since} by {begun.by}{ENDS.get(begun.state, '')}")
    for key, value in (told or {}).items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        console.print(f"  {key.replace('_', ' ')}: {shown}")


def _print_all(console: Console, found: list[FineTuned]) -> None:
    for begun in found:
        _print(console, begun)
    if not found:
        console.print("syncd has begun no fine-tune; `syncd finetune start REF FILE` does.")


def _print_told(console: Console, told: dict[str, Any]) -> None:
    for key, value in told.items():
        for line in value if isinstance(value, list) else [value]:
            shown = line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)
            console.print(f"{key}: {shown}" if line is value else shown)

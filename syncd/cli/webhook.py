"""`syncd webhook`: W&B tells when something is new."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd import errors
from syncd.cli import Context
from syncd.cli.scope import Targets, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from syncd.refs import Target

Project = Annotated[
    str | None,
    typer.Argument(metavar="PROJECT", help="entity/project; by default the first configured one."),
]


def install(context: Context, named: Targets = None) -> None:
    """Make the automations in W&B that call this server, one a project. Again, it changes nothing.

    They call the webhook that leads to [web] public_url, which only a person can make; where it is
    missing, this says where to click. New versions are seen without it, too, only later.
    """
    from syncd import config  # noqa: PLC0415
    from syncd.clients.wandb import WandbSource  # noqa: PLC0415
    from syncd.clients.wandb_hooks import WandbHooks  # noqa: PLC0415
    from syncd.operations import webhooks  # noqa: PLC0415

    if context.config.web.public_url is None:
        raise errors.ConfigurationError(
            ["web.public_url: is not set, and W&B has to know where to call"]
        )
    key = config.wandb_api_key(context.config, context.environ).get_secret_value()
    base = context.config.wandb.base_url
    hooks, source = WandbHooks(base, key), WandbSource(base, key)
    try:
        projects = _projects(targets(named, context.config), source.projects)
        made = [asdict(i) for i in webhooks.install(hooks, projects, context.config.gateway_url)]
    finally:
        hooks.close()
        source.close()
    context.output.result({"automations": made}, lambda console: _print(console, made))


def test(context: Context, project: Project = None) -> None:  # noqa: PT028 a verb, no test
    """Send a signed request to [web] public_url, and see its hint arrive.

    The project is looked at for news, nothing else happens.
    """
    from syncd import config  # noqa: PLC0415
    from syncd.catalog.catalog import opened  # noqa: PLC0415
    from syncd.operations import webhooks  # noqa: PLC0415

    secret = config.webhook_secret(context.config, context.environ)
    if secret is None:
        raise errors.ConfigurationError(
            ["web.webhook_secret_file: is not set, so every webhook is refused"]
        )
    with opened(context.config) as catalog:
        found = webhooks.probe(
            catalog,
            _one(targets([project] if project else None, context.config)),
            context.config.gateway_url,
            secret.get_secret_value().encode(),
        )
    context.output.result(
        found,
        lambda console: console.print(
            f"answered in {1000 * found['answered_in']:.0f} ms; the hint for {found['project']} "
            f"arrived after {1000 * found['arrived_in']:.0f} ms"
        ),
    )


def _print(console: Console, made: Iterable[dict[str, Any]]) -> None:
    for item in made:
        console.print(f"{item['project']}: {item['outcome']}, calls {item['webhook']}")


def _projects(
    named: Iterable[Target], projects: Callable[[str], Iterable[str]]
) -> Iterator[Target]:
    """The projects that targets stand for, each once."""
    from syncd.refs import Target  # noqa: PLC0415

    found: dict[tuple[str, str], None] = {}
    for target in named:
        names = [target.project] if target.project else projects(target.entity)
        found |= dict.fromkeys((target.entity, name) for name in names)
    return (Target.parse(f"{entity}/{project}") for entity, project in found)


def _one(named: Iterable[Target]) -> Target:
    """The first target that names a project."""
    for target in named:
        if target.project:
            return target
    raise errors.UsageError(
        "no project to send a test for", hint="Name one that is moved: entity/project."
    )

"""`syncd config`: check, show and write the configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from syncd.cli import Context


def check(context: Context) -> None:
    """Report all mistakes of the configuration at once.

    Also tells what is allowed but unwise. Nothing is contacted.
    """
    from syncd import config  # noqa: PLC0415

    loaded = config.read(context.config_file, context.environ)
    warnings = config.warnings(loaded.config, context.environ)
    file = str(loaded.file) if loaded.file else None
    context.output.result(
        {"ok": True, "file": file, "warnings": warnings},
        lambda console: console.print(
            "\n".join([*(f"warning: {text}" for text in warnings), f"{file or 'defaults'}: ok"]),
        ),
    )


def show(context: Context) -> None:
    """Print the values in force and where each comes from. Secrets are never shown."""
    from syncd import config  # noqa: PLC0415

    loaded = config.read(context.config_file, context.environ)
    context.output.result(
        config.document(loaded.config),
        lambda console: console.print(config.show(loaded), end=""),
    )


def example(
    context: Context,
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="The keys as a reference.")] = False,
) -> None:
    """Print a commented configuration file with every key and its default."""
    from syncd import config  # noqa: PLC0415

    text = config.reference() if markdown else config.example()
    context.output.result({"example": text}, lambda console: console.print(text, end=""))

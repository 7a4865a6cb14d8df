"""The program `syncd`: finds the verb, runs it, and turns failures into exit codes.

`verbs.VERBS` lists every verb with the module that holds it; the module is imported when its verb
is called, and `syncd --help` imports none. Failures are turned into text and exit codes in `report`
and nowhere else.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from syncd import errors
from syncd.cli import Context, ExitCode
from syncd.cli.output import STANDARD_OUTPUT
from syncd.cli.verbs import GROUPS, VERBS, Table, Verb
from syncd.footprint import keep_small

EXIT_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (errors.ConfigurationError, ExitCode.USAGE),
    (errors.UsageError, ExitCode.USAGE),
    (typer.TyperException, ExitCode.USAGE),
    (errors.ServiceUnavailableError, ExitCode.UNAVAILABLE),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (typer.Abort, ExitCode.INTERRUPTED),
)  # every other failure: FAILED
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="The configuration file.")]
LogLevel = Annotated[
    str | None, typer.Option("--log-level", help="Tell debug, info, warning or error and above.")
]
LogFormat = Annotated[
    str | None, typer.Option("--log-format", help="Tell it as console, json or auto.")
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after the program's name; by default those of this process.
    """
    if arguments is None:
        keep_small()
    words = list(sys.argv[1:] if arguments is None else arguments)
    context = Context()
    context.output.as_json = "--json" in words
    with _sigterm_interrupts():
        try:
            with build(VERBS).make_context("syncd", words, obj=context) as parsed:
                code = int(parsed.command.invoke(parsed) or ExitCode.DONE)
        except typer.Exit as end:
            return end.exit_code
        except BrokenPipeError:  # whoever read our output has gone, and with them the result
            os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_OUTPUT)
            return ExitCode.FAILED
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 the one place that reports
            return report(error, context)
        if context.leaves:  # Python would wait for them
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        return code


def build(table: Table) -> TyperGroup:
    """The command tree of a table of verbs."""
    panels: dict[str, list[str]] = {}
    shell = typer.Typer(cls=Shell, add_completion=False, rich_markup_mode=None)
    shell.callback(invoke_without_command=True)(_syncd)
    root = get_command(shell)
    assert isinstance(root, Shell)
    for panel, verbs in table.items():
        for verb in verbs:
            group, _, name = verb.name.rpartition(" ")
            parent: TyperGroup = root
            if group:
                inner = root.commands.get(group) or _group(group)
                assert isinstance(inner, TyperGroup)
                root.add_command(inner)
                parent = inner
            parent.add_command(LazyVerb(verb, name))
            panels.setdefault(panel, []).append(group or name)
    root.panels = {panel: list(dict.fromkeys(names)) for panel, names in panels.items()}
    return root


class Shell(TyperGroup):
    """The root command; its help lists the commands by panel."""

    panels: dict[str, list[str]]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per panel."""
        for panel, names in self.panels.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(panel):
                formatter.write_dl(
                    [(name, found.get_short_help_str()) for name, found in commands if found]
                )


class LazyVerb(TyperCommand):
    """Stands for a verb in the lists of commands, and becomes it when it is called."""

    def __init__(self, verb: Verb, name: str) -> None:
        super().__init__(name, help=verb.summary, short_help=verb.summary)
        self.verb = verb

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Import the verb and let it read its arguments."""
        module, _, function = self.verb.target.partition(":")
        shell = typer.Typer(add_completion=False, rich_markup_mode=None)
        shell.command(info_name)(adapt(getattr(importlib.import_module(module), function)))
        return get_command(shell).make_context(info_name, args, parent=parent, **extra)


def adapt(function: Callable[..., ExitCode | None]) -> Callable[..., ExitCode | None]:
    """The verb as typer calls it: with the shared options, behind the guard of standard output."""

    def command(
        ctx: typer.Context,
        *,
        as_json: Json = False,
        config: ConfigFile = None,
        log_level: LogLevel = None,
        log_format: LogFormat = None,
        **arguments: Any,
    ) -> ExitCode | None:
        context: Context = ctx.obj
        context.output.as_json = as_json
        _apply(context, config, log_level, log_format)
        # liboxen tells of each commit in its own way, in the middle of ours.
        with context.output.guarded(loud=context.log_level == "debug"):
            context.start_logging()
            return function(context, **arguments)

    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    first, *shared, _ = inspect.signature(command, eval_str=True).parameters.values()
    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in [*own, *shared]]
    signature = inspect.Signature([first, *keywords])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    command.__doc__ = function.__doc__
    return command


def _syncd(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Move W&B artifact payloads into Oxen repositories and leave references behind."""
    _apply(ctx.obj, config, log_level, log_format)
    if version:
        typer.echo(f"syncd {program_version()}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(ExitCode.USAGE)


def _apply(
    context: Context, config: Path | None, log_level: str | None, log_format: str | None
) -> None:
    """Take over the options that were given, before or behind the verb; the later one holds."""
    context.config_file = config or context.config_file
    context.log_level = log_level or context.log_level
    context.log_format = log_format or context.log_format


def program_version() -> str:
    """The version of the installed program."""
    from importlib import metadata  # noqa: PLC0415 slow, and only --version asks

    try:
        return metadata.version("syncd")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _group(name: str) -> TyperGroup:
    return TyperGroup(name=name, help=GROUPS[name], rich_markup_mode=None)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end a verb as Ctrl-C does: finally-blocks run, progress is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- failures


def report(error: BaseException, context: Context) -> int:
    """Tell the failure to people, and as a document with `--json`; return the exit code."""
    failure = describe(error)
    if context.output.as_json and not context.output.written:
        context.output.line({"error": failure})
    if context.log_level == "debug" and not isinstance(error, typer.TyperException):
        _tell("".join(traceback.format_exception(error)))
    _tell(f"error: {failure['message']}\n")
    for label in ("cause", "hint"):
        if failure[label]:
            _tell(f"{label}: {failure[label]}\n")
    return int(failure["exit_code"])


def _tell(text: str) -> None:
    from syncd import log  # noqa: PLC0415 only failures need it

    sys.stderr.write(log.visible(log.clean(text)))


def describe(error: BaseException) -> dict[str, Any]:
    """What failed, why, what to do next, and the exit code: the `error` of `--json`."""
    from syncd import log  # noqa: PLC0415 only failures need it

    message, hint = _words(error)
    cause = "" if error.__cause__ is None else str(error.__cause__)
    if " ".join(cause.split()) in " ".join(message.split()):  # a message has it on one line
        cause = ""
    return {
        "type": type(error).__name__,
        "message": log.clean(message),
        "problems": [log.clean(problem) for problem in getattr(error, "problems", [])],
        "cause": log.clean(cause),
        "hint": log.clean(hint),
        "exit_code": int(exit_code(error)),
    }


def exit_code(error: BaseException) -> ExitCode:
    """The exit code of a failure."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), ExitCode.FAILED)


def _words(error: BaseException) -> tuple[str, str]:
    """What failed, and the next step."""
    match error:
        case errors.ConfigurationError():
            problems = "".join(f"\n  {problem}" for problem in error.problems)
            return f"the configuration is not usable:{problems}", error.hint
        case errors.SyncdError():
            return str(error), error.hint
        case KeyboardInterrupt() | typer.Abort():
            return "interrupted", "Progress is kept: the same command goes on where it stopped."
        case typer.TyperException():
            parsed = getattr(error, "ctx", None)
            path = parsed.command_path if parsed else "syncd"
            return error.format_message(), f"See {path} --help."
        case _:
            hint = "This should not happen. Run again with --log-level debug for the traceback."
            return f"{type(error).__name__}: {error}", hint

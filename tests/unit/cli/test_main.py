"""The shell around the verbs: finding them, their shared options, and their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from syncd import errors
from syncd.cli import Context, ExitCode, main, verbs

HEAVY = ("wandb", "oxen", "dbos", "sqlalchemy", "starlette", "uvicorn", "pydantic", "ariadne")
HEAVY_TOO = ("rich", "structlog", "httpx", "tenacity", "numpy")


def syncd(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program as people do."""
    return subprocess.run(
        [sys.executable, "-m", "syncd", *words],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ) | (environ or {}),
    )


def failing(error: BaseException) -> verbs.Table:
    """A table of verbs whose `fail` raises the error."""
    _Verbs.error = error
    return {"Test": (verbs.Verb(name="fail", target=f"{__name__}:fail", summary="Fails."),)}


class _Verbs:
    """What the verbs below do and saw; they are found by name, so they take nothing from a test."""

    error: BaseException
    seen: Context
    arguments: tuple[Any, ...]


def fail(_context: Context) -> None:
    """Fail as the test says."""
    raise _Verbs.error


def look(
    context: Context,
    targets: Annotated[list[str] | None, typer.Argument()] = None,
    *,
    limit: Annotated[int, typer.Option("--limit")] = 3,
) -> ExitCode:
    """Look around.

    A second paragraph.
    """
    _Verbs.seen = context
    _Verbs.arguments = (targets, limit)
    print("noise from a library")  # noqa: T201
    os.write(1, b"noise from Rust\n")
    context.output.result({"é": [1]}, lambda console: console.print("one [b]é"))
    return ExitCode.PARTIAL


def late(context: Context) -> None:
    """Fail after the result."""
    context.output.result({"ready": True}, lambda console: console.print("ready"))
    raise errors.NotFoundError("too late")


def stay(context: Context) -> None:
    """Wait for a signal."""
    context.output.line({"ready": True})
    signal.pause()


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the shell import the verbs of this file by its name."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


@pytest.fixture
def _verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put this file's verbs in the place of the program's."""
    names = ("look", "late", "stay")
    rows = [verbs.Verb(name=name, target=f"{__name__}:{name}", summary=name) for name in names]
    rows.append(verbs.Verb(name="config look", target=f"{__name__}:look", summary="Nested."))
    monkeypatch.setattr(main, "VERBS", {"Test": tuple(rows)})


# --- start-up


def test_help_imports_nothing_heavy() -> None:
    """`syncd --help` answers at once: no client, engine, web framework or validator is imported."""
    code = (
        "import sys\nfrom syncd.cli.main import main\ncode = main(['--help'])\n"
        "print(code, *sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    exit_code, *modules = ran.stderr.split()

    assert exit_code == "0"
    assert "backfill" in ran.stdout
    assert "typer" in modules
    assert not set(modules) & {*HEAVY, *HEAVY_TOO}


@pytest.mark.parametrize("words", [["config", "check"], ["gateway"], ["sandbox", "serve"]])
def test_help_of_a_verb_imports_nothing_heavy(words: list[str]) -> None:
    """A verb's module is light too; only typer's own reading of arguments needs pydantic."""
    code = (
        "import sys\nfrom syncd.cli.main import main\n"
        f"code = main([*{words!r}, '--help'])\nprint(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"syncd {' '.join(words)}" in ran.stdout
    assert not set(ran.stderr.split()) & {*HEAVY, *HEAVY_TOO} - {"pydantic"}


@pytest.mark.parametrize(
    "verb", [verb for rows in verbs.VERBS.values() for verb in rows], ids=lambda verb: verb.name
)
def test_every_listed_verb_is_there(verb: verbs.Verb, capfd: pytest.CaptureFixture[str]) -> None:
    """Each row of the table leads to a function that explains itself and takes `--json`."""
    assert main.main([*verb.name.split(), "--help"]) == ExitCode.DONE

    text = capfd.readouterr().out
    assert "--json" in text
    assert "--config" in text
    assert len(text.split("\n\n")[1].strip()) > 0


def test_help_lists_every_verb_once(capfd: pytest.CaptureFixture[str]) -> None:
    """The list shows every verb and group under its panel."""
    main.main(["--help"])
    text = capfd.readouterr().out

    for panel, rows in verbs.VERBS.items():
        assert text.count(f"\n{panel}:\n") == 1
        for verb in rows:
            assert text.count(f"\n  {verb.name.split()[0]} ") == 1


def test_without_words_help_is_told_as_a_mistake(capfd: pytest.CaptureFixture[str]) -> None:
    """`syncd` alone explains itself on standard error and is not a success."""
    assert main.main([]) == ExitCode.USAGE
    captured = capfd.readouterr()
    assert "Usage: syncd" in captured.err
    assert captured.out == ""


def test_the_version_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """`--version` needs no verb."""
    assert main.main(["--version"]) == ExitCode.DONE
    assert capfd.readouterr().out.startswith("syncd ")


# --- verbs and their options


@pytest.mark.usefixtures("_verbs")
def test_a_verb_gets_its_arguments_and_its_answer_is_the_exit_code() -> None:
    """Typer reads the verb's own signature; what it returns ends the program."""
    assert main.main(["look", "e/p", "e/q", "--limit", "7"]) == ExitCode.PARTIAL
    assert _Verbs.arguments == (["e/p", "e/q"], 7)


@pytest.mark.usefixtures("_verbs")
@pytest.mark.parametrize(
    "words",
    [
        ["--config", "a.toml", "--log-level", "debug", "look"],
        ["look", "--config", "a.toml", "--log-level", "debug"],
        ["--config", "b.toml", "look", "--config", "a.toml", "--log-level", "debug"],
        ["--config", "b.toml", "config", "look", "--config", "a.toml", "--log-level", "debug"],
    ],
)
def test_shared_options_stand_before_or_behind_the_verb(words: list[str]) -> None:
    """The option that stands nearest to the verb's end holds."""
    main.main(words)

    assert (_Verbs.seen.config_file, _Verbs.seen.log_level) == (Path("a.toml"), "debug")


@pytest.mark.usefixtures("_verbs")
def test_json_is_exactly_one_document_whatever_libraries_print(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Python's noise goes to standard error, native code's nowhere but when it is looked for."""
    main.main(["look", "--json"])
    captured = capfd.readouterr()

    assert captured.out == '{"é": [1]}\n'
    assert "noise from a library" in captured.err
    assert "noise from Rust" not in captured.err
    main.main(["look", "--json", "--log-level", "debug"])
    captured = capfd.readouterr()
    assert captured.out == '{"é": [1]}\n'
    assert "noise from Rust" in captured.err


@pytest.mark.usefixtures("_verbs")
def test_people_get_the_result_on_standard_output_too(capfd: pytest.CaptureFixture[str]) -> None:
    """Without `--json` the same result is words, and as free of noise."""
    main.main(["look"])

    assert capfd.readouterr().out == "one [b]é\n"


@pytest.mark.usefixtures("_verbs")
def test_standard_output_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    """The guard ends with the verb."""
    main.main(["look", "--json"])
    capfd.readouterr()
    os.write(1, b"mine\n")

    assert capfd.readouterr().out == "mine\n"


def test_a_verbs_configuration_follows_the_options(tmp_path: Path) -> None:
    """`--config` names the file, and an option is over what the file says."""
    file = tmp_path / "c.toml"
    file.write_text('[log]\nlevel = "warning"\nformat = "json"\n')
    context = Context(config_file=file, environ={"HOME": str(tmp_path)}, log_format="console")

    assert context.config is context.config
    assert (context.log_level, context.log_format) == ("warning", "console")


# --- failures


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError(["oxen.url: wrong"]), 2),
        (errors.UsageError("wrong"), 2),
        (typer.BadParameter("wrong"), 2),
        (errors.ServiceUnavailableError("W&B is down"), 5),
        (errors.StoreLockedError("locked"), 1),
        (errors.IntegrityError("torn"), 1),
        (errors.AuthenticationError("refused"), 1),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (typer.Exit(3), 3),
        (EOFError("a fault of ours is not an interruption"), 1),
        (ZeroDivisionError("fault"), 1),
    ],
)
def test_a_failure_ends_with_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts rely on these numbers."""
    monkeypatch.setattr(main, "VERBS", failing(error))

    assert main.main(["fail"]) == code


def test_a_failure_is_told_with_cause_and_next_step(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """People read what, why and what now; standard output stays empty."""
    error = errors.NotFoundError("there is no e/p/ds:v7", hint="Look at the list.")
    error.__cause__ = OSError("404")
    monkeypatch.setattr(main, "VERBS", failing(error))
    main.main(["fail"])

    assert capfd.readouterr() == (
        "",
        "error: there is no e/p/ds:v7\ncause: 404\nhint: Look at the list.\n",
    )


def test_a_cause_that_the_message_has_is_not_told_twice(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A driver's words come in lines, a message's in one."""
    error = errors.StateUnavailableError("no answer: it is away is it running?", hint="Look.")
    error.__cause__ = OSError("it is away\n\tis it running?")
    monkeypatch.setattr(main, "VERBS", failing(error))
    main.main(["fail"])

    assert capfd.readouterr().err == f"error: {error}\nhint: Look.\n"


def test_a_failure_is_a_document_with_json(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A script finds the same on standard output."""
    monkeypatch.setattr(main, "VERBS", failing(errors.ConfigurationError(["a: x", "b: y"])))
    main.main(["fail", "--json"])
    found = json.loads(capfd.readouterr().out)["error"]

    assert found["type"] == "ConfigurationError"
    assert found["problems"] == ["a: x", "b: y"]
    assert found["exit_code"] == ExitCode.USAGE
    assert found["hint"]


@pytest.mark.usefixtures("_verbs")
def test_a_failure_after_the_result_leaves_one_document(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output never holds two documents."""
    assert main.main(["late", "--json"]) == ExitCode.FAILED
    captured = capfd.readouterr()

    assert captured.out == '{"ready": true}\n'
    assert "error: too late" in captured.err


def test_a_fault_of_ours_is_short_and_says_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No traceback in the face of people, unless they ask for it."""
    monkeypatch.setattr(main, "VERBS", failing(ZeroDivisionError("by zero")))
    main.main(["fail"])
    short = capfd.readouterr().err
    main.main(["fail", "--log-level", "debug"])
    long = capfd.readouterr().err

    assert "error: ZeroDivisionError: by zero\nhint: " in short
    assert "--log-level debug" in short
    assert "Traceback" not in short
    assert "Traceback" in long


def test_a_failure_shows_no_credential(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever a library puts into its message."""
    error = errors.AuthenticationError("refused: Authorization: Bearer abcdef123456")
    monkeypatch.setattr(main, "VERBS", failing(error))
    main.main(["fail", "--json", "--log-level", "debug"])
    captured = capfd.readouterr()

    assert "abcdef123456" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pln"], "No such command 'pln'. Did you mean 'plan'?"),
        (["config", "shwo"], "Did you mean 'show'?"),
        (["config"], "Missing command."),
        (["config", "show", "--jsn"], "No such option: --jsn"),
        (["config", "show", "surplus"], "unexpected extra argument"),
        (["--log-level", "loud", "config", "show"], "logging knows no 'loud'"),
    ],
)
def test_a_mistyped_command_says_what_was_meant(
    words: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Usage mistakes end with 2 and lead on."""
    assert main.main(words) == ExitCode.USAGE
    captured = capfd.readouterr()

    assert message in captured.err
    assert captured.out == ""


def test_sigterm_is_an_interruption() -> None:
    """A service manager's stop ends with 130, and says that nothing is lost."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from syncd.cli import main, verbs\n"
        "main.VERBS = {'T': (verbs.Verb(name='stay', target='test_main:stay', summary='s'),)}\n"
        "sys.exit(main.main(['stay', '--json']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == '{"ready": true}\n'
        process.terminate()
        said = process.stderr.read()

    assert process.returncode == ExitCode.INTERRUPTED
    assert "error: interrupted" in said


def test_a_reader_that_leaves_is_not_a_fault() -> None:
    """`syncd config example | head -0` ends quietly."""
    with subprocess.Popen(
        [sys.executable, "-m", "syncd", "config", "example"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        said = process.stderr.read()

    assert said == ""
    assert process.returncode == ExitCode.FAILED


def test_the_module_is_the_program() -> None:
    """`python -m syncd` works and hands on the exit code."""
    ran = syncd("config", "show", "--json", environ={"SYNCD_OXEN__URL": "ftp://x"})

    assert ran.returncode == ExitCode.USAGE
    assert json.loads(ran.stdout)["error"]["problems"][0].startswith("oxen.url")

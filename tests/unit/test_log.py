"""The log: a closed vocabulary, lines that machines can read, and no secrets."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import structlog

from syncd import errors, log


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged, as documents; standard output stays empty."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_an_event_is_one_json_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """With the time in UTC."""
    log.get(artifact="e/p/ds:v0").info(log.Stage.TRANSFER.done, bytes=12)
    [line] = lines(capsys)

    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "transfer.done",
        "level": "info",
        "artifact": "e/p/ds:v0",
        "bytes": 12,
    }


def test_people_read_words(capsys: pytest.CaptureFixture[str]) -> None:
    """The console format, on standard error too."""
    log.configure("info", "console")
    log.get().info(log.Stage.PLAN.started, artifact="e/p/ds:v0")

    captured = capsys.readouterr()
    assert "plan.started" in captured.err
    assert "artifact=e/p/ds:v0" in captured.err
    assert captured.out == ""


def test_without_a_terminal_the_automatic_format_is_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A service's log is for machines."""
    log.configure("info", "auto")
    log.get().info(log.Stage.PLAN.started)

    assert [line["event"] for line in lines(capsys)] == ["plan.started"]


def test_an_event_outside_the_vocabulary_is_refused_here() -> None:
    """Every test would fail that causes one."""
    with pytest.raises(ValueError, match=r"'transfer\.finished' is not in the vocabulary"):
        log.get().info("transfer.finished")


def test_an_event_outside_the_vocabulary_does_not_stop_production(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A slip in a log line must not stop a migration."""
    log.configure("info", "json")
    log.get().info("transfer.finished")

    assert [line["event"] for line in lines(capsys)] == ["transfer.finished"]


def test_every_stage_has_every_outcome() -> None:
    """The vocabulary is complete, and nothing else is in it."""
    outcomes = {"started", "done", "skipped", "failed", "retried"}

    for stage in log.Stage:
        assert {f"{stage}.{outcome}" for outcome in outcomes} <= log.VOCABULARY
    assert len(log.Stage) * len(outcomes) + len(log.Life) == len(log.VOCABULARY)


@pytest.mark.parametrize(
    ("level", "told"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)]
)
def test_less_severe_events_are_not_told(
    level: str, told: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each level keeps what is below it silent."""
    log.configure(level, "json", strict=True)
    logger = log.get()
    logger.debug(log.Stage.PLAN.started)
    logger.info(log.Stage.PLAN.done)
    logger.warning(log.Stage.PLAN.retried)

    assert told == len(lines(capsys))


@pytest.mark.parametrize("words", [("loud", "json"), ("info", "xml")])
def test_an_unknown_level_or_format_is_a_usage_error(words: tuple[str, str]) -> None:
    """These words come from the command line."""
    with pytest.raises(errors.UsageError, match="logging knows no"):
        log.configure(*words)


def test_keys_bound_around_a_block_are_in_its_events_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever logs inside need not know the artifact."""
    with log.about(log.Stage.COMMIT, artifact="e/p/ds:v1"):
        log.get().info(log.Stage.COMMIT.started)
    log.get().info(log.Stage.COMMIT.done)
    inside, outside = lines(capsys)

    assert (inside["stage"], inside["artifact"]) == ("commit", "e/p/ds:v1")
    assert not {"stage", "artifact"} & set(outside)


@pytest.mark.parametrize("name", ["dbos", "uvicorn.error", "httpx", "some.library"])
def test_libraries_are_heard_from_warning_up(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In our form, with their name."""
    log.configure("info", "json")
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("disk %s", "full")
    [line] = lines(capsys)

    assert ("disk full", "warning", name) == (line["event"], line["level"], line["logger"])


def test_a_library_that_says_the_same_four_times_a_second_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Hours of a full disk must not fill it with lines; what is new is told."""
    log.configure("info", "json")
    for number in range(4):
        logging.getLogger("dbos").warning("the disk is full\n[parameters: %d]", number)
    logging.getLogger("dbos").warning("the disk is slow")
    for cause in ("one", "one", "another"):
        logging.getLogger("dbos").error("it ended", exc_info=OSError(cause))
    told = [line["event"].partition("\n")[0] for line in lines(capsys)]

    assert told == ["the disk is full", "the disk is slow", "it ended", "it ended"]


def test_setting_up_twice_does_not_tell_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """The second set-up replaces the first."""
    log.configure("info", "json")
    log.configure("info", "json")
    logging.getLogger("dbos").warning("once")

    assert len(lines(capsys)) == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("the key is s3cr3t-value!", "the key is [redacted]!"),
        ("Authorization: Bearer abc123def456", "Authorization: Bearer [redacted]"),
        ("{'authorization': 'Basic dXNlcjpwYXNzd29yZA=='}", "Basic [redacted]"),
        ("https://bucket/x?X-Amz-Signature=abcdef&y=1", "X-Amz-Signature=[redacted]&y=1"),
        ("postgresql://syncd:hunter22@db/syncd", "postgresql://syncd:[redacted]@db/syncd"),
        ("basic authentication failed", "basic authentication failed"),
        ("sent bearer abc123def456 to it", "sent bearer [redacted] to it"),
        ("Basic dXNlcjpwYXNzd29yZA==", "Basic [redacted]"),
        ("AUTHORIZATION=abcdefgh", "AUTHORIZATION=[redacted]"),
        ("Proxy-Authorization: abcdefgh", "Proxy-Authorization: [redacted]"),
        ("x?X-Goog-Signature=ab&y=1", "X-Goog-Signature=[redacted]&y=1"),
        ("x?x-amz-security-token=ab&y=1", "x-amz-security-token=[redacted]&y=1"),
        ("x?Signature=ab&y=1", "Signature=[redacted]&y=1"),  # Google's older ones
        ("x?sv=1&sig=ab%2F&y=1", "sig=[redacted]&y=1"),  # Azure's
        ("x?token=ab&y=1", "token=[redacted]&y=1"),
        ("the keys are longer-s3cr3t-value!", "the keys are [redacted]!"),
        ("six123", "[redacted]"),
    ],
)
def test_no_event_holds_a_credential(
    text: str, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known secrets, and what looks like one, at any depth; ordinary words stay."""
    for secret in ("s3cr3t-value", "longer-s3cr3t-value", "six123"):
        log.redact(secret)
    told = {"error": text, "nested": {"deep": [text]}, "cause": ValueError(text)}
    log.get().warning(log.Stage.TRANSFER.failed, **told)
    [line] = lines(capsys)

    assert kept in line["error"]
    assert kept in line["nested"]["deep"][0]
    assert kept in line["cause"]


def test_no_library_tells_a_signed_url(capsys: pytest.CaptureFixture[str]) -> None:
    """At debug urllib3 tells each with its query, and so with a signature of whatever name."""
    log.configure("debug", "json")
    logging.getLogger("urllib3.connectionpool").debug('"GET /x?AWSAccessKeyId=1&y=2 HTTP/1.1"')
    logging.getLogger("urllib3.connectionpool").warning("retrying")

    assert [line["event"] for line in lines(capsys)] == ["retrying"]


def test_a_handler_that_a_library_brought_tells_nothing_beside_ours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It would tell secrets."""
    logging.getLogger("wandb").addHandler(logging.StreamHandler())
    log.redact("s3cr3t-value")
    log.configure("info", "json")
    logging.getLogger("wandb").warning("sent s3cr3t-value")

    assert [line["event"] for line in lines(capsys)] == ["sent [redacted]"]


def test_text_of_strangers_does_nothing_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A name may hold whatever moves a cursor or sets a title."""
    log.configure("info", "console")
    log.get().info(log.Stage.PLAN.started, artifact="e/p/\x1b]0;owned\x07ds:v0")
    said = capsys.readouterr().err

    assert "\x1b]0" not in said
    assert "\x07" not in said
    assert "owned" in said


def test_keys_that_name_a_credential_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever their value looks like."""
    names = ("Authorization", "Proxy-Authorization", "api_key", "token", "password")
    headers = {**dict.fromkeys(names, "anything"), "Accept": "*/*"}
    log.get().info(log.Stage.PLAN.done, headers=headers, token="anything")
    [line] = lines(capsys)

    assert line["headers"] == {**dict.fromkeys(names, "[redacted]"), "Accept": "*/*"}
    assert line["token"] == "[redacted]"


def test_a_traceback_and_a_library_hold_no_credential(capsys: pytest.CaptureFixture[str]) -> None:
    """Exception texts are cleaned like everything else."""
    log.redact("s3cr3t-value")
    try:
        int("s3cr3t-value")
    except ValueError:
        log.get().exception(log.Stage.PLAN.failed)
        logging.getLogger("httpx").exception("sent s3cr3t-value")

    captured = capsys.readouterr().err
    assert captured.count("ValueError: invalid literal for int() with base 10: '[redacted]'") == 2
    assert "s3cr3t" not in captured


def test_a_word_too_short_to_be_a_secret_is_not_blotted_out() -> None:
    """A one-letter secret would make every line unreadable."""
    log.redact("a")

    assert log.clean("a plan") == "a plan"


def test_a_script_keeps_its_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """Where nobody has set up logging, warnings go to standard error, without secrets."""
    structlog.reset_defaults()
    log.redact("a-very-secret-token")
    log.embed()
    log.get().warning("call.retried", error="refused a-very-secret-token")
    log.get().info("call.retried")
    said = capfd.readouterr()

    assert said.out == ""
    assert said.err.count("call.retried") == 1
    assert "a-very-secret-token" not in said.err


def test_a_program_that_logs_in_its_own_way_goes_on_so(capfd: pytest.CaptureFixture[str]) -> None:
    """What is set up is not replaced."""
    log.configure("info", "json")
    log.embed()
    log.get().info("call.retried")

    assert "call.retried" in capfd.readouterr().err

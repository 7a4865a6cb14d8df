"""Secrets: where they are found, and that they are shown nowhere."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from syncd import config, errors, log

NETRC = "machine api.wandb.ai\n  login user\n  password from-netrc\n"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A user with a key in every place."""
    (tmp_path / ".netrc").write_text(NETRC)
    (tmp_path / "credentials").mkdir()
    for name in ("wandb_api_key", "oxen_token", "webhook_secret", "read_token"):
        (tmp_path / "credentials" / name).write_text(f"{name}-from-systemd\n")
    (tmp_path / "file").write_text("from-file\n")
    return {
        "HOME": str(tmp_path),
        "SYNCD_WANDB__API_KEY_FILE": str(tmp_path / "file"),
        "SYNCD_OXEN__TOKEN_FILE": str(tmp_path / "file"),
        "SYNCD_WEB__WEBHOOK_SECRET_FILE": str(tmp_path / "file"),
        "WANDB_API_KEY": "from-environment",
        "OXEN_TOKEN": "from-environment",
        "SYNCD_WEBHOOK_SECRET": "from-environment",
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
    }


def test_the_wandb_key_comes_from_the_first_of_four_places(environ: dict[str, str]) -> None:
    """File, variable, systemd credential, ~/.netrc."""
    found = []
    for gone in (
        "SYNCD_WANDB__API_KEY_FILE",
        "WANDB_API_KEY",
        "CREDENTIALS_DIRECTORY",
        "nothing more",
    ):
        key = config.wandb_api_key(config.load(None, environ), environ)
        found.append(key.get_secret_value())
        environ.pop(gone, None)

    assert found == ["from-file", "from-environment", "wandb_api_key-from-systemd", "from-netrc"]


@pytest.mark.parametrize(
    ("function", "key", "variable", "credential"),
    [
        (config.oxen_token, "SYNCD_OXEN__TOKEN_FILE", "OXEN_TOKEN", "oxen_token"),
        (
            config.webhook_secret,
            "SYNCD_WEB__WEBHOOK_SECRET_FILE",
            "SYNCD_WEBHOOK_SECRET",
            "webhook_secret",
        ),
    ],
)
def test_other_secrets_come_from_the_first_of_three_places_or_are_none(
    function: Callable[[config.Config, Mapping[str, str]], SecretStr | None],
    key: str,
    variable: str,
    credential: str,
    environ: dict[str, str],
) -> None:
    """File, variable, systemd credential; all of them are optional."""
    found = []
    for gone in (key, variable, "CREDENTIALS_DIRECTORY"):
        secret = function(config.load(None, environ), environ)
        found.append(secret and secret.get_secret_value())
        environ.pop(gone)

    assert ["from-file", "from-environment", f"{credential}-from-systemd"] == found
    assert function(config.load(None, environ), environ) is None


def test_without_a_wandb_key_the_message_says_what_to_do(tmp_path: Path) -> None:
    """Nothing can be done without the key, so this is a mistake of the configuration."""
    environ = {"HOME": str(tmp_path)}

    with pytest.raises(errors.ConfigurationError, match="set WANDB_API_KEY, or run `wandb login`"):
        config.wandb_api_key(config.load(None, environ), environ)


def test_the_netrc_entry_is_the_servers_own(tmp_path: Path) -> None:
    """The key of one server is never sent to another."""
    (tmp_path / ".netrc").write_text(NETRC)
    environ = {"HOME": str(tmp_path), "SYNCD_WANDB__BASE_URL": "https://wandb.internal"}

    with pytest.raises(errors.ConfigurationError, match=r"no API key for https://wandb\.internal"):
        config.wandb_api_key(config.load(None, environ), environ)


def test_a_broken_netrc_is_told_by_line_without_its_content(tmp_path: Path) -> None:
    """The parser quotes the line; we do not."""
    (tmp_path / ".netrc").write_text("machine x\n  pass word hunter22\n")
    environ = {"HOME": str(tmp_path)}

    with pytest.raises(
        errors.ConfigurationError, match=r"\.netrc: is not a netrc file: line 2"
    ) as it:
        config.wandb_api_key(config.load(None, environ), environ)
    assert "hunter22" not in "".join(traceback.format_exception(it.value))


def test_read_tokens_stand_one_on_a_line(tmp_path: Path) -> None:
    """Blank lines and margins do not count."""
    (tmp_path / "tokens").write_text("first-token\n\n  second-token\n")
    environ = {"HOME": str(tmp_path), "SYNCD_WEB__READ_TOKEN_FILE": str(tmp_path / "tokens")}
    found = config.gateway_tokens(config.load(None, environ), environ)

    assert [token.get_secret_value() for token in found] == ["first-token", "second-token"]


def test_an_operators_token_reads_too_and_no_token_is_ever_printed(tmp_path: Path) -> None:
    """Each is a secret of its own, though they stand in one file."""
    environ = {
        "HOME": str(tmp_path),
        "SYNCD_READ_TOKENS": "first-of-readers\nsecond-of-readers",
        "SYNCD_OPERATOR_TOKENS": "first-of-operators",
    }
    loaded = config.load(None, environ)
    found = [token.get_secret_value() for token in config.gateway_tokens(loaded, environ)]
    changing = [token.get_secret_value() for token in config.operator_tokens(loaded, environ)]

    assert found == ["first-of-readers", "second-of-readers", "first-of-operators"]
    assert changing == ["first-of-operators"]
    for token in found:
        assert token not in log.clean(f"somebody sent {token} twice: {token}")


def test_the_netrc_file_may_lie_elsewhere(tmp_path: Path) -> None:
    """As curl, git and wandb take it."""
    (tmp_path / "elsewhere").write_text(NETRC)
    environ = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "elsewhere")}

    key = config.wandb_api_key(config.load(None, environ), environ)
    assert key.get_secret_value() == "from-netrc"


def test_a_group_that_may_read_a_secret_is_told_of(tmp_path: Path) -> None:
    """As everybody else is."""
    keys = ("SYNCD_WEB__OPERATOR_TOKEN_FILE", "SYNCD_WEB__READ_TOKEN_FILE")
    environ = {"HOME": str(tmp_path)} | {key: str(tmp_path / key) for key in keys}
    for key in keys:
        (tmp_path / key).write_text("a-token-for-somebody")
        (tmp_path / key).chmod(0o640)
    said = [
        text.partition(":")[0]
        for text in config.warnings(config.load(None, environ), environ)
        if "chmod 600" in text
    ]

    assert said == ["web.read_token_file", "web.operator_token_file"]


def test_without_read_tokens_there_are_none(tmp_path: Path) -> None:
    """Which leaves the gateway open."""
    environ = {"HOME": str(tmp_path)}

    assert config.gateway_tokens(config.load(None, environ), environ) == ()


def test_a_secret_is_in_no_text_about_the_configuration(environ: dict[str, str]) -> None:
    """Not shown, not in a repr, not in the log."""
    loaded = config.read(None, environ)
    key = config.wandb_api_key(loaded.config, environ)
    texts = (config.show(loaded), repr(loaded), str(key), repr(key), log.clean("key=from-file!"))

    assert not [text for text in texts if "from-file" in text]


def test_what_is_unwise_is_told_and_allowed(tmp_path: Path) -> None:
    """Each warning begins with the key to change."""
    secret = tmp_path / "key"
    secret.write_text("0123456789")
    secret.chmod(0o644)
    environ = {
        "HOME": str(tmp_path),
        "SYNCD_WANDB__API_KEY_FILE": str(secret),
        "SYNCD_WEB__BIND": "0.0.0.0:8337",
        "SYNCD_OXEN__REPO": "{project}",
        "SYNCD_RECLAIM__POLICY": "delete",
        "SYNCD_RECLAIM__GRACE": "1h",
        "SYNCD_OXEN__URL": "https://hub.oxen.ai",
        "OXEN_TOKEN": "a-token-of-the-hub",
    }
    found = config.warnings(config.load(None, environ), environ)

    assert {
        "wandb.api_key_file",
        "wandb.projects",
        "web.read_token_file",
        "references.base_url",
        "oxen.path",
        "reclaim.grace",
    } == {text.partition(":")[0] for text in found}


def test_a_careful_configuration_has_no_warnings(tmp_path: Path) -> None:
    """Warnings mean something."""
    secret = tmp_path / "key"
    secret.write_text("0123456789")
    secret.chmod(0o600)
    environ = {
        "HOME": str(tmp_path),
        "SYNCD_WANDB__API_KEY_FILE": str(secret),
        "SYNCD_WANDB__PROJECTS": "e/p",
        "SYNCD_WEB__BIND": "0.0.0.0:8337",
        "SYNCD_WEB__READ_TOKEN_FILE": str(secret),
        "SYNCD_OXEN__URL": "https://hub.oxen.ai",
        "SYNCD_REFERENCES__BASE_URL": "https://data.example.com",
        "OXEN_TOKEN": "a-token-of-the-hub",
    }

    assert config.warnings(config.load(None, environ), environ) == []


def test_an_empty_token_file_does_not_open_the_gateway_to_everybody(tmp_path: Path) -> None:
    """A file that was truncated by mistake must not turn a private gateway into a public one."""
    file = tmp_path / "tokens"
    file.write_text("\n  \n")
    environ = {"HOME": str(tmp_path), "SYNCD_WEB__READ_TOKEN_FILE": str(file)}

    with pytest.raises(errors.ConfigurationError, match="read_token_file"):
        config.gateway_tokens(config.load(None, environ), environ)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_a_variable_without_a_token_does_not_open_the_gateway_to_everybody(text: str) -> None:
    """A compose file that names one which nobody has set."""
    environ = {"HOME": "/nowhere", "SYNCD_READ_TOKENS": text}
    with pytest.raises(errors.ConfigurationError, match="holds no token"):
        config.gateway_tokens(config.load(None, environ), environ)


def test_comments_and_a_mark_of_the_byte_order_are_no_tokens(tmp_path: Path) -> None:
    """People keep notes in such files, and some editors begin them so."""
    file = tmp_path / "tokens"
    file.write_bytes("\ufefffirst-token\n# team B\nsecond-token\n".encode())
    environ = {"HOME": str(tmp_path), "SYNCD_WEB__READ_TOKEN_FILE": str(file)}
    found = config.gateway_tokens(config.load(None, environ), environ)
    assert [token.get_secret_value() for token in found] == ["first-token", "second-token"]
    file.write_text("t\u00f6ken", encoding="utf-8")
    with pytest.raises(errors.ConfigurationError, match="no header carries"):
        config.gateway_tokens(config.load(None, environ), environ)

"""Secrets: read when they are needed, from files, the environment, systemd or ~/.netrc.

They are never part of `Config`. Whatever is read here is also registered with the log, which then
cannot print it.
"""

from __future__ import annotations

import netrc
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from syncd import errors, log
from syncd.config.model import Config, home

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"  # set by systemd's LoadCredential=
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def wandb_api_key(config: Config, environ: Mapping[str, str]) -> SecretStr:
    """The W&B API key: wandb.api_key_file, WANDB_API_KEY, the credential, ~/.netrc.

    Raises:
        syncd.errors.ConfigurationError: when there is none.
    """
    found = _first(config.wandb.api_key_file, "WANDB_API_KEY", "wandb_api_key", environ)
    found = found or _from_netrc(config.wandb.base_url, environ)
    if found is None:
        problem = f"wandb.api_key_file: there is no API key for {config.wandb.base_url}"
        raise errors.ConfigurationError(
            [f"{problem}: name a file, set WANDB_API_KEY, or run `wandb login`"]
        )
    return found


def oxen_token(config: Config, environ: Mapping[str, str]) -> SecretStr | None:
    """The Oxen token: oxen.token_file, OXEN_TOKEN, the credential; None where none is known."""
    return _first(config.oxen.token_file, "OXEN_TOKEN", "oxen_token", environ)


def webhook_secret(config: Config, environ: Mapping[str, str]) -> SecretStr | None:
    """What W&B signs webhooks with, or None: then none is accepted."""
    file = config.web.webhook_secret_file
    return _first(file, "SYNCD_WEBHOOK_SECRET", "webhook_secret", environ)


def gateway_tokens(config: Config, environ: Mapping[str, str]) -> tuple[SecretStr, ...]:
    """The tokens that may read moved files, operators' included; none means that everyone may.

    Raises:
        ConfigurationError: when a place for tokens is named but empty; that must not open the door.
    """
    readers = _tokens("read_token", config.web.read_token_file, environ)
    return (*readers, *operator_tokens(config, environ))


def operator_tokens(config: Config, environ: Mapping[str, str]) -> tuple[SecretStr, ...]:
    """The tokens that may change something; none means that whoever may look may.

    Raises:
        ConfigurationError: see `gateway_tokens`.
    """
    return _tokens("operator_token", config.web.operator_token_file, environ)


def _tokens(
    credential: str, file: Path | None, environ: Mapping[str, str]
) -> tuple[SecretStr, ...]:
    """The tokens of a file, one on a line, or of the places that stand in for it."""
    key = f"{credential}_file"
    variable = f"SYNCD_{credential.upper()}S"
    found = _first(file, variable, credential, environ)
    if found is None and variable not in environ:
        return ()
    lines = [line.strip() for line in (found.get_secret_value() if found else "").splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise errors.ConfigurationError([f"web.{key}: holds no token, and so lets nobody in"])
    if not all(token.isascii() and token.isprintable() for token in tokens):
        raise errors.ConfigurationError(
            [f"web.{key}: holds a token with characters that no header carries"]
        )
    return tuple(map(_secret, tokens))


def warnings(config: Config, environ: Mapping[str, str]) -> list[str]:
    """What is allowed but unwise, one sentence each beginning with its key path."""
    found = [*_open_files(config)]
    if not config.wandb.projects:
        found.append("wandb.projects: names nothing, so every command needs a target")
    host, _ = config.web.address
    if host not in {"127.0.0.1", "localhost", "::1"} and not gateway_tokens(config, environ):
        found.append("web.read_token_file: is not set and web.bind is open: everyone may read")
    bare = config.references.base_url.rstrip("/") == config.oxen.url.rstrip("/")
    if bare and oxen_token(config, environ) is not None:
        found.append(
            "references.base_url: is the Oxen server, to which a wandb client sends no token; "
            "name a gateway if its repositories are private"
        )
    if "{collection}" not in config.oxen.repo + config.oxen.path:
        found.append("oxen.path: collections share a repository and a folder; use {collection}")
    several = len(config.wandb.projects) > 1 or any("*" in name for name in config.wandb.projects)
    if several and "{project}" not in config.oxen.repo + config.oxen.path:
        found.append("oxen.repo: projects share repositories and folders; use {project}")
    if config.reclaim.policy != "none" and config.reclaim.grace.days < 1:
        found.append("reclaim.grace: is under a day: there is little time to notice a mistake")
    return found


def _open_files(config: Config) -> Iterable[str]:
    files = {
        "wandb.api_key_file": config.wandb.api_key_file,
        "oxen.token_file": config.oxen.token_file,
        "web.webhook_secret_file": config.web.webhook_secret_file,
        "web.read_token_file": config.web.read_token_file,
        "web.operator_token_file": config.web.operator_token_file,
    }
    for key, file in files.items():
        if file is not None and file.stat().st_mode & _OTHERS:
            yield f"{key}: other users of this machine may read {file}; chmod 600 it"


def _first(
    file: Path | None, variable: str, credential: str, environ: Mapping[str, str]
) -> SecretStr | None:
    """The first place that holds the secret, in the order the configuration names them."""
    if file is not None:
        return _read(file)
    if value := environ.get(variable, "").strip():
        return _secret(value)
    directory = environ.get(CREDENTIALS_DIRECTORY)
    if directory and (Path(directory) / credential).is_file():
        return _read(Path(directory) / credential)
    return None


def _read(file: Path) -> SecretStr:
    try:
        return _secret(file.read_text(encoding="utf-8-sig").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise errors.ConfigurationError([f"{file}: cannot be read: {reason}"]) from None


def _from_netrc(url: str, environ: Mapping[str, str]) -> SecretStr | None:
    """The password that `wandb login` wrote for the server's host."""
    file = Path(environ.get("NETRC") or home(environ) / ".netrc")
    if not file.is_file():
        return None
    try:
        entry = netrc.netrc(str(file)).authenticators(urlsplit(url).hostname or "")
    except netrc.NetrcParseError as error:
        problem = f"{file}: is not a netrc file: line {error.lineno}"
        raise errors.ConfigurationError([problem]) from None  # the cause may quote a password
    except OSError as error:
        raise errors.ConfigurationError([f"{file}: cannot be read: {error.strerror}"]) from error
    return _secret(entry[2]) if entry and entry[2] else None


def _secret(text: str) -> SecretStr:
    log.redact(text)
    return SecretStr(text)

"""Where the gateway finds moved files, and who may read them: what `[oxen] url` names, opened without the rest of syncd."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from syncd.clients.origin_folder import FolderOrigin
from syncd.clients.origin_server import ServerOrigin
from syncd.clients.origins import Origin
from syncd.clients.payload import Payload
from syncd.config import Config, gateway_tokens, oxen_token
from syncd.errors import ConfigurationError


def configured(config: Config, environ: Mapping[str, str]) -> Origin:
    """The origin over the folder or the server that holds the repositories.

    Raises:
        ConfigurationError: when the server's URL cannot be used, or its token cannot be read.
    """
    if config.oxen.directory is not None:
        return FolderOrigin(config.oxen.directory)
    token = oxen_token(config, environ)
    return ServerOrigin(config.oxen.url, token.get_secret_value() if token else "", Payload())


def readers(config: Config, environ: Mapping[str, str]) -> frozenset[str] | None:
    """The tokens that may read; None when everybody may.

    Raises:
        ConfigurationError: when everybody could read what the Oxen token opens.
    """
    tokens = {token.get_secret_value() for token in gateway_tokens(config, environ)}
    if not tokens and oxen_token(config, environ):
        problem = (
            "web.read_token_file: is not set, so everyone could read what the Oxen token opens"
        )
        raise ConfigurationError([f"{problem}; name one, or run without the Oxen token"])
    return frozenset(tokens) or None


def hosts(config: Config) -> frozenset[str]:
    """The names that the gateway is known by: by the configuration, and this machine's own."""
    urls = (config.references.base_url, config.web.public_url or "", f"//{config.web.bind}")
    found = {urlsplit(url).hostname or "" for url in urls} | {socket.gethostname().lower()}
    return frozenset(found - {""})

"""Where the gateway finds moved files: what `[oxen] url` names, opened without the rest of syncd."""

from __future__ import annotations

from collections.abc import Mapping

from syncd.clients.origin_folder import FolderOrigin
from syncd.clients.origin_server import ServerOrigin
from syncd.clients.origins import Origin
from syncd.clients.payload import Payload
from syncd.config import Config, oxen_token


def configured(config: Config, environ: Mapping[str, str]) -> Origin:
    """The origin over the folder or the server that holds the repositories.

    Raises:
        ConfigurationError: when the server's URL cannot be used, or its token cannot be read.
    """
    if config.oxen.directory is not None:
        return FolderOrigin(config.oxen.directory)
    token = oxen_token(config, environ)
    return ServerOrigin(config.oxen.url, token.get_secret_value() if token else "", Payload())

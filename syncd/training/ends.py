"""Where the two ends are, for a script: the same configuration and secrets as syncd's own.

Only a `config.toml` in the folder that the script runs in is not read: it may be the script's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from syncd import log
from syncd.clients.payload import Payload
from syncd.clients.protocols import VersionStore
from syncd.clients.wandb import WandbSource
from syncd.config import Config, load, wandb_api_key
from syncd.config.model import default_file
from syncd.config.sources import FILE_VARIABLE
from syncd.errors import SyncdError

P = ParamSpec("P")
R = TypeVar("R")


def configuration(environ: Mapping[str, str]) -> Config:
    """The configuration: the file that SYNCD_CONFIG names, or the user's own, and the environment.

    Raises:
        ConfigurationError: with every mistake found.
    """
    named = environ.get(FILE_VARIABLE)
    file = Path(named).expanduser() if named else default_file(environ)
    return load(file if named or file.is_file() else Path(os.devnull), environ)


@contextmanager
def reading(config: Config, environ: Mapping[str, str]) -> Iterator[VersionStore]:
    """Oxen; a folder of repositories to read from alone, for writing would lock it.

    Raises:
        ConfigurationError: when the server's URL cannot be used, or its token cannot be read.
    """
    root = config.oxen.directory
    if root is not None:
        from syncd.clients.oxen_reading import EmbeddedReader  # noqa: PLC0415 as below

        yield EmbeddedReader(root)
        return
    with _server(config, environ) as store:
        yield store


@contextmanager
def _server(config: Config, environ: Mapping[str, str]) -> Iterator[VersionStore]:
    from syncd.clients.oxen_server import ServerVersionStore  # noqa: PLC0415 only one is needed

    http = Payload()
    try:
        yield ServerVersionStore.configured(config, environ, http)
    finally:
        http.close()


@contextmanager
def wandb_source(
    config: Config, environ: Mapping[str, str], base_url: str
) -> Iterator[WandbSource]:
    """W&B as syncd asks it, with the key that the wandb client uses.

    Args:
        config: the configuration.
        environ: the environment variables.
        base_url: where the run is logged.

    Raises:
        ConfigurationError: when no API key is to be had.
    """
    there = config.model_copy(
        update={"wandb": config.wandb.model_copy(update={"base_url": base_url})}
    )
    key = wandb_api_key(there, environ).get_secret_value()
    log.redact(key)
    source = WandbSource(base_url, key)
    try:
        yield source
    finally:
        source.close()


def telling(function: Callable[P, R]) -> Callable[P, R]:
    """Let what a function raises show its hint in a traceback, which is all that a script prints.

    What it logs goes to standard error: standard output is the script's.
    """

    @wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        log.embed()
        try:
            return function(*args, **kwargs)
        except SyncdError as error:
            note = f"hint: {error.hint}"
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            raise

    return told

"""The command line: what every verb is given, and what every verb may answer.

A verb is one module with one function. Its first argument is a `Context`; the rest are typer's.
Whatever is slow to import is imported inside the function, so that `syncd --help` is quick.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from syncd.cli.output import Output

if TYPE_CHECKING:
    from syncd.config import Config


class ExitCode(IntEnum):
    """What a command ends with; scripts rely on the numbers."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    UNAVAILABLE = 5
    INTERRUPTED = 130


@dataclass(slots=True, kw_only=True)
class Context:
    """What the shell hands to a verb.

    Args:
        output: where the result goes; see `Output.result`.
        config_file: from `--config`, or None for the usual places.
        log_level: from `--log-level`; over what the configuration says.
        log_format: from `--log-format`, likewise.
        environ: the environment variables.
        given_log_level: what `--log-level` said, once the configuration was read.
        given_log_format: what `--log-format` said, likewise.
        leaves: whether threads are at work that nobody is to wait for when the verb has ended.
    """

    output: Output = field(default_factory=Output)
    config_file: Path | None = None
    log_level: str | None = None
    log_format: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    given_log_level: str | None = None
    given_log_format: str | None = None
    leaves: bool = False
    _config: Config | None = None

    @property
    def config(self) -> Config:
        """The configuration, read at the first use; logging follows it from then on.

        Raises:
            syncd.errors.ConfigurationError: with every mistake found.
        """
        if self._config is None:
            from syncd import config  # noqa: PLC0415 pydantic is slow to import

            self._config = config.load(self.config_file, self.environ)
            self.given_log_level, self.given_log_format = self.log_level, self.log_format
            self.log_level = self.log_level or self._config.log.level
            self.log_format = self.log_format or self._config.log.format
            self.start_logging()
        return self._config

    def start_logging(self) -> None:
        """Set up logging by what is known so far: the options, then the configuration.

        Raises:
            syncd.errors.UsageError: for a level or format that is none.
        """
        from syncd import log  # noqa: PLC0415 structlog is not needed for --help

        log.configure(self.log_level or "info", self.log_format or "auto")


__all__ = ["Context", "ExitCode", "Output"]

"""Results to standard output, text for people to standard error, and nothing else on the former.

oxenai prints from Rust and wandb prints from Python, both to standard output. While a verb runs,
file descriptor 1 therefore leads to standard error, and only `Output` holds the real one.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2
WIDE = 400  # columns of a table that no terminal shows


class Output:
    """The one result of a command.

    Args:
        as_json: whether `--json` was given.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.written = False
        self._descriptor = STANDARD_OUTPUT

    @contextlib.contextmanager
    def guarded(self, *, loud: bool = True) -> Iterator[None]:
        """Keep standard output for the result: what else is printed there goes to standard error.

        Args:
            loud: whether what liboxen prints and draws by itself is shown there; else it goes nowhere.
        """
        sys.stdout.flush()
        self._descriptor = os.dup(STANDARD_OUTPUT)
        if loud:
            os.dup2(STANDARD_ERROR, STANDARD_OUTPUT)
        else:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, STANDARD_OUTPUT)
            os.close(nowhere)
            # liboxen draws its bars on standard error, and none on a terminal that cannot move its
            # cursor (indicatif 0.18.6, `draw_target.rs`). `os.environ`, where ours look, keeps its own.
            os.putenv("TERM", "dumb")
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        finally:
            os.putenv("TERM", os.environ.get("TERM", ""))
            os.dup2(self._descriptor, STANDARD_OUTPUT)
            os.close(self._descriptor)
            self._descriptor = STANDARD_OUTPUT

    def result(self, document: Mapping[str, Any], human: Callable[[Console], None]) -> None:
        """Write the result, once: the document on one line with `--json`, else what `human` prints.

        Args:
            document: plain JSON values.
            human: prints the same for people.

        Raises:
            RuntimeError: when the command has written a result before.
        """
        if self.written:
            raise RuntimeError("a command writes one result")
        if self.as_json:
            self.line(document)
            return
        from syncd.cli.people import People  # noqa: PLC0415 not needed with --json

        self.written = True
        with self._stream() as stream:
            # A file or a pipe has no width: rows stay whole for whoever searches them.
            width = None if stream.isatty() else WIDE
            human(People(file=stream, highlight=False, soft_wrap=True, width=width))

    def line(self, document: Mapping[str, Any]) -> None:
        """Write the document as one line of JSON, whether or not `--json` was given."""
        try:
            text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        except ValueError:  # a number of W&B's that JSON has not
            text = json.dumps(_finite(document), ensure_ascii=False, allow_nan=False)
        self.written = True
        with self._stream() as stream:
            stream.write(f"{text}\n")

    def _stream(self) -> contextlib.AbstractContextManager[Any]:
        if self._descriptor == STANDARD_OUTPUT:
            sys.stdout.flush()
        return os.fdopen(
            self._descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False
        )


def console() -> Console:
    """The console for people: progress, questions, warnings; on standard error."""
    from syncd.cli.people import People  # noqa: PLC0415 only verbs that talk need it

    return People(stderr=True, highlight=False, soft_wrap=True)


def _finite(value: Any) -> Any:
    """The value with `"NaN"`, `"Infinity"` and `"-Infinity"` for what JSON cannot say."""
    match value:
        case Mapping():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case float() if not math.isfinite(value):
            return json.dumps(value)
        case _:
            return value

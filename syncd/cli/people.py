"""The console for people: names and texts of strangers are shown as they are, and do nothing."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from syncd.log import visible


class People(Console):
    """A console to which `[/path]` is text, and to which an escape sequence is one, too.

    What W&B calls a version, what a config holds, what an endpoint said: all of it is printed. Only a
    `rich.text.Text` that a command makes itself has styles.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """See `rich.console.Console.render_str`, through which all text goes that is a str."""
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})

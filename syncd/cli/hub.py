"""The hub, for the verbs that ask it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from syncd.cli import Context

if TYPE_CHECKING:
    from syncd.clients.oxen_hub import OxenHub


@contextmanager
def opened(context: Context, what: str) -> Iterator[OxenHub]:
    """The hub at the configured URL, for the block.

    Args:
        context: the command's.
        what: what a folder of repositories cannot do, for the message.

    Raises:
        PermanentError: when repositories lie in a folder.
    """
    from syncd import errors  # noqa: PLC0415
    from syncd.clients.oxen_hub import OxenHub  # noqa: PLC0415
    from syncd.config import oxen_token  # noqa: PLC0415

    if context.config.oxen.directory is not None:
        raise errors.PermanentError(
            f"a folder of repositories {what} nothing",
            hint="Set [oxen] url to the hub (https://hub.oxen.ai); an endpoint may take a command "
            "or a url instead.",
        )
    token = oxen_token(context.config, context.environ)
    client = OxenHub(context.config.oxen.url, token.get_secret_value() if token else "")
    try:
        yield client
    finally:
        client.close()

"""How an endpoint or a trigger is told: by the command or the URL that the configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd import log
from syncd.clients import hooks
from syncd.config.hooks import Hook
from syncd.errors import PermanentError


def tell(hook: Hook, document: Mapping[str, Any], *, key: str, variables: Mapping[str, str]) -> str:
    """Tell somebody of something; what was said about it.

    Args:
        hook: who.
        document: what, as JSON.
        key: names it; the same when it is told again.
        variables: the same in words, for a command.

    Raises:
        PermanentError: when it is refused.
        TransientError: when nobody answers.
    """
    seconds = hook.timeout.total_seconds()
    if hook.command:
        return hooks.run(
            hook.command,
            document,
            variables={**variables, "SYNCD_IDEMPOTENCY_KEY": key},
            timeout=seconds,
        )
    assert hook.url is not None, "the configuration says one or the other"
    return hooks.post(hook.url, document, secret=_secret(hook), key=key, timeout=seconds)


def _secret(hook: Hook) -> str:
    if hook.secret_file is None:
        return ""
    try:
        text = hook.secret_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise PermanentError(
            f"{hook.secret_file} cannot be read: {error.strerror}",
            hint="Put the secret back where the configuration says it is.",
        ) from error
    log.redact(text)
    return text

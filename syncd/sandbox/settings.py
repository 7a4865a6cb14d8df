"""What can be changed while the sandbox runs, and the answers W&B's own server may give differently.

For each behaviour that is not known of the real server there is a switch. The default is the stricter answer, unless
clients are known to rely on the other. Settings are not kept over a restart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from http import HTTPStatus
from typing import Any

from syncd.sandbox.errors import SandboxError

_CHOICES: dict[str, tuple[object, ...]] = {
    "bare_name": ("latest", "nothing"),
    "deduplication": ("any", "latest"),
    "error_status": (200, 400),
    "latest_after_delete": ("nobody", "newest"),
    "latest_removal": ("allow", "refuse", "restore"),
    "mixed_digests": ("refuse", "accept"),
    "patch_base": ("ignore", "include"),
    "reference_inputs": (False, True),
    "relink": ("same", "refuse"),
    "repeat_updates": (False, True),
    "reuse_numbers": (False, True),
    "twin_commits": ("separate", "refuse"),
    "version_order": ("newest", "oldest"),
    "webhook_signature": ("hex", "base64"),
}
# The least, whether null will do, and in words.
_NUMBERS = {
    "bandwidth": (1.0, True, "a number of bytes a second or null"),
    "date_offset": (-math.inf, True, "a number of seconds or null"),
    "webhook_cooldown": (0.0, False, "a number of seconds"),
}


@dataclass(slots=True)
class Settings:
    """The settings of one sandbox; `docs/sandbox.md` says what each does."""

    bandwidth: float | None = None
    bare_name: str = "latest"
    date_offset: float | None = 0
    deduplication: str = "any"
    error_status: int = 200
    latest_after_delete: str = "nobody"
    latest_removal: str = "allow"
    mixed_digests: str = "refuse"
    patch_base: str = "ignore"
    reference_inputs: bool = False
    relink: str = "same"
    repeat_updates: bool = False
    reuse_numbers: bool = False
    twin_commits: str = "separate"
    version_order: str = "newest"
    webhook_cooldown: float = 0
    webhook_signature: str = "hex"
    protected_aliases: dict[str, list[str]] = field(default_factory=dict)

    def change(self, given: Mapping[str, Any]) -> None:
        """Change what is given: all of it, or nothing if something is wrong."""
        known = {item.name for item in fields(self)}
        for name, value in given.items():
            if name not in known:
                raise _wrong(f"unknown setting {name!r}")
            if not _is_right(name, value):
                raise _wrong(f"{name} is {_expected(name)}, not {value!r}")
        for name, value in given.items():
            setattr(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """All settings."""
        return asdict(self)


def _is_right(name: str, value: Any) -> bool:
    if name in _CHOICES:
        return any(value is choice or value == choice for choice in _CHOICES[name])
    if name in _NUMBERS:
        least, nothing, _ = _NUMBERS[name]
        if value is None:
            return nothing
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and value >= least
    return isinstance(value, dict)


def _expected(name: str) -> str:
    if name in _CHOICES:
        return f"one of {list(_CHOICES[name])}"
    return _NUMBERS[name][2] if name in _NUMBERS else "an object"


def _wrong(message: str) -> SandboxError:
    return SandboxError(message, status=HTTPStatus.BAD_REQUEST)

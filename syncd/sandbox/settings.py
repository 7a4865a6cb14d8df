"""What can be changed while the sandbox runs, and the answers W&B's own server may give differently.

For each behaviour that is not known of the real server there is a switch. The default is the stricter answer, unless
clients are known to rely on the other. Settings are not kept over a restart.
"""

from __future__ import annotations

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
_SECONDS = {"webhook_cooldown"}
_OFFSETS = {"date_offset"}  # seconds that may be negative, or nothing


@dataclass(slots=True)
class Settings:
    """The settings of one sandbox; `docs/sandbox.md` says what each does."""

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
            choices = _CHOICES.get(name)
            if choices is not None and not any(value is c or value == c for c in choices):
                raise _wrong(f"{name} is one of {list(choices)}, not {value!r}")
            if name in _SECONDS:
                if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                    raise _wrong(f"{name} is a number of seconds, not {value!r}")
            elif name in _OFFSETS:
                if isinstance(value, bool) or not isinstance(value, int | float | None):
                    raise _wrong(f"{name} is a number of seconds or null, not {value!r}")
            elif choices is None and not isinstance(value, dict):
                raise _wrong(f"{name} is an object, not {value!r}")
        for name, value in given.items():
            setattr(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """All settings."""
        return asdict(self)


def _wrong(message: str) -> SandboxError:
    return SandboxError(message, status=HTTPStatus.BAD_REQUEST)

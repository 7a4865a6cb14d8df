"""Global ids: base64 of `Type:number`, as the real server's clients take them apart."""

from __future__ import annotations

import base64
import binascii

from syncd.sandbox.errors import SandboxError


def encode(kind: str, *parts: int) -> str:
    """The global id of row `parts` of `kind`."""
    text = ":".join([kind, *map(str, parts)])
    return base64.b64encode(text.encode()).decode()


def _parts(value: str) -> list[str]:
    try:
        return base64.b64decode(value, validate=True).decode().split(":")
    except (binascii.Error, UnicodeDecodeError):
        return []


def decode(value: str, *kinds: str) -> int:
    """The row number inside a global id of one of `kinds`."""
    kind, *numbers = _parts(value) or [""]
    if kind in kinds and len(numbers) == 1 and numbers[0].isdecimal():
        return int(numbers[0])
    raise SandboxError(f"invalid {kinds[0]} id: {value!r}")


def decode_pair(value: str, kind: str) -> tuple[int, int]:
    """The two row numbers inside a global id of `kind`."""
    found, *numbers = _parts(value) or [""]
    if found == kind and [n.isdecimal() for n in numbers] == [True, True]:
        return int(numbers[0]), int(numbers[1])
    raise SandboxError(f"invalid {kind} id: {value!r}")


def decode_hex(value: str, kind: str) -> int:
    """The row number inside a global id written in hex, as in references between versions."""
    try:
        text = bytes.fromhex(value).decode()
    except ValueError as error:
        raise SandboxError(f"invalid {kind} id: {value!r}") from error
    return decode(base64.b64encode(text.encode()).decode(), kind)

"""JSON documents that are too large to be in memory: their large objects come in pieces.

A document is cut between the members of its large objects, and each piece is read by msgspec, which
also judges what is left: a text that is no JSON is refused wherever the fault lies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from syncd.blocks import Builder
from syncd.entry import row_from_json
from syncd.errors import ManifestError
from syncd.manifest import Manifest, from_rows

PIECE = 1 << 18  # bytes of members that are read at once
# All up to the next bracket: strings are passed over, for they may hold brackets.
_STEP = re.compile(rb'((?:[^{}\[\]"]++|"(?:[^"\\]++|\\.)*+")*+)[{}\[\]]', re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_OPENING = b"{["
_MEMBERS = 2  # the depth of a large object's members


class Document:
    """One JSON document, read once from its first byte to its last.

    Args:
        chunks: its bytes.
        large: names of the document's members that are read in pieces, where they are objects.
    """

    def __init__(self, chunks: Iterable[bytes], large: Collection[str]) -> None:
        self._chunks = iter(chunks)
        self._large = large
        self._seen: set[str] = set()
        self._enough = PIECE  # bytes that are worth a scan
        self.rest: Any = None  # in the end: the document, its large objects empty

    def pieces(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Members of the large objects: the object's name and some of its members, in their order.

        Raises:
            ValueError: when the bytes are not one JSON document, or hold a large object twice.
        """
        rest = bytearray()
        inside = ""  # the large object that is being read
        first = True  # whether its members' first piece is yet to come
        depth = begin = place = 0
        buffer = b""
        for more in self._gathered():
            buffer = buffer[begin:] + more
            place, begin = place - begin, 0
            while step := _STEP.match(buffer, place):
                place = step.end()
                opening = buffer[place - 1] in _OPENING
                depth += 1 if opening else -1
                if depth == _MEMBERS and opening and not inside:
                    inside = self._begun(step[1]) if buffer[place - 1] == _OPENING[0] else ""
                    if inside:
                        rest += buffer[begin:place]
                        begin, first = place, True
                elif inside and not opening and depth < _MEMBERS:
                    if members := _members(buffer[begin : place - 1], first=first):
                        yield inside, members
                    inside, begin = "", place - 1
                elif inside and not opening and depth == _MEMBERS and place - begin >= PIECE:
                    yield inside, _members(buffer[begin:place], first=first)
                    begin, first = place, False
            if not inside:
                rest += buffer[begin:place]
                begin = place
            self._enough = max(PIECE, len(buffer) - begin)
        self.rest = _decoded(rest + buffer[begin:])

    def _gathered(self) -> Iterator[bytes]:
        """The chunks in larger ones: twice as much each time, while one string goes on and on."""
        held: list[bytes] = []
        size = 0
        for chunk in self._chunks:
            held.append(chunk)
            size += len(chunk)
            if size >= self._enough:
                yield b"".join(held)
                held, size = [], 0
        yield b"".join(held)

    def _begun(self, text: bytes) -> str:
        """The name of the large object that begins behind this text; empty when it is another."""
        strings = _STRING.findall(text)
        name = str(_decoded(strings[-1])) if strings else ""
        if name not in self._large:
            return ""
        if name in self._seen:
            raise ValueError(f"{name!r} occurs twice")
        self._seen.add(name)
        return name


def read_manifest(chunks: Iterable[bytes]) -> Manifest:
    """Read a manifest from the bytes of its document, in little memory.

    Raises:
        ValueError: when it is not JSON.
        ManifestError: when it is not a version 1 manifest, or an entry has no digest, a size that
            is no whole number of bytes, an unknown algorithm, or a reference that is no text.
    """
    document = Document(chunks, {"contents"})
    builder = Builder()
    problem: ManifestError | None = None  # raised when the document turns out to be whole
    for _, members in document.pieces():
        try:
            for path, item in members.items() if problem is None else ():
                builder.add(row_from_json(path, item))
        except ManifestError as error:
            problem = error
    return from_rows(document.rest, builder.build(), problem)


def _members(text: bytes, *, first: bool) -> dict[str, Any]:
    """Decode members of an object; those behind a first piece begin with a comma."""
    if not first and (text := text.lstrip(b" \t\r\n")):
        comma, text = text[:1], text[1:]
        if comma != b"," or not text.strip(b" \t\r\n"):
            raise ValueError("a comma is missing, or one is too many")
    members: dict[str, Any] = _decoded(b"{" + text + b"}")
    return members


def _decoded(text: bytes | bytearray) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        with suppress(ValueError, RecursionError):
            return _with_constants(bytes(text))
        raise ValueError(str(error)) from error


def _with_constants(text: bytes) -> Any:
    """JSON as Python writes it, and W&B with it: a config or metadata may hold NaN and Infinity.

    Raises:
        ValueError: when it is none, or holds text that UTF-8 has not, which msgspec refuses too.
    """
    found = json.loads(text.decode())
    json.dumps(found, ensure_ascii=False).encode()
    return found

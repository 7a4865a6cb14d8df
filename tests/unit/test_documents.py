"""Documents: a stream is read as the whole text would be, wherever it is cut into chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from syncd import documents
from syncd.documents import Document, read_manifest
from syncd.entry import Entry
from syncd.errors import ManifestError
from syncd.manifest import Manifest, from_json, json_chunks

PATIENT = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
TRICKY = '"\\{}[],: \n\u00e4'
TEXT = st.text(st.sampled_from(TRICKY) | st.characters(codec="utf-8"), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(TEXT | st.sampled_from(["big", "other"]), JSON, max_size=4)
MANIFEST = Manifest(
    entries={
        path: Entry(path=path, digest=f"d{path}", size=size, extra={"etag": {"}": ["{", path]}})
        for size, path in enumerate(["a", "b/{", 'c"', "d\\", "e,"])
    },
    storage_policy_config={"storageLayout": "V2"},
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every boundary is crossed."""
    monkeypatch.setattr(documents, "PIECE", 5)


def cut(text: bytes, size: int) -> Iterator[bytes]:
    """The text in chunks of so many bytes."""
    return (text[start : start + size] for start in range(0, len(text), size))


def put_together(text: bytes, size: int) -> Any:
    """The document as its pieces make it."""
    document = Document(cut(text, size), {"big"})
    members: dict[str, Any] = {}
    for _, piece in document.pieces():
        members |= piece
    if isinstance(document.rest, dict) and isinstance(document.rest.get("big"), dict):
        document.rest["big"] = members
    else:
        assert members == {}
    return document.rest


@settings(max_examples=300, deadline=None, suppress_health_check=PATIENT)
@example({"big": {"a": {"b": {}}, "c": {"d": [{}]}, "e": 5}}, 1, None)
@given(DOCUMENTS | JSON, st.integers(1, 40), st.none() | st.just(1))
def test_a_document_in_pieces_is_the_document(value: Any, size: int, indent: int | None) -> None:
    """However it is written, and whatever the chunks are."""
    assert put_together(json.dumps(value, indent=indent).encode(), size) == value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert put_together(text, size) == value


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_document_cut_anywhere_is_refused(size: int) -> None:
    """A half-read manifest would lose files."""
    text = b"".join(json_chunks(MANIFEST))
    assert read_manifest(cut(text, size)) == MANIFEST

    for end in range(len(text)):
        with pytest.raises(ValueError, match=r"."):
            read_manifest(cut(text[:end], size))


@settings(max_examples=300, deadline=None, suppress_health_check=PATIENT)
@given(st.data())
def test_a_damaged_document_is_refused_or_read_as_what_it_says(data: st.DataObject) -> None:
    """Never otherwise than the text as a whole."""
    text = bytearray(b"".join(json_chunks(MANIFEST)))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place : place + data.draw(st.integers(0, 2))] = data.draw(
        st.sampled_from([b"", b",", b"}", b"{", b'"', b"\\", b"]", b"[", b":", b" ", b"x", b"\xff"])
    )

    def outcome(read: Callable[[], Manifest]) -> object:
        try:
            return read()
        except ManifestError:
            return "no manifest"
        except ValueError:  # UnicodeDecodeError is one
            return "no JSON"

    assert outcome(lambda: read_manifest(cut(bytes(text), 3))) == outcome(
        lambda: from_json(documents._decoded(text))
    )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{}{}",
        b"}",
        b'{"big":{"a":{}},}',
        b'{"big":{"a":{},}}',
        b'{"big":{"a":{} "b":{}}}',
        b'{"big":{,"a":{}}}',
        b'{"big":{"a":{}]}',
        b'{"big":{"a":[}}}',
        b'{"big" {}}',
        b'{"big":{"a":{"b":"x}}}',
        b'{"big":{"a":"\\ud800"}}',
        b'{"big":{"a":"\xff"}}',
        b'{"big":{}} {"big":{}}',
        b"[" * 100_000,
        b'{"big":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
)
@pytest.mark.parametrize("size", [1, 4096])
def test_what_is_not_one_json_document_is_refused(text: bytes, size: int) -> None:
    """Wherever the fault lies."""
    with pytest.raises(ValueError, match=r"."):
        put_together(text, size if len(text) < 1000 else 4096)


def test_numbers_that_only_python_and_wandb_know_are_read() -> None:
    """A run's config or a version's metadata may hold them, and lineage files then do."""
    value = {"run": {"clip": float("inf")}, "big": {"a": {"low": float("-inf")}, "b": {}}}
    document = Document([json.dumps(value).encode()], {"big"})
    pieces = {name: members for _, found in document.pieces() for name, members in found.items()}
    assert pieces == value["big"]
    assert document.rest["run"] == value["run"]


@pytest.mark.parametrize("text", [b'{"a": NaN, "b": "\\ud800"}', '{"a": NaN}'.encode("utf-16")])
def test_beside_them_text_is_still_utf_8(text: bytes) -> None:
    """What Python's reader also takes is no document."""
    with pytest.raises(ValueError):  # noqa: PT011 any says that it is none
        read_manifest([text])


def test_a_large_object_that_occurs_twice_is_refused() -> None:
    """Nobody could say which one counts."""
    with pytest.raises(ValueError, match="twice"):
        put_together(b'{"big":{"a":1},"b\\u0069g":{"a":2}}', 4096)


def test_a_document_is_known_to_be_whole_before_an_entry_is_blamed() -> None:
    """Damage on the way is worth another try, a bad entry is not."""
    text = b'{"version":1,"contents":{"a":{},"b":{"digest":"d"}}}'

    with pytest.raises(ManifestError, match="'a' has no digest"):
        read_manifest([text])
    with pytest.raises(ValueError, match=r"."):
        read_manifest([text[:-1]])


def test_members_come_before_the_document_has_ended() -> None:
    """What makes the memory small."""

    def endless() -> Iterator[bytes]:
        yield b'{"big":{"0":{}'
        for number in range(1, 1 << 62):
            yield f',"{number}":{{}}'.encode()

    pieces = Document(endless(), {"big"}).pieces()

    assert next(pieces) == ("big", {"0": {}})
    assert next(pieces)[0] == "big"

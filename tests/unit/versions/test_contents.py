"""A content: whole or not at all, from wherever it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

import pytest

from syncd.clients.artifacts import Version
from syncd.clients.commits import SMALL
from syncd.errors import IntegrityError, ServiceUnavailableError, TransientError
from syncd.manifest import Entry
from syncd.testing import MemoryArtifactSource
from syncd.versions.contents import (
    BUFFER,
    GROUP_BYTES,
    GROUP_FILES,
    WORTH,
    EntryContent,
    groups,
    memory,
)

DATA = b"some payload"


def content_of(source: MemoryArtifactSource, version: Version, path: str = "a") -> EntryContent:
    """The content of a version's file."""
    entry = source.manifest(version).entries[path]
    return EntryContent(source=source, version=version, entry=entry, path=f"tree/{path}")


@pytest.fixture
def content() -> EntryContent:
    """One whose bytes come three at a time."""
    source = MemoryArtifactSource(chunk_size=3)
    return content_of(source, source.log("ds", {"a": DATA}))


def test_it_says_what_it_is(content: EntryContent) -> None:
    """The key is a file name, and the same for the same bytes."""
    assert (content.size, content.path) == (len(DATA), "tree/a")
    assert content.key == f"md5-{content.entry.hex_digest}"


@pytest.mark.parametrize("begin", range(len(DATA) + 1))
def test_it_goes_on_behind_what_is_there(content: EntryContent, begin: int) -> None:
    """What arrived earlier is hashed, and not asked for."""
    arrived: list[int] = []
    content.pace = arrived.append

    assert b"".join(content.chunks(iter([DATA[:begin]]))) == DATA[begin:]
    assert sum(arrived) == len(DATA) - begin


def test_wrong_bytes_before_are_found_at_the_end(content: EntryContent) -> None:
    """A damaged partial file is not believed."""
    with pytest.raises(IntegrityError, match="the manifest says"):
        list(content.chunks([b"SOME"]))


def test_more_bytes_than_there_should_be_end_at_once() -> None:
    """A server that never stops fills no disk."""
    source = MemoryArtifactSource()
    version = source.log("ds", {"a": DATA})
    asked = 0

    class Endless(MemoryArtifactSource):
        def read(
            self, version: Version, entry: Entry, *, begin: int = 0, size: int | None = None
        ) -> Iterator[bytes]:
            nonlocal asked
            del version, entry, begin, size
            while True:
                asked += 1
                yield b"xxxxx"

    content = content_of(source, version)
    content.source = Endless()
    with pytest.raises(IntegrityError, match="manifest says 12 bytes, and W&B sends more"):
        list(content.chunks())
    assert asked == 3


def test_a_stream_that_is_cut_off_says_nothing_against_what_arrived() -> None:
    """It may be gone on with, unlike bytes of another digest."""
    source = MemoryArtifactSource()
    version = source.log("ds", {"a": DATA})

    class Cut(MemoryArtifactSource):
        def read(
            self, version: Version, entry: Entry, *, begin: int = 0, size: int | None = None
        ) -> Iterator[bytes]:
            del version, entry, begin, size
            yield DATA[:4]
            raise IntegrityError("cut short")

    content = content_of(source, version)
    content.source = Cut()
    for stream in (content.chunks(), content.part(0, 8)):
        with pytest.raises(TransientError, match="cut short") as caught:
            list(stream)
        assert not isinstance(caught.value, IntegrityError)


class Breaking(MemoryArtifactSource):
    """Breaks every connection after so many bytes."""

    def __init__(self, each: int) -> None:
        super().__init__(chunk_size=1 << 18)
        self.each = each
        self.begins: list[int] = []

    def read(
        self, version: Version, entry: Entry, *, begin: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """As far as it comes."""
        self.begins.append(begin)
        count = 0
        for chunk in super().read(version, entry, begin=begin, size=size):
            count += len(chunk)
            yield chunk
            if count >= self.each:
                raise ServiceUnavailableError("broke off")


def test_a_connection_that_breaks_is_taken_up_where_it_broke() -> None:
    """Whoever passes the bytes on at the same time, in one request, need not begin again."""
    source = Breaking(2 * WORTH)
    data = bytes(range(256)) * (5 * WORTH // 256)
    content = content_of(source, source.log("ds", {"a": data}))

    assert b"".join(content.chunks()) == data
    assert source.begins == [0, 2 * WORTH, 4 * WORTH]
    assert content.reached == len(data)
    source.begins.clear()
    assert b"".join(content.part(WORTH, 3 * WORTH)) == data[WORTH : 4 * WORTH]
    assert source.begins == [WORTH, 3 * WORTH]


def test_a_connection_that_brings_next_to_nothing_is_a_failure() -> None:
    """Or a dying server would be asked without a pause."""
    source = Breaking(WORTH // 2)
    content = content_of(source, source.log("ds", {"a": bytes(2 * WORTH)}))

    with pytest.raises(ServiceUnavailableError, match="broke off"):
        list(content.chunks())
    assert source.begins == [0]
    assert content.reached == WORTH // 2


def test_a_part_is_a_range(content: EntryContent) -> None:
    """Of any place."""
    assert b"".join(content.part(2, 5)) == DATA[2:7]


def test_what_was_fetched_is_not_fetched_again(content: EntryContent) -> None:
    """Until it is dropped."""
    arrived: list[int] = []
    content.pace = arrived.append
    content.fetch()
    content.fetch()

    assert b"".join(content.chunks()) == DATA
    assert sum(arrived) == len(DATA)
    assert b"".join(content.chunks([DATA[:4]])) == DATA[4:]  # what is there comes from elsewhere
    content.drop()
    assert b"".join(content.chunks()) == DATA
    assert sum(arrived) == 2 * len(DATA) + len(DATA[4:])


def test_groups_are_bounded_by_number_and_size() -> None:
    """Whatever is large, or of unknown size, goes alone."""
    source = MemoryArtifactSource()
    version = source.log("ds", {"a": DATA})

    def of(size: int | None) -> EntryContent:
        made = content_of(source, version)
        made.entry = Entry(path="a", digest="aaaa", size=size)
        return made

    tiny = [of(1) for _ in range(GROUP_FILES + 1)]
    full = [of(SMALL) for _ in range(GROUP_BYTES // SMALL + 1)]
    made = list(groups([of(None), *tiny, of(SMALL + 1), *full], attrgetter("size")))

    assert [len(group) for group in made] == [1, GROUP_FILES, 1, 8, 2]
    assert made[0][0].size is None
    assert max(memory(group) for group in made) <= GROUP_BYTES
    assert memory([of(1 << 40)]) == memory([of(None)]) == BUFFER

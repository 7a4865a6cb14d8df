"""Stories: what lineage files say, read with care for what they may be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from syncd.catalog.panels import PAGE
from syncd.clients.origins import Found, no_file
from syncd.config import Config
from syncd.errors import NotFoundError
from syncd.refs import ArtifactRef, CommitRef, RepoRef
from syncd.versions.plans import LINEAGE_PATH
from syncd.web.stories import LARGEST, Stories

REF = ArtifactRef.parse("team/proj/ds:v0")


class Files:
    """An origin of one file a commit, which counts how often it is read."""

    def __init__(self, **files: Any) -> None:
        self.files = {
            commit: document if isinstance(document, bytes) else json.dumps(document).encode()
            for commit, document in files.items()
        }
        self.reads = 0
        self.sizes: dict[str, int] = {}

    def find(self, repo: RepoRef, names: Sequence[str]) -> Found:
        """See `Origin.find`."""
        commit, path = names[0], "/".join(names[1:])
        if commit not in self.files or not path.endswith(LINEAGE_PATH):
            raise no_file(repo, commit, names)
        size = self.sizes.get(commit, len(self.files[commit]))
        return Found(repo=repo, commit=commit, path=path, hash="abc", size=size, permanent=True)

    def read(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """See `Origin.read`."""
        self.reads += 1
        yield self.files[found.commit][begin:end]


def lineage(*inputs: tuple[str, str | None], files: int = 1, **members: Any) -> dict[str, Any]:
    """A lineage file."""
    return {
        "artifact": {"ref": "x", "id": "1"},
        "files": {
            f"{n:05d}.bin": {"hash": f"{n:x}", "moved": True, "size": n} for n in range(files)
        },
        "inputs": [{"artifact": name, "type": "dataset", "oxen": oxen} for name, oxen in inputs],
        "omitted": {},
        "references": {},
        "run": {"ref": "team/proj/runs/r", "name": "r", "url": "https://w/r", "config": {}},
        "schema": 1,
        **members,
    }


def commit(name: str) -> CommitRef:
    """A commit."""
    return CommitRef(repo=RepoRef(namespace="team", repo="proj-ds"), commit=name)


def reader(origin: Files, **oxen: str) -> Stories:
    """Reads from an origin."""
    return Stories(origin, Config.model_validate({"oxen": oxen}))


def test_a_story_is_read_once() -> None:
    """However often it is shown: what a commit says never changes."""
    origin = Files(a=lineage())
    stories = reader(origin)
    found = [stories.story(REF, "model", commit("a")) for _ in range(2)]

    assert found[0] is found[1]
    assert origin.reads == 1


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"artifact": [], "inputs": [], "run": null}',
     b'{"artifact": {}, "inputs": 3, "run": null}', b'{"artifact": {}, "inputs": [], "run": 3}'],
)  # fmt: skip
def test_a_file_that_is_none_is_told_as_damaged(document: bytes) -> None:
    """With the command that finds out more."""
    with pytest.raises(NotFoundError, match="cannot be read") as caught:
        reader(Files(a=document)).story(REF, "model", commit("a"))

    assert "syncd verify" in caught.value.hint


def test_a_page_does_not_wait_for_a_huge_file() -> None:
    """A version of millions of files names its commit, and no more."""
    origin = Files(a=lineage())
    origin.sizes["a"] = LARGEST + 1

    with pytest.raises(NotFoundError, match="too large"):
        reader(origin).story(REF, "model", commit("a"))
    assert origin.reads == 0


def test_files_come_a_page_at_a_time() -> None:
    """All of them, in order, each page saying whether there is another."""
    document = lineage(files=2 * PAGE)
    document["omitted"] = {"left.out": "a reason"}
    document["references"] = {"elsewhere": {"digest": "d", "ref": "s3://x", "size": None}}
    stories = reader(Files(a=document), repo="all", path="{collection}")
    pages = [stories.files(REF, "model", commit("a"), page) for page in range(4)]
    found = [file for page, _ in pages for file in page]

    assert [(len(page), more) for page, more in pages] == [
        (PAGE, True),
        (PAGE, True),
        (2, False),
        (0, False),
    ]
    assert [file.path for file in found[:2]] == ["00000.bin", "00001.bin"]
    assert found[0].tree_path == "ds/00000.bin"
    assert {file.path: file.where for file in found[-2:]} == {
        "left.out": "omitted",
        "elsewhere": "reference",
    }

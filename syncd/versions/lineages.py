"""What a commit's lineage file says about the version's files, read in pieces.

`commit_texts` writes the file; it ties W&B's digests to Oxen's hashes without either side's help.
Everybody who reads one reads it here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syncd.clients.commits import StoredContent
from syncd.documents import Document
from syncd.versions.plans import Digest

LARGE = ("files", "omitted", "references")  # objects with a member a file
# What is raised where a file is no lineage file: it is JSON of another shape, or none.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What one commit says of its version.

    Args:
        artifact: the version: ref, type, digest, description, aliases, tags.
        run: who logged it: ref, name, url, config; None when nobody did.
        inputs: what the run used: artifact, type, and oxen, its commit, where it has one.
    """

    artifact: Mapping[str, Any]
    run: Mapping[str, Any] | None
    inputs: Sequence[Mapping[str, Any]]


class Lineage:
    """One lineage file, read once.

    Args:
        chunks: its bytes.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._document = Document(chunks, LARGE)

    def files(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Some members at a time of `files`, `omitted` and `references`, each with its object's name.

        Raises:
            ValueError: when the bytes are not one JSON document.
        """
        return self._document.pieces()

    def member(self, name: str) -> Any:
        """Another member, or an emptied large object, when `files` has come to its end.

        Raises:
            KeyError, TypeError: when there is none.
        """
        return self._document.rest[name]

    def artifact(self, artifact_id: str) -> Mapping[str, Any]:
        """What it says of the version itself, when `files` has come to its end.

        Args:
            artifact_id: GraphQL id of the version that it has to be about.

        Raises:
            ValueError: when it is about another one, or about none.
        """
        rest = self._document.rest
        found = rest.get("artifact") if isinstance(rest, Mapping) else None
        if not isinstance(found, Mapping) or found.get("id") != artifact_id:
            named = found.get("ref") if isinstance(found, Mapping) else None
            raise ValueError(f"it is about {named or 'no version'}")
        return found


def contents(files: Mapping[str, Any]) -> dict[Digest, StoredContent]:
    """What Oxen calls the contents of some members of `files`.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: when they are not as syncd writes them.
    """
    return {
        (str(item["algorithm"]), base64.b64decode(item["digest"]).hex()): StoredContent(
            hash=str(item["hash"]), size=int(item["size"])
        )
        for item in files.values()
    }


def story(chunks: Iterable[bytes]) -> Story:
    """What a lineage file says of its version, without the files.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: when it is no lineage file (`MALFORMED`).
    """
    lineage = Lineage(chunks)
    for _ in lineage.files():
        pass
    artifact, run = lineage.member("artifact"), lineage.member("run")
    inputs = [item for item in lineage.member("inputs") if isinstance(item, Mapping)]
    if not isinstance(artifact, Mapping) or not isinstance(run, Mapping | None):
        raise TypeError("a member has another shape")
    return Story(artifact=artifact, run=run, inputs=inputs)

"""Which versions point into which: references of manifests, and objects that hold such references.

A version that another one points into is needed though nobody uses it. References say
`wandb-artifact://HEX/path`, where HEX is the version's id (wandb 0.31.0, `Artifact.ref_url`); tables
and media are JSON files that may hold them, too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator

from syncd.clients.artifacts import Version
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.entry import Entry
from syncd.manifest import Manifest
from syncd.refs import parse_reference_url

REMEMBERED = 10_000  # objects that are not read again where another version holds them, too
_POINTER = re.compile(rb"wandb-artifact://([0-9a-f]{2,128})(?![0-9a-f])")
_LONGEST = 160  # bytes of a pointer, with what must stand behind it
# The names that wandb 0.31.0 gives to objects: `WBValue.with_suffix`, by their `_log_type`.
_OBJECT = re.compile(
    r"\.([\w-]*table|[\w-]+-file|classes|bounding-boxes|mask|histogram|wb_trace_tree)\.json\Z"
)


class Pointers:
    """Reads what versions point to.

    Args:
        source: W&B.
        store: Oxen, where objects may have moved.
    """

    def __init__(self, source: ArtifactSource, store: VersionStore) -> None:
        self._source, self._store = source, store
        self._objects: dict[tuple[str, str], frozenset[str]] = {}

    def of(self, version: Version, manifest: Manifest) -> set[str]:
        """GraphQL ids of the versions that a version points to.

        Raises:
            SyncdError: when an object cannot be read, because then nobody knows.
        """
        found: set[str] = set()
        objects: list[Entry] = []
        for path, _, _, ref, *_rest in manifest.entries.rows:
            if ref is not None and ref.startswith("wandb-artifact:"):
                found |= _ids([ref.encode()])
            elif _OBJECT.search(path):
                entry = manifest.entries[path]
                ours = ref is None or parse_reference_url(ref) is not None
                if ours and (entry.algorithm, entry.digest) not in self._objects:
                    objects.append(entry)
                elif ours:
                    found |= self._objects[entry.algorithm, entry.digest]
        held = [entry.path for entry in objects if not entry.is_reference]
        if held:
            self._source.sign(version, held)
        for entry in objects:
            pointers = frozenset(_ids(self._read(version, entry)))
            if len(self._objects) >= REMEMBERED:
                self._objects.clear()
            self._objects[entry.algorithm, entry.digest] = pointers
            found |= pointers
        return found

    def _read(self, version: Version, entry: Entry) -> Iterator[bytes]:
        link = parse_reference_url(entry.ref) if entry.ref else None
        return self._store.read(*link) if link else self._source.read(version, entry)


def _ids(chunks: Iterable[bytes]) -> set[str]:
    """The ids in some text, which comes in pieces."""
    found: set[str] = set()
    rest = b""
    for chunk in chunks:
        text = rest + chunk
        # What stands too near to the end may go on in the next piece.
        sure = len(text) - _LONGEST
        last = max(sure, 0)
        for match in _POINTER.finditer(text):
            if match.start() < sure:
                found.add(_id(match[1]))
            else:
                last = min(last, match.start())
        rest = text[last:]
    found.update(_id(match[1]) for match in _POINTER.finditer(rest))
    return found - {""}


def _id(digits: bytes) -> str:
    try:
        return base64.b64encode(bytes.fromhex(digits.decode())).decode()
    except ValueError:  # an odd number of digits is no id
        return ""

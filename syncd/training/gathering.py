"""Which files of this disk are meant, and where the version has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from syncd.clients.oxen_paths import unsupported_path
from syncd.errors import InvalidNameError, UsageError
from syncd.stages.plan import RESERVED

Files = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Mapping[str, Any]


def gathered(files: Files) -> dict[str, Path]:
    """The files that are meant, by their path in the version.

    Raises:
        UsageError: when there are none, or two of one name.
        InvalidNameError: when Oxen cannot hold a file of that name.
    """
    found: dict[str, Path] = {}
    if isinstance(files, Mapping):
        found = {str(path): Path(place) for path, place in files.items()}
    elif isinstance(files, str | os.PathLike):
        root = Path(files)
        found = _folder(root) if root.is_dir() else {root.name: root}
    else:
        for place in map(Path, files):
            if place.name in found:
                raise UsageError(
                    f"{place} and {found[place.name]} have one name",
                    hint="Give files by their path in the version: {'a/x.bin': ...}.",
                )
            found[place.name] = place
    if not found:
        raise UsageError(f"{files} holds no file to publish")
    for path, place in found.items():
        if reason := unsupported_path(path):
            raise InvalidNameError(reason)
        if PurePath(path).parts[0] == RESERVED:
            raise InvalidNameError(f"{path}: {RESERVED} is the folder of syncd's own files")
        if not place.is_file():
            raise UsageError(f"{place} is not a file")
    return found


def _folder(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder, inner, names in os.walk(root):
        for name in inner:
            if (Path(folder) / name).is_symlink():
                raise UsageError(
                    f"{Path(folder) / name} is a link to a folder",
                    hint="Give files by their path in the version, or copy the folder.",
                )
        for name in names:
            path = Path(folder) / name
            found[path.relative_to(root).as_posix()] = path
    return found

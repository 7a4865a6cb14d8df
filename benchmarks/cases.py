"""What is moved: the projects of a measurement, in full and in little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MIB = 1 << 20
KIB = 1 << 10
GIB = 1 << 30
PART = 10 * MIB
ENTITY = "sandbox"
COLLECTION = "data"
FLIGHT = 8
LINE = 125_000_000  # bytes a second: 1 Gbit/s, more than most have to W&B's storage
Digest = Literal["MD5", "XXH128"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One project with one collection.

    Args:
        name: the project's name, and the case's in all tables.
        title: what it is, for people.
        files: files of a version.
        size: bytes of each.
        digest: what W&B's manifest holds of them.
        versions: how many versions there are.
        fresh: files that each version after the first has anew.
        source: whose files they are, when they are those of another case.
    """

    name: str
    title: str
    files: int
    size: int
    digest: Digest = "MD5"
    versions: int = 1
    fresh: int = 0
    source: str = ""

    @property
    def folder(self) -> str:
        """Where its files lie."""
        return self.source or self.name

    @property
    def unique(self) -> int:
        """Bytes, equal files counted once."""
        return (self.files + (self.versions - 1) * self.fresh) * self.size

    @property
    def total(self) -> int:
        """Bytes of all versions."""
        return self.versions * self.files * self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything.

    Args:
        rounds: repetitions of each case, baseline and syncd in turn.
        timed: the cases whose times are compared.
        shared: versions that share most of their files.
        cut: one file each, on whose way something happens.
    """

    rounds: int
    timed: tuple[Case, ...]
    shared: tuple[Case, ...]
    cut: tuple[Case, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        """All of them."""
        return (*self.timed, *self.shared, *self.cut)

    @property
    def large(self) -> tuple[Case, ...]:
        """Those of large files, in which bytes decide and not requests."""
        return tuple(case for case in self.timed if case.size > MIB)

    def limited(self, *, only: str, rounds: int) -> Scale:
        """The cases whose names begin so, so many times."""

        def chosen(cases: tuple[Case, ...]) -> tuple[Case, ...]:
            return tuple(case for case in cases if case.name.startswith(only))

        timed, shared, cut = chosen(self.timed), chosen(self.shared), chosen(self.cut)
        return Scale(rounds=rounds, timed=timed, shared=shared, cut=cut)


def _scale(
    *, rounds: int, large: int, small: int, shared: int, cut: int, digests: tuple[Digest, ...]
) -> Scale:
    def sized(size: int) -> str:
        return f"{size // GIB} GiB" if size % GIB == 0 else f"{size // MIB} MiB"

    def named(name: str, digest: Digest) -> tuple[str, str]:
        return f"{name}-{digest.lower()}", f"{name}-{digests[0].lower()}"

    def big(digest: Digest) -> Case:
        name, source = named("large", digest)
        title = f"4 x {sized(large)}, {digest}"
        return Case(name=name, title=title, files=4, size=large, digest=digest, source=source)

    def one(digest: Digest) -> Case:
        name, source = named("cut", digest)
        title = f"{sized(cut)}, {digest}"
        return Case(name=name, title=title, files=1, size=cut, digest=digest, source=source)

    many = Case(name="small", title=f"{small:,} x 10 KiB", files=small, size=10 * KIB)
    title = "10 versions sharing 90 %"
    ten = Case(name="shared", title=title, files=20, size=shared, versions=10, fresh=2)
    timed = (*(big(digest) for digest in digests), many)
    return Scale(rounds=rounds, timed=timed, shared=(ten,), cut=tuple(one(d) for d in digests))


# A part less than 2 GiB: from there on the SDK uploads in parts, and the sandbox refuses those of XXH128.
_CUT = 2 * GIB - PART
FULL = _scale(
    rounds=3, large=GIB, small=20_000, shared=4 * MIB, cut=_CUT, digests=("MD5", "XXH128")
)
QUICK = _scale(
    rounds=1, large=32 * MIB, small=500, shared=256 * KIB, cut=100 * MIB, digests=("MD5",)
)

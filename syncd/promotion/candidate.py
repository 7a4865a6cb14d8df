"""A candidate beside what is in production: metrics and config of the runs, data, weights.

W&B does not say whether more of a metric is better. A name with `loss` or `error` in it is better when
it is lower, one with `accuracy`, `recall` or the like when it is higher; of all others only the
difference is told, unless somebody says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from syncd.changes.difference import Difference, commit_rows, difference
from syncd.changes.difference import compare as rows_compared
from syncd.clients.artifacts import Run
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.config import Config
from syncd.errors import NotFoundError
from syncd.promotion.answers import Data
from syncd.promotion.located import Located, collection_of
from syncd.promotion.production import used
from syncd.refs import ArtifactRef, RunRef
from syncd.stages.annotate import SHORT_KEYS
from syncd.stages.plan import place

_WORD = re.compile(r"[a-z]+\d*")
LOWER = frozenset(
    [
        "err",
        "perplexity",
        "ppl",
        "wer",
        "cer",
        "mae",
        "mse",
        "rmse",
        "latency",
        "fpr",
        "fnr",
        "divergence",
    ]
)
HIGHER = frozenset(
    [
        "acc",
        "precision",
        "recall",
        "f1",
        "auc",
        "auroc",
        "auprc",
        "map",
        "ndcg",
        "mrr",
        "score",
        "bleu",
        "rouge",
        "iou",
        "dice",
        "hit",
        "hits",
        "psnr",
        "ssim",
        "r2",
    ]
)
_NO_NUMBERS = ("NaN", "Infinity", "-Infinity")  # as W&B writes them where JSON has none
# Of a run's config what says where the data lies; that is told as data.
_PLACES = {"oxen", *(f"{name}_{part}" for name in SHORT_KEYS for part in ("repo", "commit"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """Which metrics are better when they are higher or lower, over what their names say: globs."""

    higher: Sequence[str] = ()
    lower: Sequence[str] = ()

    def of(self, name: str) -> int:
        """1 when higher is better, -1 when lower is, 0 when nobody knows."""
        if any(fnmatchcase(name, glob) for glob in self.higher):
            return 1
        if any(fnmatchcase(name, glob) for glob in self.lower):
            return -1
        words = _WORD.findall(name.lower())
        if any(word in LOWER or word.endswith(("loss", "losses", "error")) for word in words):
            return -1
        return int(any(word in HIGHER or word.endswith("accuracy") for word in words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of both runs; None where a run has not logged it, NaN where it was no number there.

    Args:
        verdict: of the candidate: `better`, `worse`, `same`; empty where nobody knows.
    """

    name: str
    before: float | None
    after: float | None
    verdict: str

    @property
    def delta(self) -> float | None:
        """What the candidate has more."""
        if self.before is None or self.after is None:
            return None
        delta = self.after - self.before
        return delta if math.isfinite(delta) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A key of the runs' config that differs; None where a run has none."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChange:
    """What both runs took of one collection.

    Args:
        collection: `entity/project/collection`; the repository where W&B has no version of it.
        before: what the one took; None for nothing.
        after: what the other took.
        difference: of the files; None where it cannot be told.
    """

    collection: str
    before: Data | None
    after: Data | None
    difference: Difference | None

    @property
    def same(self) -> bool:
        """Whether both took the same."""
        return self.before == self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two versions, with the run that logged it."""

    version: str
    reference: str
    commit: str
    run: str | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two versions of a model beside each other."""

    before: Side
    after: Side
    metrics: tuple[Metric, ...]
    config: tuple[Setting, ...]
    data: tuple[DataChange, ...]
    weights: Difference

    @property
    def worse(self) -> tuple[Metric, ...]:
        """Where the candidate regresses."""
        return tuple(item for item in self.metrics if item.verdict == "worse")

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "before": asdict(self.before),
            "after": asdict(self.after),
            "metrics": [{**asdict(item), "delta": item.delta} for item in self.metrics],
            "worse": [item.name for item in self.worse],
            "config": [asdict(item) for item in self.config],
            "data": [
                {
                    "collection": item.collection,
                    "before": item.before.document() if item.before else None,
                    "after": item.after.document() if item.after else None,
                    "same": item.same,
                    "files": item.difference.document() if item.difference else None,
                }
                for item in self.data
            ],
            "weights": self.weights.document(),
        }


def compare(
    source: ArtifactSource,
    store: VersionStore,
    config: Config,
    sides: tuple[Located, Located],
    directions: Directions,
) -> Comparison:
    """Put two versions beside each other.

    Args:
        source: W&B.
        store: Oxen.
        config: where versions lie.
        sides: what is in production, and the candidate; both are in Oxen.
        directions: see there.
    """
    before, after = sides
    commits = [side.point.commit for side in sides if side.point.commit is not None]
    assert len(commits) == len(sides), "both are in Oxen"
    runs = tuple(_run(source, side.version.run) for side in sides)
    return Comparison(
        before=_side(before, runs[0]),
        after=_side(after, runs[1]),
        metrics=tuple(metrics(_summary(runs[0]), _summary(runs[1]), directions)),
        config=tuple(settings(_config(runs[0]), _config(runs[1]))),
        data=tuple(_data(store, config, used(runs[0]), used(runs[1]))),
        weights=rows_compared(
            *(
                commit_rows(store, commit, side.point.folder)
                for commit, side in zip(commits, sides, strict=True)
            )
        ),
    )


def metrics(
    before: Mapping[str, Any], after: Mapping[str, Any], directions: Directions
) -> Iterator[Metric]:
    """The numbers of two summaries, by name; categories within one become `metric.category`."""
    olds, news = dict(_numbers(before)), dict(_numbers(after))
    for name in sorted({*olds, *news}):
        old, new = olds.get(name), news.get(name)
        if all(value is None or not math.isfinite(value) for value in (old, new)):
            continue
        yield Metric(name=name, before=old, after=new, verdict=_verdict(old, new, directions, name))


def settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Setting]:
    """The keys of two configs that differ, by name; what is nested becomes `key.inner`."""
    olds, news = dict(_flat(before)), dict(_flat(after))
    for key in sorted({*olds, *news}):
        old, new = olds.get(key), news.get(key)
        if not _equal(old, new):
            yield Setting(key=key, before=old, after=new)


def _equal(old: Any, new: Any) -> bool:
    """Whether two values of JSON are the same; NaN, which W&B knows in JSON, is itself."""
    return bool(old == new) or json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def _verdict(before: float | None, after: float | None, directions: Directions, name: str) -> str:
    if before is None or after is None:
        return ""
    if before == after:
        return "same"
    direction = directions.of(name)
    if not direction:
        return ""
    if not (math.isfinite(before) and math.isfinite(after)):  # a training that diverged
        return "worse" if math.isfinite(before) else "better"
    return "better" if (after - before) * direction > 0 else "worse"


def _numbers(summary: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in _flat(summary):
        if value in _NO_NUMBERS:
            yield name, math.nan
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value if math.isfinite(value) else math.nan


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, name)
        else:
            yield name, value


def _run(source: ArtifactSource, ref: RunRef | None) -> Run | None:
    try:
        return source.run(ref) if ref else None
    except NotFoundError:
        return None  # deleted since; the versions are there all the same


def _summary(run: Run | None) -> Mapping[str, Any]:
    return run.summary if run else {}


def _config(run: Run | None) -> dict[str, Any]:
    known = run.config if run else {}
    return {key: value for key, value in known.items() if key not in _PLACES}


def _side(found: Located, run: Run | None) -> Side:
    return Side(
        version=found.point.logged,
        reference=str(found.version.ref),
        commit=str(found.point.commit),
        run=str(found.version.run) if found.version.run else None,
        state=run.state if run else "",
    )


def _data(
    store: VersionStore, config: Config, before: Sequence[Data], after: Sequence[Data]
) -> Iterator[DataChange]:
    """What was taken, by collection; several versions of one are told one by one."""
    olds, news = _by_collection(before), _by_collection(after)
    for name in sorted({*olds, *news}):
        was, now = olds.get(name, []), news.get(name, [])
        common = [item for item in was if item in now]
        pairs = [(item, item) for item in common]
        left = [item for item in was if item not in common]
        right = [item for item in now if item not in common]
        longest = max(len(left), len(right))
        padded = [[*items, *[None] * (longest - len(items))] for items in (left, right)]
        for old, new in [*pairs, *zip(*padded, strict=True)]:
            found = None
            if old and new and old != new and old.commit and new.commit:
                folder = ""
                if new.artifact:
                    _, folder = place(ArtifactRef.parse(new.artifact), new.type, config)
                found = difference(store, old.commit, new.commit, folder=folder)
            yield DataChange(collection=name, before=old, after=new, difference=found)


def _by_collection(items: Sequence[Data]) -> dict[str, list[Data]]:
    found: dict[str, list[Data]] = {}
    for item in items:
        name = collection_of(item.artifact) or (str(item.commit.repo) if item.commit else "")
        found.setdefault(name, []).append(item)
    return found

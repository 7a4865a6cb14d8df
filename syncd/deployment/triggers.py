"""Triggers: somebody is told once of each version that has come to be in Oxen.

A version is enlisted when everything about its replacement is done but the mark that it is complete:
whatever fails or is killed between the two is done again, and enlists it again, which is once. It is
told of by whoever looks next: `syncd run` every few seconds, `syncd backfill` at its end. At least
once: after a kill or a lost answer the same is told under the same key. What fails is tried again for
some hours, then left for a person to see; the version itself is not held up by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from syncd import log
from syncd.catalog.catalog import Catalog
from syncd.catalog.firings import DONE, DUE, FAILED, Firing
from syncd.clients.artifacts import Version
from syncd.config import Config
from syncd.config.hooks import Trigger
from syncd.deployment.tell import tell
from syncd.errors import SyncdError, UsageError
from syncd.promotion.located import folder
from syncd.replacements import Published, Replacement, published_of, replacement_of

ATTEMPTS = 8  # over some four hours
FIRST_WAIT = 60.0  # seconds, doubled each time
SPARE = 60.0  # seconds beyond its timeout for which a firing belongs to whoever began it
Tell = Callable[[Trigger, Firing, Mapping[str, str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """How many triggers were told, and which could not be."""

    done: int
    failed: tuple[Firing, ...]


def enlist(catalog: Catalog, config: Config, version: Version) -> None:
    """Let the triggers fire that a version in Oxen matches; those that ever did are left alone.

    Args:
        catalog: where they wait.
        config: names them.
        version: a replacement, or a version that was born in Oxen, as it is now.
    """
    if not config.triggers:
        return  # every version of every look comes by here
    link = replacement_of(version.metadata, version.digest) or published_of(
        version.metadata, version.digest
    )
    if link is None:
        return
    for name, trigger in config.triggers.items():
        if matches(trigger, version):
            key = f"{name}:{version.id}"
            told = document(name, key, version, link, config)
            catalog.firings.enlist(key, name, told["version"], told)


def matches(trigger: Trigger, version: Version) -> bool:
    """Whether a version is one that a trigger waits for."""
    facets: tuple[tuple[Iterable[str], Iterable[str]], ...] = (
        (trigger.types, (version.type,)),
        (trigger.collections, (version.ref.collection,)),
        (trigger.aliases, version.aliases),
    )
    return all(
        not patterns or any(fnmatchcase(value, glob) for value in values for glob in patterns)
        for patterns, values in facets
    )


def document(
    name: str, key: str, version: Version, link: Replacement | Published, config: Config
) -> dict[str, Any]:
    """What a trigger is told; `files` is the address below which the version's files are served."""
    repo, inner = link.commit.repo, folder(link)
    base = (
        f"{config.references.base_url.rstrip('/')}/api/repos/{quote(repo.namespace, safe='')}/"
        f"{quote(repo.repo, safe='')}/file/{link.commit.commit}/"
    )
    return {
        "trigger": name,
        "key": key,
        "version": link.source_version if isinstance(link, Replacement) else str(version.ref),
        "reference": str(version.ref),
        "type": version.type,
        "aliases": sorted(version.aliases),
        "repo": str(repo),
        "commit": link.commit.commit,
        "oxen": str(link.commit),
        "folder": inner,
        "files": f"{base}{quote(inner)}/" if inner else base,
        "run": str(version.run) if version.run else None,
    }


def variables(told: Mapping[str, Any]) -> dict[str, str]:
    """The same for a command's environment: SYNCD_TRIGGER, SYNCD_VERSION, SYNCD_OXEN, ..."""
    names = ("trigger", "version", "reference", "type", "repo", "commit", "oxen", "folder", "files")
    return {f"SYNCD_{name.upper()}": str(told[name]) for name in names}


def _tell(trigger: Trigger, firing: Firing, names: Mapping[str, str]) -> str:
    return tell(trigger, firing.detail, key=firing.key, variables=names)


def fire(
    catalog: Catalog,
    config: Config,
    *,
    told: Tell = _tell,
    clock: Callable[[], float] = time.time,
    going: Callable[[], bool] = lambda: True,
) -> Fired:
    """Tell all triggers that are due; what fails is due again later, or given up.

    Args:
        catalog: where they wait.
        config: says how they are told.
        told: tells one.
        clock: Unix seconds.
        going: whether another one may be begun.
    """
    done, failed = 0, list[Firing]()
    for firing in catalog.firings.due(clock()):
        if not going():
            break
        trigger = config.triggers.get(firing.trigger)
        lasts = trigger.timeout.total_seconds() if trigger else 0.0
        if not catalog.firings.claim(firing, until=clock() + lasts + SPARE):
            continue  # another machine tells it
        try:
            if trigger is None:
                raise UsageError(
                    f"the configuration has no trigger {firing.trigger!r} any more",
                    hint=f"Write [triggers.{firing.trigger}], then `syncd trigger retry`.",
                )
            told(trigger, firing, variables(firing.detail))
        except SyncdError as error:
            _put_off(catalog, firing, error, clock())
            failed.append(firing)
            continue
        catalog.firings.settle(firing.key, DONE)
        done += 1
        log.get().info(log.Life.TRIGGER_FIRED, trigger=firing.trigger, artifact=firing.version)
    return Fired(done=done, failed=tuple(failed))


def retry(catalog: Catalog, keys: Iterable[str]) -> int:
    """Let triggers that were given up fire again soon; how many there were."""
    return sum(catalog.firings.settle(key, DUE) for key in keys)


def _put_off(catalog: Catalog, firing: Firing, error: SyncdError, now: float) -> None:
    attempts = firing.attempts + 1
    last = attempts >= ATTEMPTS or isinstance(error, UsageError)
    wait = FIRST_WAIT * 2 ** (attempts - 1)
    catalog.firings.settle(
        firing.key,
        FAILED if last else DUE,
        attempts=attempts,
        next_at=now + wait,
        error=str(error),
        hint=error.hint,
    )
    log.get().warning(
        log.Life.TRIGGER_FAILED,
        trigger=firing.trigger,
        artifact=firing.version,
        attempts=attempts,
        error=str(error),
        hint=error.hint,
    )

"""`/metrics`: figures for Prometheus, made at each scrape from the catalog and the signs of life.

Nothing is counted in the mover for this: what it did stands in the catalog, what it does in its
beat. Figures that sum over the catalog fall when versions are forgotten, as a counter does when its
program starts anew. `METRICS` is the list that docs, dashboard and alerts are tested against.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from syncd.catalog.catalog import Catalog
from syncd.catalog.pulse import ENGINE, GONE, Beat
from syncd.clients.artifacts import utc
from syncd.web.health import OLD, readiness, waiting_for
from syncd.web.inbox import Inbox

# Name without the ending of counters -> what it says, and its labels.
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "syncd_moved_bytes": ("Bytes of W&B that became references to Oxen.", ("project",)),
    "syncd_deduplicated_bytes": ("Of the moved bytes, those Oxen had already.", ("project",)),
    "syncd_downloaded_bytes": ("Payload read from W&B.", ("project",)),
    "syncd_uploaded_bytes": ("Payload written to Oxen.", ("project",)),
    "syncd_freed_bytes": ("Bytes that removing versions from W&B was to free.", ()),
    "syncd_errors": (
        "Versions that failed for good since the engine started.",
        ("engine", "stage"),
    ),
    "syncd_webhooks": ("Webhook requests by what became of them.", ("outcome",)),
}
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "syncd_ready": ("1 when /readyz answers 200.", ()),
    "syncd_versions": ("Versions of W&B by state.", ("project", "state")),
    "syncd_quarantined": ("Versions that failed for good, by the stage that failed.", ("stage",)),
    "syncd_lag_seconds": ("Age of what was last seen to be unsynced, as the engine tells.", ("project",)),
    "syncd_oldest_unsynced_seconds": ("Age of the oldest version that waits or moves.", ("project",)),
    "syncd_last_poll_timestamp_seconds": ("When a project was last asked for news.", ("project",)),
    "syncd_last_verify_timestamp_seconds": ("When a content was last read back from Oxen.", ()),
    "syncd_damaged_contents": ("Contents that were read back and found wrong.", ()),
    "syncd_queue_versions": ("Versions in the engine's queue.", ("engine",)),
    "syncd_transfers": ("Versions whose bytes travel now.", ("engine",)),
    "syncd_transfer_bytes_per_second": ("Rate of what travels now.", ("engine",)),
    "syncd_limiter": ("What the engine's limiter says, by its own words.", ("engine", "name")),
    "syncd_waiting": ("1 while the engine waits for W&B, Oxen or disk space.", ("engine",)),
    "syncd_phase": ("1 for the phase the engine is in.", ("engine", "phase")),
    "syncd_beat_age_seconds": ("Time since a process gave its last sign of life.", ("process",)),
    "syncd_hints_waiting": ("Webhook hints that no engine has taken yet.", ()),
}  # fmt: skip
METRICS = frozenset({*GAUGES, *(f"{name}_total" for name in COUNTERS)})


class Figures(Collector):
    """What the catalog and the processes tell, as metrics.

    Args:
        catalog: what the processes share.
        inbox: this process's own part.
        clock: Unix seconds.
    """

    def __init__(self, catalog: Catalog, inbox: Inbox, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._inbox = inbox
        self._clock = clock

    def describe(self) -> Iterator[Metric]:
        """The metrics without their values; asked for at registration."""
        yield from _families().values()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now; of a catalog that cannot be read, that alone."""
        now, values = self._clock(), Values()
        ready = readiness(self._catalog, self._inbox, now)
        values.add("syncd_ready", 0.0 if ready.reasons else 1.0)
        for outcome, count in self._inbox.detail()["webhooks"].items():
            values.add("syncd_webhooks", count, outcome)
        if ready.readable:
            self._from_catalog(values.add, now)
            for beat in self._catalog.pulse.beats():
                if now - beat.at <= GONE:
                    values.add("syncd_beat_age_seconds", max(0.0, now - beat.at), beat.name)
                if now - beat.at <= OLD and beat.name.startswith(ENGINE):
                    _from_engine(values.add, beat, beat.name.removeprefix(ENGINE))
        yield from values.families()

    def _from_catalog(self, add: Callable[..., None], now: float) -> None:
        panels = self._catalog.panels
        for tally in panels.projects():
            add("syncd_moved_bytes", tally.moved_bytes, tally.name)
            add("syncd_deduplicated_bytes", tally.deduplicated, tally.name)
            add("syncd_downloaded_bytes", tally.downloaded, tally.name)
            add("syncd_uploaded_bytes", tally.uploaded, tally.name)
            since = seconds(tally.waiting_since)
            age = 0.0 if since is None else max(0.0, now - since)
            add("syncd_oldest_unsynced_seconds", age, tally.name)
        for (project, state), count in panels.states().items():
            add("syncd_versions", count, project, state)
        for stage, count in panels.failed_stages().items():
            add("syncd_quarantined", count, stage)
        proofs = panels.proofs()
        add("syncd_last_verify_timestamp_seconds", seconds(proofs.last_at) or 0.0)
        add("syncd_damaged_contents", proofs.bad)
        add("syncd_freed_bytes", panels.freed())
        add("syncd_hints_waiting", len(self._catalog.pulse.hints()))


class Values:
    """Samples by name and labels; of two for the same, as two engines may tell, the larger."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, tuple[str, ...]], float] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        """Take a sample."""
        key = (name, labels)
        self._found[key] = max(value, self._found.get(key, value))

    def families(self) -> Iterator[Metric]:
        """All metrics with their samples."""
        families = _families()
        for (name, labels), value in self._found.items():
            families[name].add_metric(labels, value)
        yield from families.values()


def metrics_text(
    catalog: Catalog, inbox: Inbox, accept: str, clock: Callable[[], float] = time.time
) -> tuple[bytes, str]:
    """One scrape: the text, and its content type.

    Args:
        catalog: what the processes share.
        inbox: this process's own part.
        accept: the header, which chooses the format.
        clock: Unix seconds.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures(catalog, inbox, clock))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def seconds(text: str) -> float | None:
    """Unix seconds of a time as catalog and W&B write it; None when there is none."""
    try:
        return utc(text).timestamp()
    except ValueError:
        return None


def number(value: Any) -> float | None:
    """A number that a process told, None when it is something else."""
    return float(value) if isinstance(value, int | float) else None


def _from_engine(add: Callable[..., None], beat: Beat, engine: str) -> None:
    detail = beat.detail
    for key, name in (
        ("lag", "syncd_lag_seconds"),
        ("last_poll", "syncd_last_poll_timestamp_seconds"),
    ):
        for project, value in _items(detail, key):
            if (told := number(value)) is not None:
                add(name, told, project)
    for key, name in (("limiter", "syncd_limiter"), ("errors", "syncd_errors")):
        for label, value in _items(detail, key):
            if (told := number(value)) is not None:
                add(name, told, engine, label)
    add("syncd_queue_versions", number(detail.get("queue")) or 0.0, engine)
    add("syncd_waiting", 1.0 if waiting_for(beat) else 0.0, engine)
    add("syncd_phase", 1.0, engine, str(detail.get("phase", "unknown")))
    transfers = [item for item in detail.get("transfers") or () if isinstance(item, Mapping)]
    add("syncd_transfers", len(transfers), engine)
    rates = [number(item.get("rate")) or 0.0 for item in transfers]
    add("syncd_transfer_bytes_per_second", sum(rates), engine)


def _items(detail: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """The members of an object in a beat; nested ones by their path with dots."""
    found = detail.get(key)
    for name, value in found.items() if isinstance(found, Mapping) else ():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", deep) for inner, deep in value.items())
        else:
            yield str(name), value


def _families() -> dict[str, Any]:
    counters = {
        name: CounterMetricFamily(name, text, labels=labels)
        for name, (text, labels) in COUNTERS.items()
    }
    gauges = {
        name: GaugeMetricFamily(name, text, labels=labels)
        for name, (text, labels) in GAUGES.items()
    }
    return {**counters, **gauges}

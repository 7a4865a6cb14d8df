"""Figures: what the catalog and the engines tell, in Prometheus's words."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from face_world import TOKEN, beat, client, fill, made_parts, made_up
from prometheus_client.parser import text_string_to_metric_families

from syncd.catalog.catalog import Catalog
from syncd.refs import RepoRef
from syncd.web.inbox import Inbox
from syncd.web.metrics import METRICS, metrics_text, seconds

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
ALERTS = ROOT / "deploy" / "prometheus-alerts.yml"
_NAME = re.compile(r"\bsyncd_[a-z_]+")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(f"sqlite:///{tmp_path}/syncd.db")
    yield made
    made.close()


def scrape(catalog: Catalog, inbox: Inbox | None = None) -> Samples:
    """All samples of a scrape, as Prometheus reads them."""
    text, _ = metrics_text(catalog, inbox or Inbox(catalog), "")
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is told twice, which Prometheus refuses"
            found[key] = sample.value
    return found


def value(samples: Samples, metric: str, /, **labels: str) -> float:
    """One sample."""
    return samples[metric, tuple(sorted(labels.items()))]


def test_the_catalog_is_summed(catalog: Catalog) -> None:
    """States, bytes, failures, proofs, what was freed, and the age of what waits."""
    rows = made_up(200, now=datetime.now(UTC))
    fill(catalog, rows)
    catalog.mark_read_back(RepoRef(namespace="a", repo="b"), ["1", "2"], good=True)
    catalog.mark_read_back(RepoRef(namespace="a", repo="b"), ["3"], good=False)
    catalog.reclaimed("A", 1_000)
    catalog.reclaimed("A", 1_000)
    catalog.pulse.hint("research/project-0", None, at=1.0)
    samples = scrape(catalog)
    own = [row for row in rows if row["project"] == "project-1"]

    assert value(samples, "syncd_versions", project="research/project-1", state="replaced") == len(
        own
    )
    assert value(samples, "syncd_moved_bytes_total", project="research/project-1") == sum(
        row["moved_bytes"] for row in own
    )
    assert value(samples, "syncd_quarantined", stage="transfer") == 2
    assert value(samples, "syncd_damaged_contents") == 1
    assert value(samples, "syncd_freed_bytes_total") == 1_000
    assert value(samples, "syncd_hints_waiting") == 1
    assert abs(value(samples, "syncd_last_verify_timestamp_seconds") - time.time()) < 60
    oldest = value(samples, "syncd_oldest_unsynced_seconds", project="research/project-0")
    assert abs(oldest - timedelta(days=60, hours=1).total_seconds()) < 60


def test_the_engines_are_told_of(catalog: Catalog) -> None:
    """Each one's queue; of what two tell of one project, the larger."""
    now = time.time()
    transfers = [{"rate": 3e6}, {"rate": 4e6}, "no transfer"]
    beat(
        catalog,
        at=now,
        phase="moving",
        queue=7,
        lag={"team/proj": 12.5},
        transfers=transfers,
        errors={"transfer": 2},
        limiter={"allowed": 4, "wandb": {"allowed": 2}},
        waiting_for="disk space",
    )
    catalog.pulse.beat("engine:two", {"lag": {"team/proj": 3.0}, "queue": "many"}, at=now)
    catalog.pulse.beat("engine:old", {"lag": {"team/proj": 999.0}}, at=now - 600)
    samples = scrape(catalog)

    assert value(samples, "syncd_lag_seconds", project="team/proj") == 12.5
    assert value(samples, "syncd_queue_versions", engine="local") == 7
    assert value(samples, "syncd_queue_versions", engine="two") == 0
    assert value(samples, "syncd_transfers", engine="local") == 2
    assert value(samples, "syncd_transfer_bytes_per_second", engine="local") == 7e6
    assert value(samples, "syncd_errors_total", engine="local", stage="transfer") == 2
    assert value(samples, "syncd_limiter", engine="local", name="wandb.allowed") == 2
    assert value(samples, "syncd_waiting", engine="local") == 1
    assert value(samples, "syncd_phase", engine="local", phase="moving") == 1
    assert value(samples, "syncd_beat_age_seconds", process="engine:old") > 500
    assert value(samples, "syncd_ready") == 1


def test_a_catalog_that_cannot_be_read_is_told_as_such(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape never fails: that would hide the reason."""

    def broken() -> None:
        raise OSError("gone")

    monkeypatch.setattr(catalog.pulse, "beats", broken)
    inbox = Inbox(catalog)
    inbox.count("refused")
    samples = scrape(catalog, inbox)

    assert value(samples, "syncd_ready") == 0
    assert value(samples, "syncd_webhooks_total", outcome="refused") == 1


def test_figures_are_behind_the_door(catalog: Catalog) -> None:
    """They name projects. Prometheus shows a read token, where there is one."""
    with client(made_parts(catalog, tokens=frozenset({TOKEN}))) as http:
        closed = http.get("/metrics")
        opened = http.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        probes = [http.get(path).status_code for path in ("/healthz", "/readyz")]

    assert (closed.status_code, opened.status_code) == (401, 200)
    assert "syncd_ready" not in closed.text
    assert opened.headers["content-type"].startswith("text/plain")
    assert probes == [200, 503]  # a probe has no token


def test_dashboard_and_alerts_name_metrics_that_exist() -> None:
    """All of them are used somewhere, too: what nobody looks at need not be told."""
    queries = [
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
        for target in panel["targets"]
    ]
    alerts = re.findall(r"^ +expr: (.+)$", ALERTS.read_text(encoding="utf-8"), re.MULTILINE)
    used = {name for text in [*queries, *alerts] for name in _NAME.findall(text)}

    assert len(queries) > 20
    assert len(alerts) >= 10
    assert used - METRICS == set()
    assert METRICS - used == set()


def test_what_the_documentation_lists_is_what_there_is() -> None:
    """Every metric, and no other."""
    listed = set(_NAME.findall((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")))

    assert listed == METRICS


def test_promtool_takes_the_alerts_and_the_figures(catalog: Catalog) -> None:
    """Prometheus's own check of both."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool not found; Debian has it in the package prometheus")
    beat(catalog, at=time.time(), lag={"team/proj": 1.0})
    fill(catalog, made_up(100))
    text, _ = metrics_text(catalog, Inbox(catalog), "")
    rules = subprocess.run(
        [promtool, "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    figures = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )

    assert rules.returncode == 0, rules.stdout + rules.stderr
    assert figures.returncode == 0, figures.stdout + figures.stderr


def test_a_time_of_wandbs_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the server stands; else an alert is hours late."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert seconds("2026-01-01T12:00:00") == seconds("2026-01-01T12:00:00Z") == 1767268800.0
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()

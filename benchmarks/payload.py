"""Payload from W&B to Oxen: what the machine allows, what a user's script takes, what syncd takes.

`python -m benchmarks.payload [--quick]` does all of it in one run on one machine, baseline and syncd
in turn. It starts a W&B sandbox and an oxen-server (named by SYNCD_OXEN_SERVER; without one, the
embedded store is measured alone). All of it writes `latest.json` and, when no step failed, the tables
of docs/benchmarks.md; `--quick` writes nothing. The last line is the ratios as JSON. Clients and
servers share the cores: ratios say more than seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.cases import FULL, QUICK, Case, Scale
from benchmarks.machine import say
from benchmarks.report import ratios, tables
from benchmarks.runs import Bench, Figures
from benchmarks.tables import publish
from syncd.testing.oxen_process import find_server, oxen_server

_LATEST = Path(__file__).with_name("latest.json")
_STORES = ("server", "embedded")


class _Run:
    """Collects figures; what fails is told, kept, and does not stop the rest."""

    def __init__(self) -> None:
        self.failed = 0

    def do(self, what: str, action: Callable[[], Figures]) -> Figures:
        try:
            figures = action()
        except Exception as error:  # noqa: BLE001  hours of other figures must not be lost
            self.failed += 1
            say(f"{what}: FAILED: {error}")
            return {"error": str(error)[-2000:]}
        shown = {key: round(value, 3) for key, value in figures.items() if isinstance(value, float)}
        say(f"{what}: {shown}")
        return figures


def _measure(bench: Bench, scale: Scale, stores: Sequence[str], run: _Run) -> Figures:
    found: Figures = {}
    for case in scale.timed:
        rounds = []
        for number in range(1, scale.rounds + 1):
            name = f"{case.title}, round {number}"
            figures: Figures = {"limits": run.do(f"{name}: limits", lambda c=case: bench.limits(c))}  # type: ignore[misc]
            for store in stores:
                figures[store] = _pair(bench, case, store, run, name)
            rounds.append(figures)
        found[case.name] = {"title": case.title, "bytes": case.total, "rounds": rounds}
    for shared in scale.shared:
        figures = {store: _pair(bench, shared, store, run, shared.title) for store in stores}
        sizes = {"bytes": shared.total, "unique": shared.unique}
        found[shared.name] = {"title": shared.title, **sizes, "rounds": [figures]}
    return found


def _pair(bench: Bench, case: Case, store: str, run: _Run, name: str) -> Figures:
    embedded, twice = store == "embedded", case.versions > 1
    return {
        "baseline": run.do(
            f"{name}: {store}, baseline", lambda: bench.baseline(case, embedded=embedded)
        ),
        "syncd": run.do(
            f"{name}: {store}, syncd", lambda: bench.syncd(case, embedded=embedded, twice=twice)
        ),
    }


def _line(bench: Bench, scale: Scale, stores: Sequence[str], run: _Run) -> Figures:
    found: Figures = {}
    for case in scale.large:
        name = f"{case.title}, over a line"
        figures: Figures = {
            "limits": run.do(f"{name}: limits", lambda c=case: bench.limits(c, line=True))  # type: ignore[misc]
        }
        for store in stores:
            figures[store] = run.do(
                f"{name}: {store}, syncd",
                lambda c=case, e=store == "embedded": bench.syncd(c, embedded=e, line=True),  # type: ignore[misc]
            )
        found[case.name] = {"title": case.title, "rounds": [figures]}
    return found


def _interrupt(bench: Bench, scale: Scale, stores: Sequence[str], run: _Run) -> Figures:
    found: Figures = {}
    for case in scale.cut:
        for store in stores:
            for what, kill in (("cut", False), ("kill -9", True)):
                name = f"{case.title}, {what}: {store}"
                found[name] = run.do(
                    name,
                    lambda c=case, e=store == "embedded", k=kill: (  # type: ignore[misc]
                        bench.interrupted(c, embedded=e, kill=k)
                    ),
                )
    return found


def _machine(load: float) -> dict[str, Any]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    names = ("wandb", "oxenai", "urllib3", "httpx")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": load,
        "versions": {name: version(name) for name in names},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, and write it down unless it was little.

    Returns:
        1 when a step failed.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="little of everything, in a minute")
    parser.add_argument("--dir", type=Path, help="where to work; needs 30 GiB without --quick")
    parser.add_argument("--rounds", type=int, help="how often each timed case is repeated")
    parser.add_argument("--only", help="the cases whose names begin so; writes nothing")
    parser.add_argument("--store", choices=_STORES, help="this one alone; writes nothing")
    chosen = parser.parse_args(argv)
    scale, load, run = QUICK if chosen.quick else FULL, os.getloadavg()[0], _Run()
    scale = scale.limited(only=chosen.only or "", rounds=chosen.rounds or scale.rounds)
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    server = find_server()
    stores = _STORES if server else _STORES[1:]
    if chosen.quick and server:
        stores = _STORES[:1]
    if chosen.store == "server" and server is None:
        parser.error("no oxen-server to measure: set SYNCD_OXEN_SERVER")
    if chosen.store:
        stores = (chosen.store,)
    if server is None:
        say("oxen-server not found: the embedded store is measured alone; set SYNCD_OXEN_SERVER")
    folder = Path(tempfile.mkdtemp(prefix="syncd-bench-", dir=chosen.dir))
    try:
        with ExitStack() as stack:
            oxen = stack.enter_context(oxen_server(folder / "oxen")) if server else None
            bench = Bench(folder, scale, oxen)
            say(f"logged with the SDK in {bench.prepare().seconds:.1f} s")
            cases = _measure(bench, scale, stores, run)
            line = _line(bench, scale, stores, run)
            interruptions = _interrupt(bench, scale, stores, run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        "begun": begun,
        "machine": _machine(load),
        "cases": cases,
        "line": line,
        "interruptions": interruptions,
        "ratios": ratios(cases, line, interruptions),
    }
    for text in tables(result).values():
        say(f"\n{text}")
    if not (chosen.quick or chosen.only or chosen.store):
        _LATEST.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        for name, text in tables(result).items() if not run.failed else ():
            publish(name, text)
    say(json.dumps(result["ratios"]))
    return int(run.failed > 0)


if __name__ == "__main__":
    sys.exit(main())

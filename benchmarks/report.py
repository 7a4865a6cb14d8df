"""What the figures of a run say: medians, ratios and tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.cases import LINE, MIB
from benchmarks.tables import table

Figures = Mapping[str, Any]
_STORES = {"server": "oxen-server", "embedded": "embedded store"}
_HASHED = "get and put and digest"
_STAGES = ("transfer", "commit", "verify", "replace")
_MOVING = ("transfer", "commit")
_PUSHED = ("download", "add", "commit", "push")


def _median(case: Figures, *path: str) -> float | None:
    """The median over the rounds of the figure at this path; None where there is none."""
    values = []
    for number in case["rounds"]:
        value: Any = number
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            values.append(float(value))
    return statistics.median(values) if values else None


def _sum(case: Figures, *path: str, keys: tuple[str, ...]) -> float | None:
    parts = [_median(case, *path, key) for key in keys]
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else round(one / other, 2)


def _baseline(case: Figures, store: str) -> float | None:
    return _sum(case, store, "baseline", "stages", keys=_PUSHED)


def _moving(case: Figures, store: str) -> float | None:
    return _sum(case, store, "syncd", "stages", keys=_MOVING)


def _over_line(case: Figures, store: str) -> tuple[float | None, float | None, float | None]:
    """Over a line: seconds of the slower limit, of transfer and commit, and the share of the limit's pace."""
    limits = [_median(case, "limits", name) for name in ("get", "put")]
    if store == "embedded":
        del limits[1]
    known = [limit for limit in limits if limit is not None]
    slower = max(known) if known else None
    moving = _sum(case, store, "stages", keys=_MOVING)
    return slower, moving, _over(slower, moving)


def _limit(case: Figures, store: str) -> float | None:
    return _median(case, "limits", _HASHED if store == "server" else "get")


def ratios(cases: Figures, line: Figures, interruptions: Figures) -> dict[str, float]:
    """The figures that survive a change of machine, None left out."""
    found: dict[str, float | None] = {}
    for name, case in cases.items():
        for store in _STORES:
            moving = _moving(case, store)
            whole = _median(case, store, "syncd", "seconds")
            script = _median(case, store, "baseline", "seconds")
            key = f"{name}.{store}"
            found[f"{key}.baseline_over_transfer_and_commit"] = _over(
                _baseline(case, store), moving
            )
            found[f"{key}.baseline_over_whole_path"] = _over(script, whole)
            found[f"{key}.transfer_and_commit_over_limit"] = _over(moving, _limit(case, store))
            if "unique" in case:
                moved = _median(case, store, "syncd", "downloaded")
                found[f"{key}.bytes_over_unique"] = _over(moved, case["unique"])
                again = _median(case, store, "syncd", "again", "requests_per_100")
                found[f"{key}.idle_requests_per_100_versions"] = again
    for name, case in line.items():
        for store in _STORES:
            found[f"{name}.{store}.line.limit_over_transfer_and_commit"] = _over_line(case, store)[
                2
            ]
    for name, figures in interruptions.items():
        for key in ("downloaded_again", "uploaded_again"):
            if key in figures:
                found[f"{name}.{key}_parts"] = round(figures[key], 2)
    return {key: value for key, value in found.items() if value is not None}


def tables(result: Figures) -> dict[str, str]:
    """The tables of docs/benchmarks.md, by the name of their place there."""
    made = {"machine": _machine(result)}
    for store, title in _STORES.items():
        parts = (_times(result, store), _stages(result, store), _costs(result, store))
        made[title] = "\n\n".join(parts) if _measured(result, store) else "Not measured."
    made["over a line"] = _line(result)
    made["versions that share"] = _shared(result)
    made["interruptions"] = _interruptions(result)
    return made


def _machine(result: Figures) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, {versions}; load before: {machine['load_before']:.2f}; "
        f"{result['begun']}"
    )


def _measured(result: Figures, store: str) -> list[Figures]:
    cases = result["cases"].values()
    return [case for case in cases if _median(case, store, "baseline", "seconds") is not None]


def _times(result: Figures, store: str) -> str:
    head = ["seconds", "limit: GET", "limit: PUT", "limit: both", "limit: hashed", "script", "syncd: transfer + commit",
            "script / syncd", "syncd / limit", "script, process", "syncd, process", "whole / whole"]  # fmt: skip
    rows = []
    for case in _measured(result, store):
        script, moving = _baseline(case, store), _moving(case, store)
        whole = _median(case, store, "syncd", "seconds")
        process = _median(case, store, "baseline", "seconds")
        limits = [_median(case, "limits", key) for key in ("get", "put", "get and put", _HASHED)]
        compared = [_over(script, moving), _over(moving, _limit(case, store))]
        compared += [process, whole, _over(process, whole)]
        rows.append([case["title"], *limits, script, moving, *compared])
    return table(head, rows)


def _stages(result: Figures, store: str) -> str:
    head = ["seconds", *(f"script: {name}" for name in _PUSHED), *(f"syncd: {s}" for s in _STAGES)]
    rows = [
        [
            case["title"],
            *(_median(case, store, "baseline", "stages", name) for name in _PUSHED),
            *(_median(case, store, "syncd", "stages", name) for name in _STAGES),
        ]
        for case in _measured(result, store)
    ]
    return table(head, rows)


def _costs(result: Figures, store: str) -> str:
    kinds = {"peak_mib": "peak MiB", "written_mib": "MiB written", "cpu": "CPU s"}
    kinds |= {"server_written_mib": "server MiB written", "server_cpu": "server CPU s"}
    head, rows = ["process"], []
    for title in kinds.values():
        head += [f"{title}: script", "syncd"]
    for case in _measured(result, store):
        row: list[object] = [f"{case['title']} ({case['bytes'] / MIB:,.0f} MiB)"]
        for key in kinds:
            row += [_median(case, store, who, key) for who in ("baseline", "syncd")]
        rows.append(row)
    return table(head, rows)


def _line(result: Figures) -> str:
    gbits = LINE * 8 / 1e9
    head = [f"seconds, {gbits:g} Gbit/s", "limit: GET", "limit: PUT"]
    for title in _STORES.values():
        head += [f"syncd: transfer + commit, {title}", "limit / syncd"]
    rows = []
    for case in result["line"].values():
        row: list[object] = [case["title"]]
        row += [_median(case, "limits", name) for name in ("get", "put")]
        for store in _STORES:
            row += _over_line(case, store)[1:]
        rows.append(row)
    return table(head, rows)


def _shared(result: Figures) -> str:
    head = ["store", "MiB in all", "unique MiB", "MiB moved: script", "syncd", "moved / unique",
            "requests", "idle again: MiB", "requests", "requests per 100 versions", "seconds"]  # fmt: skip
    rows = []
    for case in (case for case in result["cases"].values() if "unique" in case):
        for store, title in _STORES.items():
            moved = _median(case, store, "syncd", "downloaded")
            if moved is None:
                continue
            again = [_median(case, store, "syncd", "again", key)
                     for key in ("bytes", "requests", "requests_per_100", "seconds")]  # fmt: skip
            script = _median(case, store, "baseline", "downloaded")
            sizes = [case["bytes"], case["unique"], script, moved]
            shown = [None if size is None else size / MIB for size in sizes]
            asked = _median(case, store, "syncd", "requests")
            idle = [(again[0] or 0.0) / MIB, *again[1:]]
            rows.append([title, *shown, _over(moved, case["unique"]), asked, *idle])
    return table(head, rows)


def _interruptions(result: Figures) -> str:
    head = ["parts of 10 MiB that travelled again", "from W&B", "to Oxen"]
    rows = [
        [
            name,
            "failed" if "error" in figures else figures["downloaded_again"],
            figures.get("uploaded_again"),
        ]
        for name, figures in result["interruptions"].items()
    ]
    return table(head, rows)

"""What a run streams: history, events, console lines, the summary, the heartbeat and the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syncd.sandbox.errors import SandboxError
from syncd.sandbox.state.database import Database, dumps, now
from syncd.sandbox.state.records import Run

HISTORY = "wandb-history.jsonl"
EVENTS = "wandb-events.jsonl"
SUMMARY = "wandb-summary.json"
CONSOLE = "output.log"

_COUNTERS = {HISTORY: "history_line_count", EVENTS: "events_line_count", CONSOLE: "log_line_count"}


def _kind(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "unknown"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "map"


def _row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise SandboxError("a history line is not JSON", status=400) from error
    if not isinstance(row, dict):
        raise SandboxError("a history line is not a JSON object", status=400)
    return row


def _learn_keys(run: Run, lines: Iterable[str]) -> str:
    known = json.loads(run.history_keys)
    for row in map(_row, lines):
        known["lastStep"] = max(known["lastStep"], int(row.get("_step", -1)))
        for key, value in row.items():
            counts = known["keys"].setdefault(key, {"typeCounts": []})["typeCounts"]
            kind = _kind(value)
            for entry in counts:
                if entry["type"] == kind:
                    entry["count"] += 1
                    break
            else:
                counts.append({"type": kind, "count": 1})
    return dumps(known)


def append(db: Database, run: Run, stream: str, offset: int, content: Sequence[str]) -> None:
    """Store lines of one stream from line `offset` on; rewritten lines replace the old ones."""
    if not content:
        return
    if stream == SUMMARY:
        db.update("runs", run.id, summary_metrics=content[-1])
        return
    sql = "INSERT OR REPLACE INTO run_lines (run_id, stream, number, content) VALUES (?, ?, ?, ?)"
    db.many(sql, [(run.id, stream, offset + i, line) for i, line in enumerate(content)])
    counter = _COUNTERS.get(stream)
    if counter is None:
        return
    lines = max(int(getattr(run, counter)), offset + len(content))
    db.update("runs", run.id, **{counter: lines})
    if stream == HISTORY:
        db.update("runs", run.id, history_keys=_learn_keys(run, content))


def beat(
    db: Database, run: Run, *, complete: bool, exit_code: int | None, preempting: bool
) -> None:
    """Note a sign of life, or the end of the run."""
    state = "running"
    if complete:
        state = "finished" if not exit_code else "preempted" if preempting else "failed"
    time = now()
    db.update("runs", run.id, state=state, exit_code=exit_code, heartbeat_at=time, updated_at=time)


def tail(db: Database, run: Run, stream: str, lines: int = 1) -> list[str]:
    """The last lines of a stream, in order."""
    sql = """
        SELECT content FROM run_lines WHERE run_id = ? AND stream = ? ORDER BY number DESC LIMIT ?
    """
    return [row[0] for row in reversed(db.rows(sql, (run.id, stream, lines)))]


def _lines(db: Database, run: Run, stream: str) -> list[str]:
    sql = "SELECT content FROM run_lines WHERE run_id = ? AND stream = ? ORDER BY number"
    return [row[0] for row in db.rows(sql, (run.id, stream))]


def sample(values: Sequence[Any], samples: int | None) -> list[Any]:
    """At most `samples` of the values, evenly spread, the last one among them."""
    if samples is None or len(values) <= samples:
        return list(values)
    if samples <= 1:
        return list(values[-1:])
    last = len(values) - 1
    return [values[i * last // (samples - 1)] for i in range(samples)]


def rows(
    db: Database,
    run: Run,
    stream: str = HISTORY,
    *,
    min_step: int | None = None,
    max_step: int | None = None,
    samples: int | None = None,
) -> list[str]:
    """History lines with min_step <= _step < max_step, thinned out to `samples`."""
    lines = _lines(db, run, stream)
    if min_step is not None or max_step is not None:
        low = -1 if min_step is None else min_step
        high = float("inf") if max_step is None else max_step
        lines = [line for line in lines if low <= int(json.loads(line).get("_step", -1)) < high]
    result: list[str] = sample(lines, samples)
    return result


def sampled(db: Database, run: Run, spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows that have all the keys of a spec, cut down to these keys."""
    keys: list[str] = spec.get("keys") or []
    low, high = spec.get("minStep"), spec.get("maxStep")
    found = []
    for line in _lines(db, run, HISTORY):
        row = json.loads(line)
        step = int(row.get("_step", -1))
        if (low is not None and step < low) or (high is not None and step > high):
            continue
        if all(key in row for key in keys):
            found.append({key: row[key] for key in keys} if keys else row)
    result: list[dict[str, Any]] = sample(found, spec.get("samples"))
    return result

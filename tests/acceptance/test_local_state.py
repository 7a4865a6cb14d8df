"""The local state is a cache that may be made anew, and what failed for good gets a second chance."""

from __future__ import annotations

from typing import Any

from acceptance_world import World

MACHINE = {"downloaded", "deduplicated"}  # bytes that one machine moved


def collections(world: World) -> list[dict[str, Any]]:
    """What `syncd status` says of collections, without what only one machine knows."""
    rows = world.syncd("status", "--json").document["collections"]
    return [{key: row[key] for key in row.keys() - MACHINE} for row in rows]


def test_what_failed_is_shown_and_moved_by_a_retry(small: World) -> None:
    """`quarantine list`, `show` and `retry`: nothing else moves, and exit codes tell."""
    small.fault("download:*", "corrupt")
    small.backfill(f"{small.target}/ds:v0", code=3, impatient=True)
    told, shown = small.each(
        ("quarantine", "list"), ("quarantine", "show", f"{small.target}/ds:v0")
    )
    failed = small.syncd("quarantine", "retry", "--all", "--json", code=3, impatient=True).document
    small.heal()
    status, again, left = small.each(
        ("status",), ("quarantine", "retry", f"{small.target}/ds:v0"), ("quarantine", "list")
    )

    listed = told["quarantined"]
    assert [(item["version"], item["stage"], item["attempts"]) for item in listed] == [
        (f"{small.target}/ds:v0", "transfer", 1)
    ]
    assert all(listed[0][key] for key in ("error", "hint", "first_failed_at", "last_failed_at"))
    assert listed[0].items() <= shown.items()
    assert shown["repo"] == "oxen://sandbox/p-ds"
    assert failed["versions"] == {"discovered": 1, "replaced": 0, "skipped": 0, "failed": 1}
    assert [item["attempts"] for item in status["quarantined"]] == [2]
    assert [item["source"] for item in again["replacements"]] == [f"{small.target}/ds:v0"]
    assert left == {"quarantined": []}
    small.syncd("quarantine", "retry", f"{small.target}/ds:v0", code=2)
    small.syncd("quarantine", "retry", code=2)


def test_the_catalog_is_rebuilt_from_wandb_and_oxen(small: World) -> None:
    """Nothing is transferred for it, and nothing moves afterwards."""
    small.backfill()
    before = collections(small)
    for file in small.state.glob("syncd*.db*"):
        file.unlink()
    lost = collections(small)
    small.reset_stats()
    document = small.syncd("catalog", "rebuild", "--json").document
    stats = small.stats()
    after = collections(small)
    report = small.backfill()

    assert lost == []
    assert after == before
    assert document["versions"] == {"replaced": 3}
    assert (document["runs_due"], document["problems"]) == (0, [])
    assert document["contents"] == 7
    assert stats["uploads"] == stats["downloads"] == 0
    assert report["versions"]["replaced"] == 0

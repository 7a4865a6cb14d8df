"""`syncd init`: a first configuration that works, or says what does not."""

from __future__ import annotations

import tomllib
from pathlib import Path

from acceptance_world import World


def test_a_first_configuration_is_written_and_both_ends_are_tried(
    small: World, tmp_path: Path
) -> None:
    """With it the next command works; a file that is there is left alone."""
    file = tmp_path / "made" / "config.toml"
    ends = ("--wandb", small.base_url, "--oxen", (tmp_path / "repos").as_uri())
    words = ("--config", str(file), "init", *ends, "--json")
    listening = {"SYNCD_WEB__BIND": "0.0.0.0:8337"}  # as in a container
    done = small.syncd(
        *words, "--project", small.target, "--references", "http://gw.example", env=listening
    )

    assert done.document == {"file": str(file), "problems": []}
    made = tomllib.loads(file.read_text())
    assert made["wandb"] == {"base_url": small.base_url, "projects": [small.target]}
    assert made["references"] == {"base_url": "http://gw.example"}
    assert "versions" in small.syncd("--config", str(file), "plan", "--json").document

    before = file.read_bytes()
    error = small.syncd(*words, "--project", "a/b", code=2).document["error"]
    assert "is there already" in error["message"]
    assert file.read_bytes() == before


def test_mistakes_are_told_before_anything_is_written(small: World, tmp_path: Path) -> None:
    """And an end that does not answer after it."""
    file = tmp_path / "config.toml.new"
    words = ("--config", str(file), "init", "--wandb", small.base_url, "--json")
    wrong = small.syncd(*words, "--oxen", "oxen.example", "--project", "x", code=2)
    assert {item.partition(":")[0] for item in wrong.document["error"]["problems"]} >= {"oxen.url"}
    assert not file.exists()
    assert list(tmp_path.glob(".config*")) == []

    away = ("--oxen", "http://127.0.0.1:9", "--project", f"{small.entity}/nothing")
    told = small.syncd(*words, *away, code=1, impatient=True).document["problems"]
    assert [item["end"] for item in told] == ["W&B", "Oxen"]
    assert file.exists()


def test_oxen_that_is_away_puts_nothing_into_quarantine(small: World) -> None:
    """It is told once, with what to check, and the next run goes on."""
    away = {"SYNCD_OXEN__URL": "http://127.0.0.1:9"}
    error = small.syncd("backfill", "--json", code=5, env=away, impatient=True).document["error"]
    assert "Oxen is away" in error["message"]
    assert "[oxen] url" in error["hint"]
    assert small.syncd("quarantine", "list", "--json").document["quarantined"] == []
    wrong = {"SYNCD_OXEN__URL": small.base_url}
    error = small.syncd("backfill", "--json", code=1, env=wrong, impatient=True).document["error"]
    assert "is no Oxen server" in error["message"]


def test_what_is_known_beside_the_configuration_and_no_more_in_wandb_is_found(
    small: World,
) -> None:
    """A project that was moved by its name alone; a version that was reclaimed, or deleted."""
    small.backfill()
    text = small.config.read_text().replace(f'projects = ["{small.target}"]', "projects = []")
    small.config.write_text(text)
    name = f"{small.target}/ds:v0"
    rebuilt, verified, before = small.each(("catalog", "rebuild"), ("verify",), ("resolve", name))
    assert rebuilt["versions"] == {"replaced": 3}
    assert verified["verified"] == 3
    assert small.syncd("verify", f"{small.target}/ds:typo", "--json", code=1).document["error"]

    small.sdk(f"wandb.Api().artifact({name!r}).delete(delete_aliases=True)")
    after, _ = small.each(("resolve", name), ("compare", name, f"{small.target}/ds:latest"))
    assert after == before

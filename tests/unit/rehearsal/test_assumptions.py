"""The list of assumptions is whole: each can be found out, and each switch of the sandbox is one."""

from __future__ import annotations

from dataclasses import fields

import pytest

from syncd.errors import PermanentError
from syncd.rehearsal import rehearse
from syncd.rehearsal.assumptions import ASSUMPTIONS, UNKNOWNS
from syncd.rehearsal.checks import CHECKS
from syncd.rehearsal.findings import Outcome
from syncd.rehearsal.probes import PROBES
from syncd.sandbox.settings import Settings

NAMES = [item.id for item in ASSUMPTIONS]


def test_each_assumption_is_found_out_in_one_way() -> None:
    """It is read from the story, or asked, or it is whether references are served."""
    assert sorted([*CHECKS, *PROBES, rehearse.SERVED]) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_each_assumption_says_all_there_is_to_say() -> None:
    """Sentence, source and consequence are there, and the sentences end."""
    for item in ASSUMPTIONS:
        assert item.statement.endswith("."), item.id
        assert item.consequence.endswith("."), item.id
        assert item.source, item.id


def test_each_switch_of_the_sandbox_is_an_assumption() -> None:
    """Where W&B may answer differently, a rehearsal finds out how it does."""
    named = {setting for item in ASSUMPTIONS for setting in item.settings}

    # How quick the line is says nothing of what W&B does.
    assert named == {item.name for item in fields(Settings)} - {"bandwidth"}
    assert all(item.settings for item in UNKNOWNS if PROBES[item.id].__name__ != "probe")


@pytest.mark.parametrize("error", [PermanentError("no"), KeyError("no")])
def test_a_question_that_fails_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """One probe that breaks keeps no other from being asked."""

    def broken(_stage: object) -> None:
        raise error

    [item] = [item for item in ASSUMPTIONS if item.id == "ttl-is-kept"]
    monkeypatch.setattr(rehearse, "PROBES", {item.id: broken})
    found = rehearse._find(item, *[None] * 3)  # type: ignore[arg-type]  # nobody looks at them

    assert found.outcome is Outcome.UNKNOWN
    assert "no" in found.seen

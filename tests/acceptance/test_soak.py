"""Hours of `syncd run`, pressed into seconds here and into minutes by `make soak`."""

from __future__ import annotations

import json
import os

import pytest
from acceptance_soak import Soak
from acceptance_world import World

SECONDS = float(os.environ.get("SYNCD_TEST_SOAK", "18"))  # `make soak` takes 480
LONG = 60.0  # seconds from which memory and files are held against each other
POLL = 5  # seconds


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.nightly
def test_a_long_life_loses_nothing_doubles_nothing_and_leaks_nothing(empty: World) -> None:
    """With a tenth of the requests failing, hints lost and doubled, stops and kills."""
    long = SECONDS >= LONG
    soak = Soak(
        empty,
        seconds=SECONDS,
        every=2.0 if long else 0.5,
        poll=POLL,
        restarts=4 if long else 2,
    )
    figures = soak.run()
    if long:
        print(json.dumps(figures, indent=2))  # noqa: T201 make soak prints it
    audit = empty.syncd("verify", "--json").document
    versions, life = figures["versions"], figures["longest_life"]

    assert versions["moved"] == versions["logged"] == versions["replacements"] > 2
    assert versions["replaced_twice"] == versions["quarantined"] == 0
    assert (audit["verified"], audit["failed"]) == (versions["logged"], 0)
    assert figures["ends"]["kill"] > 0

    if long:
        assert figures["lag_seconds"]["p95"] <= 2 * POLL
        assert max(life["rss_mib"][5:]) <= life["rss_mib"][4] * 1.15
        assert max(life["open_files"][5:]) <= life["open_files"][4] * 1.25

"""Cautions: what is told before a version is replaced, as tables of facts and words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.clients.artifacts import Automation, Membership, Surroundings, Version
from syncd.refs import RunRef
from syncd.testing import MemoryArtifactSource
from syncd.versions.cautions import Facts, cautions, fires

NOW = datetime(2026, 1, 20, tzinfo=UTC)
DAY = 24 * 3600
OWN = Membership(
    collection_id="own", kind="sequence", entity="team", project="proj", collection="ds",
    version_index=0, aliases=("latest", "best"),
)  # fmt: skip
PORTFOLIO = Membership(
    collection_id="port", kind="portfolio", entity="team", project="other", collection="links",
    version_index=0, aliases=("prod",),
)  # fmt: skip
REGISTRY = Membership(
    collection_id="reg", kind="portfolio", entity="org", project="wandb-registry-model",
    collection="Best", version_index=3, aliases=("production",),
)  # fmt: skip


def version(**changes: Any) -> Version:
    """A version of 1 January."""
    return replace(MemoryArtifactSource().log("ds", {"a": b"1"}, tags=["gold"]), **changes)


def facts(
    *places: Membership,
    automations: Mapping[str, Sequence[Automation] | None] | None = None,
    uses: Sequence[tuple[RunRef, str]] = (),
    **changes: Any,
) -> Facts:
    """What W&B tells."""
    made = version(**changes)
    around = Surroundings(version_id=made.id, memberships=(OWN, *places), uses=tuple(uses))
    return Facts(version=made, around=around, automations=automations or {}, now=NOW)


def watch(
    event: str,
    scope: str = "project",
    *,
    where: str = "team",
    name: str = "proj",
    condition: Any = None,
    **changes: Any,
) -> Automation:
    """An automation."""
    made = Automation(
        entity=where,
        name="rule",
        enabled=True,
        event=event,
        scope=scope,  # type: ignore[arg-type]
        scope_id=name,
        scope_name=name,
        condition="" if condition is None else json.dumps(condition),
    )
    return replace(made, **changes)


def told(found: Facts) -> list[tuple[str, str]]:
    """Kinds and words."""
    assert all(item.version == "team/proj/ds:v0" for item in cautions(found))
    return [(item.kind.value, item.text) for item in cautions(found)]


def on(field: str, **tests: Any) -> dict[str, Any]:
    """A condition as the SDK writes it."""
    return {"$or": [{"$and": [{field: {f"${key}": value for key, value in tests.items()}}]}]}


def test_a_version_that_nothing_refers_to_needs_no_word() -> None:
    """Silence is what most versions get."""
    assert told(facts()) == []


@pytest.mark.parametrize(
    ("automation", "fired"),
    [
        (watch("CREATE_ARTIFACT", "collection", name="own"), True),
        (watch("CREATE_ARTIFACT", "collection", name="another"), False),
        (watch("CREATE_ARTIFACT", "collection", name="own", enabled=False), False),
        (watch("CREATE_ARTIFACT", "collection", name="reg"), False),  # versions are linked there
        (watch("LINK_MODEL", "collection", name="reg", where="org"), True),
        (watch("LINK_MODEL", name="wandb-registry-model", where="org"), True),
        (watch("LINK_MODEL", name="wandb-registry-other", where="org"), False),
        (watch("LINK_MODEL", "entity", name="org", where="org"), True),
        (watch("LINK_MODEL"), False),  # the portfolio is in another project
        (watch("LINK_MODEL", name="other"), True),
        (watch("LINK_MODEL", name="other", where="org"), False),  # a namesake
        (watch("ADD_ARTIFACT_ALIAS"), True),
        (watch("ADD_ARTIFACT_ALIAS", condition={"$or": [{"$and": []}]}), True),  # no condition
        (watch("ADD_ARTIFACT_ALIAS", condition=on("alias", eq="best")), True),
        (watch("ADD_ARTIFACT_ALIAS", condition=on("alias", eq="prod")), False),  # held elsewhere
        (watch("ADD_ARTIFACT_ALIAS", name="other", condition=on("alias", eq="prod")), True),
        (watch("ADD_ARTIFACT_ALIAS", name="other", condition=on("alias", eq="latest")), True),
        (watch("ADD_ARTIFACT_ALIAS", condition=on("alias", regex="^be")), True),
        (watch("ADD_ARTIFACT_ALIAS", condition=on("alias", regex="^x")), False),
        (watch("ADD_ARTIFACT_ALIAS", condition=on("alias", regex="(")), True),  # not understood
        (watch("ADD_ARTIFACT_ALIAS", condition=on("alias", novel="x")), True),
        (watch("ADD_ARTIFACT_ALIAS", condition={"$and": [{"alias": "best"}]}), True),
        (watch("ADD_ARTIFACT_ALIAS", condition={"alias": {"$in": ["x", "best"]}}), True),
        (watch("ADD_ARTIFACT_ALIAS", condition={"alias": {"$nin": ["latest", "best"]}}), False),
        (watch("ADD_ARTIFACT_ALIAS", condition={"$or": [{"alias": "x"}, {"alias": "best"}]}), True),
        (
            watch("ADD_ARTIFACT_ALIAS", condition={"$and": [{"alias": "x"}, {"alias": "best"}]}),
            False,
        ),
        (watch("ADD_ARTIFACT_ALIAS", condition={"$or": []}), True),  # no condition
        (watch("ADD_ARTIFACT_ALIAS", condition=on("something", eq="else")), True),  # not known
        (watch("ADD_ARTIFACT_ALIAS", condition=["alias"]), True),  # not understood
        (replace(watch("ADD_ARTIFACT_ALIAS"), condition="{no JSON"), True),
        (watch("ADD_ARTIFACT_TAG", condition=on("tag", eq="gold")), True),
        (watch("ADD_ARTIFACT_TAG", condition=on("tag", eq="silver")), False),
        (watch("ADD_ARTIFACT_TAG", name="another", condition=on("tag", eq="gold")), False),
        (watch("REMOVE_ARTIFACT_TAG"), False),
        (watch("UNLINK_ARTIFACT", "entity", name="team"), True),
        (watch("UNLINK_ARTIFACT"), False),
        (watch("ADD_COLLECTION_TAG"), False),
        (watch("RUN_STATE"), False),
        (watch("SOMETHING_NEW"), False),
    ],
)
def test_an_automation_fires_where_a_replacement_does_what_it_waits_for(
    automation: Automation, fired: bool
) -> None:
    """By event, scope and condition; what is not understood counts as met."""
    assert fires(automation, facts(PORTFOLIO, REGISTRY)) is fired


def test_without_an_alias_no_alias_is_added() -> None:
    """Nor a tag without a tag."""
    bare = facts(tags=())
    bare = replace(bare, around=replace(bare.around, memberships=(replace(OWN, aliases=()),)))

    assert not fires(watch("ADD_ARTIFACT_ALIAS"), bare)
    assert not fires(watch("ADD_ARTIFACT_TAG"), bare)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            facts(automations={"team": [watch("ADD_ARTIFACT_ALIAS"), watch("RUN_STATE")]}),
            [
                (
                    "automation",
                    "the automation 'rule' of team project proj would fire (ADD_ARTIFACT_ALIAS)",
                )
            ],
        ),
        (
            facts(automations={"team": None}),
            [
                (
                    "unknown",
                    "the automations of team cannot be read with this API key: some may fire",
                )
            ],
        ),
        (facts(automations={"team": []}), []),  # read, and there are none
        (
            facts(REGISTRY),
            [
                (
                    "link",
                    (
                        "it is linked to the registry org/wandb-registry-model/Best as production: "
                        "its replacement takes its place"
                    ),
                )
            ],
        ),
        (
            facts(replace(PORTFOLIO, aliases=())),
            [
                (
                    "link",
                    "it is linked to the portfolio team/other/links: its replacement takes its place",
                )
            ],
        ),
        (
            facts(replace(REGISTRY, read_only=True)),
            [
                (
                    "rights",
                    (
                        "this API key may not write to org/wandb-registry-model/Best, which holds "
                        "it: it cannot be replaced"
                    ),
                )
            ],
        ),
        (
            facts(replace(PORTFOLIO, entity="", project="", read_only=True)),
            [
                (
                    "rights",
                    "this API key may not see ?/?/links, which holds it: it cannot be replaced",
                )
            ],
        ),
        (
            facts(
                uses=[
                    (RunRef(entity="team", project="proj", run_id="late"), "2026-01-03T00:00:00Z"),
                    (RunRef(entity="team", project="proj", run_id="early"), "2026-01-02T00:00:00Z"),
                ]
            ),
            [
                (
                    "consumers",
                    (
                        "2 runs have used it, the latest team/proj/runs/late, which began at "
                        "2026-01-03T00:00:00Z: whoever names it as v0 goes on using it, not its "
                        "replacement"
                    ),
                )
            ],
        ),
        (
            facts(uses=[(RunRef(entity="team", project="proj", run_id="r"), "")]),
            [
                (
                    "consumers",
                    (
                        "1 run has used it, the latest team/proj/runs/r: whoever names it as v0 goes "
                        "on using it, not its replacement"
                    ),
                )
            ],
        ),
    ],
)
def test_each_fact_is_said_in_a_sentence(found: Facts, expected: list[tuple[str, str]]) -> None:
    """That names the thing, and what will become of it."""
    assert told(found) == expected


def test_a_project_that_may_only_be_read_cannot_be_migrated() -> None:
    """Better said before than in quarantine."""
    found = facts()
    found = replace(
        found, around=replace(found.around, memberships=(replace(OWN, read_only=True),))
    )

    assert told(found) == [
        (
            "rights",
            "this API key may not write to team/proj/ds, which holds it: it cannot be replaced",
        )
    ]


@pytest.mark.parametrize(
    ("ttl", "said"),
    [
        (-1, []),  # inherited: W&B does not say how long
        (-2, []),  # off
        (90 * DAY, []),
        (33 * DAY, ["its time to live ends on 2026-02-03: W&B deletes it, moved or not"]),
        (34 * DAY, []),  # 15 days from now
        (1 * DAY, ["its time to live ended on 2026-01-02: W&B deletes it, moved or not"]),
    ],
)
def test_a_time_to_live_that_ends_soon_is_told(ttl: int, said: list[str]) -> None:
    """Moving what W&B deletes in a few days may not be worth it."""
    assert [text for kind, text in told(facts(ttl_seconds=ttl)) if kind == "ttl"] == said


def test_the_latest_run_is_the_one_that_began_last() -> None:
    """Whatever it is called."""
    runs = [RunRef(entity="team", project="proj", run_id=name) for name in ("z-first", "a-last")]
    uses = list(zip(runs, ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), strict=True))
    [(kind, text)] = told(facts(uses=uses))

    assert (kind, text.partition(", which")[0]) == (
        "consumers",
        "2 runs have used it, the latest team/proj/runs/a-last",
    )


def test_a_registry_takes_a_time_to_live_away() -> None:
    """W&B does that to whatever is linked there."""
    texts = [text for kind, text in told(facts(REGISTRY, ttl_seconds=90 * DAY)) if kind == "ttl"]

    assert texts == [
        (
            "it is linked to org/wandb-registry-model/Best: W&B takes the time to live off what a "
            "registry holds"
        )
    ]

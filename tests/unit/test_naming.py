"""Names in Oxen: what is good stays, what differs stays two, and what Oxen refuses is replaced."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from syncd.clients.oxen_paths import check_branch
from syncd.naming import (
    alias_branch,
    branch_index,
    folder_name,
    index_at,
    namespace_name,
    repo_name,
    version_branch,
)

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # the machine may be busy
ALIAS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/:"), min_size=1)


@pytest.mark.parametrize("text", ["ab", "A.b-c_9", "x" * 100])
def test_a_good_repository_name_stays(text: str) -> None:
    """People find their project again."""
    assert repo_name(text) == text


@pytest.mark.parametrize("text", ["ab", "A-b_c9", "x" * 50])
def test_a_good_namespace_stays(text: str) -> None:
    """So does a good name for a folder, of one character even."""
    assert (namespace_name(text), folder_name(text), folder_name("a")) == (text, text, "a")


@QUICK
@given(st.lists(st.text(max_size=120), min_size=2, max_size=6, unique=True))
@example(["a", "repo", "a.b", "a-b", "x" * 51, "x" * 52])
def test_names_that_differ_stay_two_repositories(names: list[str]) -> None:
    """And each is one that Oxen and any file system accept."""
    repos = [repo_name(name) for name in names]
    namespaces = [namespace_name(name) for name in names]

    assert len(set(repos)) == len(set(namespaces)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,108}", name) for name in repos)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{1,49}", name) for name in namespaces)


@pytest.mark.parametrize("text", ["a", "my.team", "x" * 51, "repo", "Repo", "name_table", "é", "."])
def test_a_namespace_is_none_that_a_server_refuses(text: str) -> None:
    """It wants two characters, no dot, fifty at most, and has folders of its own (liboxen 0.65.2)."""
    made = namespace_name(text)

    assert made != text
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{1,49}", made)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a b", "a-b"),
        ("a b", "a  b"),
        ("a/b", "a b"),
        (".a", "a"),
        ("_a", "a"),
        ("x" * 101, "x" * 102),
        ("", "x"),
        ("é", "è"),
        ("\ud800", "\ud801"),
    ],
)
def test_names_that_look_alike_stay_two_repositories(one: str, other: str) -> None:
    """Replacing characters alone would make them one."""
    assert repo_name(one) != repo_name(other)


def liboxen_accepts(name: str) -> bool:
    """The rules of liboxen 0.65.2, `ref_manager.rs`, written down a second time."""
    forbidden = ("..", "~", "^", ":", "?", "[", "*", "\\", " ", "@{")
    return bool(name) and not name.endswith((".", "/")) and not any(x in name for x in forbidden)


HOSTILE_ALIASES = [
    "a..b", "a~1", "a^", "a:b", "a?", "a[0]", "a*", "a\\b", "a b", "a@{1}", "a.", "a/", ".a", "@",
    "HEAD", "main", "wandb/v3", "a/b", "é", "\U0001f600", "-", "", "a\nb", "..", "wandb",
]  # fmt: skip


@pytest.mark.parametrize("alias", HOSTILE_ALIASES)
@pytest.mark.parametrize("prefix", ["", "ds"])
def test_every_alias_becomes_a_branch_that_oxen_takes(alias: str, prefix: str) -> None:
    """However people named it."""
    branch = alias_branch(alias, prefix)

    assert liboxen_accepts(branch)
    assert check_branch(branch) == branch


@QUICK
@given(ALIAS)
def test_any_alias_becomes_a_branch_that_oxen_takes(alias: str) -> None:
    """For every alias there can be."""
    assert liboxen_accepts(alias_branch(alias))


@pytest.mark.parametrize("alias", ["latest", "best-2", "v1.5", "prod_eu", "a-20b"])
def test_a_good_alias_keeps_its_name(alias: str) -> None:
    """The branch is found by the name people know."""
    assert alias_branch(alias) == alias
    assert alias_branch(alias, "ds") == f"ds/{alias}"


@QUICK
@given(st.lists(ALIAS, min_size=2, max_size=6, unique=True))
def test_aliases_that_differ_stay_two_branches(aliases: list[str]) -> None:
    """Escapes are read back in one way only."""
    assert len({alias_branch(alias) for alias in aliases}) == len(aliases)


@pytest.mark.parametrize(
    ("alias", "prefix", "main"),
    [
        ("main", "", "main"),
        ("trunk", "", "trunk"),
        ("latest", "ds", "ds/latest"),  # the folder makes it the same
    ],
)
def test_an_alias_never_hides_the_main_branch(alias: str, prefix: str, main: str) -> None:
    """Moving the alias would move the history."""
    assert alias_branch(alias, prefix, main=main) != main


@pytest.mark.parametrize("alias", ["wandb/v3", "v3", "wandb", "ds/wandb/v3"])
@pytest.mark.parametrize("prefix", ["", "ds"])
def test_an_alias_never_hides_a_versions_branch(alias: str, prefix: str) -> None:
    """Moving the alias would lose the version."""
    assert alias_branch(alias, prefix) not in {version_branch(3), version_branch(3, "ds")}


def test_a_versions_branch_lies_in_its_folder() -> None:
    """Two collections in one repository have versions of the same number."""
    assert version_branch(3) == "wandb/v3"
    assert version_branch(3, "ds") == "ds/wandb/v3"


@pytest.mark.parametrize(
    ("name", "prefix", "index"),
    [
        ("wandb/v0", "", 0),
        ("wandb/v17", "", 17),
        ("clip/wandb/v3", "clip", 3),
        ("clip/wandb/v3", "", None),
        ("wandb/v01", "", None),
        ("wandb/vx", "", None),
        ("wandb/alias/v1", "", None),
        ("latest", "", None),
        ("v3", "", None),
    ],
)
def test_a_branch_tells_which_version_it_stands_for(
    name: str, prefix: str, index: int | None
) -> None:
    """And one that stands for none does not."""
    assert branch_index(name, prefix) == index
    if index is not None:
        assert version_branch(index, prefix) == name


def test_a_commits_number_is_the_highest_that_a_branch_at_it_stands_for() -> None:
    """A branch of people's that is called like a number stands for none."""
    branches = {"wandb/v2": "aa", "wandb/v10": "aa", "wandb/v11": "bb", "99": "aa", "main": "aa"}

    assert index_at(branches, "aa") == 10
    assert index_at(branches, "bb") == 11
    assert index_at(branches, "cc") is None
    assert index_at({"in/wandb/v3": "aa", "wandb/v4": "aa"}, "aa", "in") == 3


def test_a_long_name_is_cut_and_stays_one_of_its_own() -> None:
    """A folder of it has to fit into a file system."""
    one, other = (repo_name("n" * 300 + last) for last in "ab")

    assert one != other
    assert max(map(len, (one, other))) <= 120

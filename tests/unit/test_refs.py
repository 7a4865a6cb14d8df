"""Names and URLs: what is read is what was written, and what is unsafe is refused."""

from __future__ import annotations

import pytest
import requests
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from syncd.errors import InvalidNameError, UsageError
from syncd.refs import (
    ArtifactRef,
    CommitRef,
    OxenURL,
    RepoRef,
    RunRef,
    Target,
    check_path,
    parse_reference_url,
    reference_url,
)

COMMIT = CommitRef(repo=RepoRef(namespace="team", repo="proj-ds"), commit="e66a40fcb7c4df09")
PATIENT = [HealthCheck.too_slow]  # the machine may be busy
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=PATIENT)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
ALIAS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/:"), min_size=1)
SEGMENT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=20
).filter(lambda text: text not in {".", ".."})
PATH = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)

HOSTILE_PATHS = [
    "plain.bin",
    "a#b",  # requests would cut a fragment off
    "a?b=c&d",  # ... or a query
    "100%",
    "%41",  # requests would decode an escape that need not be one
    "%2F%2e%2e",
    "a b",
    " ",
    "a+b",
    "...",  # not a folder above
    "..a/b..",
    "~user",
    "a:b",
    "back\\slash",
    "[1](2){3}",
    "'\"<>|^`",
    "é",
    "e\u0301",
    "日本/語",
    "\U0001f600",
    "@;=$!*,",
    "\u2028",
]


# --- W&B names


@pytest.mark.parametrize(
    ("text", "alias", "index"),
    [
        ("e/p/c:v3", "v3", 3),
        ("e/p/c:v0", "v0", 0),
        ("e/p/c:v03", "v03", None),  # W&B writes no leading zero
        ("e/p/c:v", "v", None),
        ("e/p/c:best v3", "best v3", None),
        ("e/p/c", "latest", None),  # what W&B means too
        ("e/p/c:", "latest", None),
    ],
)
def test_a_version_is_named_by_alias_or_number(text: str, alias: str, index: int | None) -> None:
    """Only `vN` is a number."""
    ref = ArtifactRef.parse(text)

    assert (alias, index) == (ref.alias, ref.index)


@pytest.mark.parametrize("text", ["", "c", "p/c:v1", "e/p/c/d:v1", "e//c:v1", "/p/c:v1", ":v1"])
def test_what_is_no_version_is_refused_with_a_hint(text: str) -> None:
    """A name has an entity, a project and a collection."""
    with pytest.raises(UsageError) as caught:
        ArtifactRef.parse(text)
    assert caught.value.hint == "Write entity/project/collection:v3."


@QUICK
@given(NAME, NAME, NAME, ALIAS)
def test_a_version_name_is_read_as_it_was_written(e: str, p: str, c: str, alias: str) -> None:
    """str() and parse() are each other's inverse."""
    ref = ArtifactRef(entity=e, project=p, collection=c, alias=alias)

    assert ArtifactRef.parse(str(ref)) == ref


def test_a_run_is_named_as_wandb_names_it() -> None:
    """The same as in the run's URL."""
    assert str(RunRef(entity="e", project="p", run_id="r1")) == "e/p/runs/r1"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("e/p", ("e", "p", None, None)),
        ("e/*", ("e", None, None, None)),
        ("e/p/c", ("e", "p", "c", None)),
        ("e/p/c:v1", ("e", "p", "c", "v1")),
        ("e/p/c:best", ("e", "p", "c", "best")),
    ],
)
def test_a_target_is_read_as_it_is_written(text: str, parts: tuple[str | None, ...]) -> None:
    """All four shapes, there and back."""
    target = Target.parse(text)

    assert parts == (target.entity, target.project, target.collection, target.alias)
    assert str(target) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "e",
        "e/",
        "/p",
        "e/p/",
        "e//c",
        "e/p:v1",  # a project has no versions
        "e/p/c:",  # an alias was meant
        "e/*/c",  # of which project?
        "e/p/c/d",
    ],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    """Rather than work on more than was meant."""
    with pytest.raises(UsageError):
        Target.parse(text)


# --- Oxen names


@QUICK
@given(NAME, NAME, NAME, st.none() | PATH)
def test_an_oxen_name_is_read_as_it_was_written(
    namespace: str, repo: str, revision: str, path: str | None
) -> None:
    """Also for branches with slashes, which are escaped."""
    url = OxenURL(
        repo=RepoRef(namespace=namespace, repo=repo),
        revision=f"wandb/{revision}",
        path=path or "",
    )
    assume("\n" not in url.path)

    assert OxenURL.parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    ["", "team/repo@1", "oxen://team@1", "oxen://team/repo", "oxen://team/repo@", "oxen:///r@1",
     "oxen://a/b/c@1", "http://team/repo@1"],
)  # fmt: skip
def test_what_is_no_oxen_name_is_refused(text: str) -> None:
    """Namespace, repository and revision are all needed."""
    with pytest.raises(UsageError):
        OxenURL.parse(text)


def test_a_commit_is_read_as_it_is_written_and_a_file_is_no_commit() -> None:
    """A path behind the commit would be lost."""
    assert CommitRef.parse(str(COMMIT)) == COMMIT
    with pytest.raises(UsageError, match="a file"):
        CommitRef.parse(f"{COMMIT}/a.bin")


# --- paths and reference URLs


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "./a",
        "a/.",
        "http://x",
        "a\0b",
        "a\nb",
        "a\tb",
        "\x7f",
        "\ud800",  # no UTF-8 can hold it
        "x" * 256,  # longer than a file name may be
        "é" * 128,  # ... in bytes
        "/".join(["x" * 200] * 21),
    ],
)
def test_an_unsafe_path_is_refused(path: str) -> None:
    """It would lie outside the folder, or nowhere."""
    with pytest.raises(InvalidNameError):
        check_path(path)
    with pytest.raises(InvalidNameError):
        reference_url("http://x", COMMIT, path)


@pytest.mark.parametrize("path", ["a", "a/b", ".hidden", "...", "..a", "x" * 255, *HOSTILE_PATHS])
def test_a_strange_but_safe_path_is_taken(path: str) -> None:
    """Files keep their names."""
    assert check_path(path) == path


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_requests_sends_a_reference_url_unchanged(path: str) -> None:
    """W&B's client asks for it with `requests`, and compares with what was stored."""
    url = reference_url("https://data.example:8337/base/", COMMIT, path)

    assert requests.Request("GET", url).prepare().url == url


@QUICK
@given(PATH)
def test_requests_sends_any_reference_url_unchanged_and_it_names_the_path(path: str) -> None:
    """For every path there can be."""
    url = reference_url("http://x", COMMIT, path)

    assert requests.Request("GET", url).prepare().url == url
    assert parse_reference_url(url) == (COMMIT, path)


def test_a_reference_url_is_what_an_oxen_server_answers_to() -> None:
    """The path of its file endpoint, under whatever base."""
    assert reference_url("http://x/y/", COMMIT, "a b/c") == (
        "http://x/y/api/repos/team/proj-ds/file/e66a40fcb7c4df09/a%20b/c"
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3://bucket/key",
        "https://x/api/repos/team/repo/file/main/a",  # a branch can move
        "https://x/api/repos/team/repo/file/12ab/",
        "https://x/api/repos/team/repo/file/12ab/a?x=1",
        "https://x/api/repos/team/repo/file/12ab/a#x",
        "https://x/api/repos/team/file/12ab/a",
        f"https://x/api/repos/team/repo/file/{'a' * 65}/a",
        "s3://[bucket/key",  # urlsplit raises at it
    ],
)
def test_another_url_is_no_reference_of_ours(url: str) -> None:
    """And never an exception: it comes from anybody's manifest."""
    assert parse_reference_url(url) is None


def test_a_versions_branch_in_an_oxen_name_is_read_as_people_write_it() -> None:
    """With its slash, and nothing that only begins so."""
    found = OxenURL.parse("oxen://team/ds@wandb/v3/d/a.bin")
    other = OxenURL.parse("oxen://team/ds@wandb/v3x/a.bin")

    assert (found.revision, found.path) == ("wandb/v3", "d/a.bin")
    assert (other.revision, other.path) == ("wandb", "v3x/a.bin")


@pytest.mark.parametrize("text", ["team/proj/sweeps/r1", "team/proj/runs", "team//runs/r1"])
def test_what_is_no_run_is_refused(text: str) -> None:
    """Before W&B is asked for it."""
    with pytest.raises(UsageError, match="is not a run"):
        RunRef.parse(text)


def test_a_version_without_a_number_is_named_by_its_collection() -> None:
    """As W&B has not logged it yet."""
    assert str(ArtifactRef(entity="e", project="p", collection="c", alias="")) == "e/p/c"

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import sandbox_graph as graph

from syncd.sandbox.state import (
    collections,
    entities,
    lineage,
    manifests,
    memberships,
    projects,
    runs,
    tags,
    versions,
)
from syncd.sandbox.state.database import Database, dumps
from syncd.sandbox.state.records import Artifact, Entry, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from sandbox_client import Client

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"
# What may stand in a name of a collection, which has no slash.
EVIL_NAME = "\"'><script>alert(1)<img src=x onerror=alert(1)>?&amp;#%20"
NOWHERE = [
    "/nobody/p/artifacts",
    "/sandbox/none/artifacts",
    "/sandbox/p/artifacts/dataset",
    "/sandbox/p/artifacts/model/ds",
    "/sandbox/p/artifacts/dataset/none",
    "/sandbox/p/artifacts/dataset/ds/none",
    "/sandbox/p/artifacts/dataset/ds/v29999999999999999999999",
    "/sandbox/p/artifacts/dataset/ds/v0/more",
    "/sandbox/p/artifacts/dataset/ds/%00%ff%3Cscript%3E",
    "/sandbox/p/runs/none",
    "/?after=nonsense",
    "/?after=" + quote(base64.b64encode(b"[1, 99999999999999999999999]")),
    "/?after=" + quote(base64.b64encode(b'[{"a": 1}, "x"]')),
    "/?after=" + quote(base64.b64encode(b"[" * 3_000)),
]


class _Seen(HTMLParser):
    """The tags, links and text of a page as a browser would find them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.text += data

    def way(self, ending: str) -> str:
        """The first link that ends so."""
        return next(link for link in self.links if link.endswith(ending))


@pytest.fixture
def db(client: Client, tmp_path: Path) -> Iterator[Database]:
    """The state of the client's server, for what would take long to log."""
    assert client.http.get("/healthz").is_success
    made = Database(tmp_path / "data" / "sandbox.sqlite3")
    yield made
    made.close()


def _see(client: Client, path: str, *, status: int = 200) -> _Seen:
    response: httpx.Response = client.http.get(path, auth=graph.NOBODY)
    assert response.status_code == status, path
    policy = response.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", response.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert response.headers["x-content-type-options"] == "nosniff"
    seen = _Seen(response.text)
    assert not seen.tags & {"script", "img", "iframe", "form", "object"}
    assert seen.names <= {
        *("href", "rel", "class", "id", "lang", "charset", "name", "content", "scope"),
        "aria-label",
    }
    assert all(re.match(r"/|#|https?://", link, re.IGNORECASE) for link in seen.links), seen.links
    return seen


def _log(db: Database, name: str, kind: str, number: int = 1) -> tuple[list[Artifact], Run]:
    """Versions of a collection with a name and type, logged by one run."""
    with db.transaction():
        who = entities.user_by_name(db, "sandbox")
        assert who is not None
        project = projects.put(db, who, entities.require_entity(db, "sandbox"), "p")
        run = runs.by_name(db, project, "r1") or runs.create(db, project, who, "r1", "running")
        found = collections.put(
            db, project, name, kind=collections.SEQUENCE, type_name=kind, algorithm=None
        )
        made = []
        for digest in map(str, range(number)):
            draft = versions.Draft(
                digest=digest,
                digest_algorithm=None,
                aliases=["latest"],
                description=None,
                metadata=None,
                ttl_seconds=None,
                history_step=None,
                distributed_id=None,
            )
            version = versions.create(db, found, who, run, draft)
            made.append(versions.commit(db, version, size=1, file_count=1))
            lineage.add_output(db, run, version)
    return made, run


def test_pages_lead_from_projects_to_versions_and_runs_and_back(client: Client) -> None:
    """Each page links to the next; a version shows its files, its edits and its lineage."""
    client.sdk("""
with wandb.init(project="p", id="maker", config={"lr": 0.5}) as run:
    log(run, "ds", {"dir/f": "content"}, aliases=["best"], description="what it is", metadata={"k": "deep"})
    run.log({"loss": 0.25})
with wandb.init(project="p", id="reader") as run:
    run.use_artifact("ds:best")
    after = wandb.Artifact("ds", "dataset")
    after.add_reference(os.environ["WANDB_BASE_URL"] + "/healthz", checksum=False, name="dir/f")
    run.log_artifact(after).wait()
first = wandb.Api().artifact("sandbox/p/ds:v0")
first.tags = ["gold"]; first.save()
""")
    project = _see(client, _see(client, "/").way("/sandbox/p/artifacts"))
    collection = _see(client, project.way("/dataset/ds"))
    before = _see(client, collection.way("/ds/v0"))
    after = _see(client, before.way("/ds/v1"))
    maker = _see(client, before.way("/runs/maker"))
    reader = _see(client, before.way("/runs/reader"))
    named = _see(client, "/sandbox/p/artifacts/dataset/ds/best")

    assert named.text == before.text
    for shown in ("best", "gold", "what it is", '"k": "deep"', "dir/f", "7 B", "References0"):
        assert shown in before.text
    assert "References1" in after.text
    assert client.base_url + "/healthz" in after.links
    assert (maker.way("/ds/v0"), reader.way("/ds/v0")) == (collection.way("/ds/v0"),) * 2
    assert '{\n  "lr": 0.5\n}' in maker.text
    assert "0.25" in maker.text
    assert "finished" in maker.text
    assert reader.way("/ds/v1")


def test_hostile_text_stays_text(client: Client, db: Database) -> None:
    """Names, types, tags, paths, metadata and descriptions are shown as they are, and only web references are links."""
    (version,), run = _log(db, EVIL_NAME, EVIL)
    web = "https://example.org/a?b=\"'><script>"
    refs = [
        "javascript:alert(1)",
        " JaVaScRiPt:alert(1)",
        "data:text/html,<script>",
        "java\nscript:x",
        web,
        "//evil",
        "s3://bucket/key",
        "https:alert(1)",
    ]
    deep = '{"d": ' + "[" * 50_000 + "]" * 50_000 + "}"
    with db.transaction():
        membership = memberships.of_artifact(db, version)[0]
        memberships.give(db, membership, [EVIL_NAME])
        collections.change(db, collections.get(db, membership.collection_id), None, EVIL)
        tags.add_to_artifact(db, version, ["plain tag"])
        metadata = json.dumps({EVIL: EVIL, "half": "\ud800"})
        versions.change(db, version, description=EVIL, metadata=metadata, ttl_seconds=None)
        given = {"display_name": EVIL, "notes": EVIL, "state": EVIL, "config": dumps({EVIL: 1})}
        runs.change(db, run, given, tags=[EVIL])
        db.update("runs", run.id, summary_metrics=deep)
        lineage.add_input(db, run, version, None)
        manifests.store(
            db,
            [
                Entry(version.id, at, f"{at}/{EVIL}", EVIL, None, 1, ref)
                for at, ref in enumerate(refs)
            ],
        )
    collection = "/sandbox/p/artifacts/" + quote(EVIL, safe="") + "/" + quote(EVIL_NAME, safe="")
    page = _see(client, f"{collection}/v0")

    assert [link for link in page.links if not link.startswith(("/", "#"))] == [web]
    assert all(ref in page.text for ref in refs)
    assert page.text.count(EVIL) >= 2 * len(refs) + 2
    assert _see(client, f"{collection}/{quote(EVIL_NAME, safe='')}").text == page.text
    assert EVIL in _see(client, collection).text
    assert collection in _see(client, "/sandbox/p/artifacts").links
    shown = _see(client, "/sandbox/p/runs/r1")
    assert EVIL in shown.text
    assert collection + "/v0" in shown.links


def test_unknown_names_and_cursors_are_a_page_of_their_own(client: Client, db: Database) -> None:
    """What does not exist is told with 404, not with an error of the server."""
    _log(db, "ds", "dataset")
    for path in NOWHERE:
        assert "nothing by this name" in _see(client, path, status=404).text


def test_thousands_of_versions_and_files_come_by_pages(client: Client, db: Database) -> None:
    """A page has a hundred rows, and the next one is a link away."""
    made, _ = _log(db, "ds", "dataset", 3_000)
    with db.transaction():
        manifests.store(
            db,
            (
                Entry(made[-1].id, at, f"f{at}", "digest", None, 1, "https://example.org/f")
                for at in range(20_000)
            ),
        )
    first = _see(client, "/sandbox/p/artifacts/dataset/ds")
    second = _see(client, next(link for link in first.links if "?after=" in link))
    files = _see(client, "/sandbox/p/artifacts/dataset/ds/latest")
    more = _see(client, next(link for link in files.links if "?files=" in link))
    outputs = _see(client, "/sandbox/p/runs/r1")
    project = _see(client, "/sandbox/p/artifacts")

    assert [link for link in first.links if re.search(r"/v\d+$", link)][::99] == [
        f"/sandbox/p/artifacts/dataset/ds/v{at}" for at in (2999, 2900)
    ]
    assert second.way("/ds/v2899")
    assert "First page" in second.text
    assert "References20,000" in files.text
    assert ("f991 B" in files.text, "f1001 B" in files.text) == (True, False)
    assert ("f991 B" in more.text, "f1001 B" in more.text) == (False, True)
    assert outputs.way("/ds/v99")
    assert project.way("/ds/v2999")


def test_pages_take_nothing_from_the_api(client: Client) -> None:
    """The API's own paths answer as before, also where they look like pages, and pages cannot be written to."""
    for path in ("/artifacts/p/artifacts", "/artifactsV2/p/artifacts/a/b"):
        assert client.http.get(path, auth=graph.NOBODY).json() == {"error": "user is not logged in"}
    assert client.http.get("/healthz").text == "ok"
    assert client.http.get("/graphql").status_code == 405
    assert client.http.get("/sandbox/stats").json()
    assert client.http.post("/files/sandbox/p/artifacts/file_stream").status_code != 404
    assert client.http.post("/sandbox/p/artifacts").status_code == 405

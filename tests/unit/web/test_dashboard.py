"""The pages: what they show, to whom, and that no text of a stranger does anything."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from face_world import (
    HOSTILE,
    TOKEN,
    FaceWorld,
    beat,
    client,
    fill,
    made_parts,
    made_up,
    served,
)

from syncd.catalog.catalog import Catalog, State
from syncd.refs import Target
from syncd.web import bodies
from syncd.web.door import COOKIE, Door, is_local
from syncd.web.pages import link, version_path

PAGES = (
    "/",
    "/live/status",
    "/live/transfers",
    "/failures",
    "/search?q=digits",
    "/projects/team/proj",
    "/projects/team/proj/digits",
    "/projects/team/proj/digits/v2",
    "/projects/team/proj/reader/v0/story",
    "/projects/team/proj/digits/v2/files",
    "/projects/team/proj/scans/v0",
)
WITHIN = 0.1  # seconds of the processor for a page of a catalog of 10,000 versions


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceWorld]:
    """The project that is shown, whose versions went along the path."""
    made = FaceWorld(tmp_path_factory.mktemp("project"))
    yield made
    made.catalog.close()


@pytest.fixture(scope="module")
def http(project: FaceWorld) -> Iterator[httpx.Client]:
    """Who looks at it, at this machine."""
    with client(made_parts(project.catalog, project.store)) as made:
        yield made


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(f"sqlite:///{tmp_path}/syncd.db")
    yield made
    made.close()


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


# --- what is shown


def test_the_first_page_tells_where_everything_stands(
    project: FaceWorld, http: httpx.Client
) -> None:
    """Projects, what happens now, what failed with its next step, and the picture of savings."""
    beat(
        project.catalog,
        at=time.time(),
        phase="moving",
        queue=2,
        transfers=[
            {
                "artifact": "team/proj/digits:v2",
                "stage": "transfer",
                "done": 25 << 20,
                "total": 100 << 20,
                "since": time.time() - 9,
                "rate": 5 << 20,
            }
        ],
    )
    text = http.get("/").text

    assert "team/proj" in text
    assert "7 of 8 versions" in text
    assert "moving for" in text
    assert "25.0 MiB of 100 MiB" in text
    assert "5.0 MiB/s" in text
    assert "15 s" in text  # what is left at this rate
    assert "manifest says 18" in text
    assert "Next: " in text
    assert '<svg class="chart"' in text


def test_a_version_is_shown_from_both_sides(http: httpx.Client) -> None:
    """With links to W&B, the commit, the files with their proof, and where they are served."""
    page = http.get("/projects/team/proj/digits/v2").text
    files = http.get("/projects/team/proj/digits/v2/files").text

    assert 'href="https://wandb.ai/team/proj/artifacts/dataset/digits/v2"' in page
    assert 'href="https://wandb.ai/team/proj/artifacts/dataset/digits/v' in page
    assert "oxen://team/proj-digits" in page
    assert "images/part-0.npy" in files
    assert "https://data.example/api/repos/team/proj-digits/file/" in files
    assert files.count("read back") >= 4


def test_lineage_leads_from_a_model_to_its_data(http: httpx.Client) -> None:
    """Across two runs; in the picture and in words."""
    text = http.get("/projects/team/proj/reader/v0/story").text

    for name in ("digits:v2", "captions:v0", "classifier:v0", "reader:v0", "train-7", "tune-2"):
        assert name in text
    assert 'href="/projects/team/proj/digits/v2"' in text
    assert "was logged by run team/proj/runs/train-7 from team/proj/" in text
    assert text.count("marker-end") == 5


def test_lineage_leads_from_data_to_what_was_trained_on_it(http: httpx.Client) -> None:
    """The model, and what was tuned from that; the run's settings stand beside the picture."""
    text = http.get("/projects/team/proj/digits/v2/story").text
    model = http.get("/projects/team/proj/classifier/v0/story").text

    assert text.index("digits:v2") < text.index("classifier:v0") < text.index("reader:v0")
    assert "team/proj/reader:v0 was logged by run team/proj/runs/tune-2" in text
    assert "epochs" in model


def test_search_leads_to_a_version_at_once(http: httpx.Client) -> None:
    """By its full name; by a part of it, to a list."""
    exact = http.get("/search", params={"q": "team/proj/digits:v1"})
    part = http.get("/search", params={"q": "digit"}).text

    assert (exact.status_code, exact.headers["location"]) == (303, "/projects/team/proj/digits/v1")
    assert 'href="/projects/team/proj/digits"' in part


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/projects/team/other",
        "/projects/team/proj/other",
        "/projects/team/proj/digits/v99",
        "/projects/team/proj/digits/latest",
        "/projects/team/proj/digits/v99999999999999999999",
        "/live/other",
        "/static/nothing.css",
    ],
)
def test_what_is_not_there_is_a_404_for_people(http: httpx.Client, path: str) -> None:
    """With the way back."""
    assert http.get(path, headers={"accept": "text/html"}).status_code == 404


def test_pages_are_numbers_whatever_is_asked(http: httpx.Client) -> None:
    """A page beyond the last is empty, and one that is none is the first."""
    for page in ("0", "7", "-1", "x", "9" * 30, "\u0663"):
        assert http.get("/failures", params={"page": page}).status_code == 200


def test_an_empty_catalog_says_what_to_do(catalog: Catalog) -> None:
    """Instead of empty tables."""
    with client(made_parts(catalog)) as http:
        text = http.get("/").text

    assert "syncd run" in text
    assert "Nothing has been looked at yet" in text


# --- strangers' texts


def test_names_of_strangers_are_text(project: FaceWorld, http: httpx.Client) -> None:
    """A script in a name, a description or a reason is shown as it is written."""
    project.catalog.note(
        project.failed, State.QUARANTINED, reason=f'{HOSTILE}" onload="x', hint=HOSTILE
    )
    beat(project.catalog, at=time.time(), phase=HOSTILE, transfers=[{"artifact": HOSTILE}])
    paths = ("/", "/failures", "/projects/team/proj/scans/v0", "/live/status", "/live/transfers")
    hostile = "/projects/team/proj/digits-raw/v0"
    shown = [http.get(path).text for path in (*paths, f"{hostile}/story", f"{hostile}/files")]
    shown.append(http.get("/search", params={"q": HOSTILE}).text)

    for text in shown:
        assert "&lt;script&gt;alert" in text
        assert HOSTILE not in text
        outline = Outline(text)
        assert not [name for _, name, _ in outline.attributes if name.startswith("on")]


def test_only_links_of_the_web_are_links() -> None:
    """What W&B calls a run's URL may be anything."""
    assert link("https://wandb.ai/a/b") == "https://wandb.ai/a/b"
    for url in ("javascript:alert(1)", "data:text/html,x", "//host", "http:///x", "[", 7, None):
        assert link(url) == ""
    assert version_path("no version") == ""
    assert version_path("a/b/c%2F?#:v1") == "/projects/a/b/c%252F%3F%23/v1"


@pytest.mark.parametrize("path", PAGES)
def test_pages_need_nothing_but_this_server(http: httpx.Client, path: str) -> None:
    """No script or style within the page, none from elsewhere, and the browser is told so."""
    answer = http.get(path)
    policy = answer.headers["content-security-policy"]
    outline = Outline(answer.text)

    assert answer.status_code == 200
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "style" not in outline.tags
    for tag, name, value in outline.attributes:
        assert not name.startswith("on")
        assert name != "style"
        if name == "src" or (tag == "link" and name == "href"):
            assert value.startswith("/static/")
            assert http.get(value).status_code == 200


@pytest.mark.parametrize("path", [path for path in PAGES if not path.startswith("/live")])
def test_pages_say_what_is_what(http: httpx.Client, path: str) -> None:
    """One main part, one heading, a way to skip to it, names for every field, scopes for tables."""
    text = http.get(path).text
    outline = Outline(text)

    assert outline.tags.count("main") == outline.tags.count("h1") == 1
    assert ("html", "lang", "en") in outline.attributes
    assert 'href="#main"' in text
    assert text.index('href="#main"') < text.index("<header")
    assert outline.tags.count("th") == sum(name == "scope" for _, name, _ in outline.attributes)
    assert len(re.findall(r"<input(?! type=\"hidden\")", text)) == text.count("<label")


# --- speed


def test_pages_are_quick_with_ten_thousand_versions(project: FaceWorld, tmp_path: Path) -> None:
    """Of the processor, client included: a busy machine is not the page's fault."""
    catalog = Catalog(f"sqlite:///{tmp_path}/syncd.db")
    fill(catalog, made_up(10_000))
    paths = (
        "/",
        "/failures",
        "/failures?page=1",
        "/projects/research/project-1",
        "/projects/research/project-1/model-1",
        "/projects/research/project-1/model-1/v100",
        "/search?q=image",
        "/metrics",
    )
    slow = {}
    with client(made_parts(catalog, project.store)) as http:
        for path in paths:
            taken = []
            for _ in range(5):
                began = time.process_time()
                assert http.get(path).status_code == 200
                taken.append(time.process_time() - began)
            if min(taken) > WITHIN:
                slow[path] = min(taken)
    catalog.close()

    assert slow == {}


# --- retry


def form_of(text: str, artifact_id: str) -> dict[str, str]:
    """The fields of a version's retry form."""
    forms = re.findall(r'<form method="post" action="/retry">(.*?)</form>', text, re.DOTALL)
    for form in forms:
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
        if fields["artifact_id"] == artifact_id:
            return fields
    raise AssertionError("there is no such form")


def test_a_retry_wakes_the_mover(catalog: Catalog, project: FaceWorld) -> None:
    """The version leaves quarantine, its collection is looked at again, a hint says so; once."""
    version = project.failed
    catalog.fail(version, stage="transfer", reason="damaged", hint="log it again")
    catalog.looks.rest(("team", "proj", "scans"), "seen", "decided")
    with client(made_parts(catalog)) as http:
        fields = form_of(http.get("/failures").text, version.id)
        answers = [http.post("/retry", data=fields) for _ in range(2)]
        page = http.get(answers[0].headers["location"]).text
    record = catalog.get(version.id)

    assert [answer.status_code for answer in answers] == [303, 303]
    assert record is not None
    assert record.state is State.WAITING
    assert "waits for its turn again" in page
    assert [(hint.project, hint.collection) for hint in catalog.pulse.hints()] == [
        ("team/proj", "scans")
    ]
    assert catalog.looks.cursors(Target.parse("team/proj"), "decided") == {}


@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({"form_token": ""}, {}, 403),
        ({"form_token": "0" * 64}, {}, 403),
        ({}, {"sec-fetch-site": "cross-site"}, 403),
        ({}, {"sec-fetch-site": "same-site"}, 403),
        ({"artifact_id": "unknown"}, {}, 404),
        ({"artifact_id": "x" * 10_000}, {}, 413),
    ],
)
def test_a_form_of_another_site_changes_nothing(
    catalog: Catalog,
    project: FaceWorld,
    fields: dict[str, str],
    headers: dict[str, str],
    status: int,
) -> None:
    """It knows no form token, and the browser says where it comes from."""
    version = project.failed
    catalog.fail(version, stage="transfer", reason="damaged", hint="log it again")
    with client(made_parts(catalog)) as http:
        own = form_of(http.get("/failures").text, version.id)
        answer = http.post("/retry", data={**own, **fields}, headers=headers)
    record = catalog.get(version.id)

    assert answer.status_code == status
    assert record is not None
    assert record.state is State.QUARANTINED
    assert catalog.pulse.hints() == []


# --- who may look


def test_a_token_opens_the_pages_once(catalog: Catalog) -> None:
    """As Bearer, or entered: then a cookie does, which is not the token and opens no file."""
    with client(made_parts(catalog, tokens=frozenset({TOKEN, "other"}))) as http:
        closed = http.get("/failures?page=1")
        wrong = http.post("/login", data={"token": "wrong", "back": "/"})
        right = http.post("/login", data={"token": TOKEN, "back": "/failures?page=1"})
        opened = http.get(right.headers["location"])
        gateway = http.get("/api/repos/a/b/file/c/d")
        http.cookies.clear()
        bearer = http.get("/", headers={"authorization": f"Bearer {TOKEN}"})

    assert (closed.status_code, wrong.status_code, gateway.status_code) == (401, 401, 401)
    assert 'value="/failures?page=1"' in closed.text
    assert (right.status_code, opened.status_code, bearer.status_code) == (303, 200, 200)
    assert right.headers["location"] == "/failures?page=1"
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in right.headers["set-cookie"]


def test_a_token_mistyped_first_leads_where_it_was_to_lead(catalog: Catalog) -> None:
    """The form that asks again still knows; and what cannot be asked for again leads to the first page."""
    with client(made_parts(catalog, tokens=frozenset({TOKEN}))) as http:
        again = http.post("/login", data={"token": "wrong", "back": "/failures?page=1"})
        elsewhere = http.post("/login", data={"token": "wrong", "back": "https://evil.example"})
        retried = http.post("/retry", data={"artifact_id": "x"})

    assert 'name="back" value="/failures?page=1"' in again.text
    for answer in (elsewhere, retried):
        assert (answer.status_code, 'name="back" value="/"' in answer.text) == (401, True)


@pytest.mark.parametrize("path", ["/login", "/retry"])
def test_a_form_that_does_not_come_holds_nothing_up(
    catalog: Catalog, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does one that breaks off; neither is a fault of the server's."""
    monkeypatch.setattr(bodies, "READ_TIMEOUT", 0.1)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc".encode()
    with served(made_parts(catalog)) as url:
        place = urlsplit(url)
        for waits in (False, True):
            with socket.create_connection((place.hostname, place.port)) as connection:
                connection.sendall(head)
                if waits:
                    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 408 ")
    assert "Exception" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/\r\nx: y"]
)
def test_the_way_back_stays_on_this_server(catalog: Catalog, back: str) -> None:
    """A link to the form cannot lead anywhere else."""
    with client(made_parts(catalog, tokens=frozenset({TOKEN}))) as http:
        answer = http.post("/login", data={"token": TOKEN, "back": back})

    assert answer.headers["location"] == "/"


def test_a_read_token_looks_and_an_operators_changes(catalog: Catalog) -> None:
    """Where there are operators; the others see no button, and cannot press one they made."""
    rows = [{**row, "state": "quarantined", "failed_stage": "commit"} for row in made_up(1)]
    fill(catalog, rows)
    tokens, operators = frozenset({TOKEN, "boss"}), frozenset({"boss"})
    with client(made_parts(catalog, tokens=tokens, operators=operators)) as http:
        shown, texts = [], {}
        for token in (TOKEN, "boss"):
            texts[token] = http.get("/failures", headers={"authorization": f"Bearer {token}"}).text
            http.post("/login", data={"token": token, "back": "/"})
            shown += [texts[token], http.get("/failures").text]
            http.cookies.clear()
        fields = dict(re.findall(r'name="(form_token|artifact_id)" value="([^"]*)"', texts["boss"]))
        answers = [
            http.post("/retry", data=fields, headers={"authorization": f"Bearer {token}"})
            for token in (TOKEN, "boss")
        ]
    assert ['action="/retry"' in text for text in shown] == [False, False, True, True]
    assert [answer.status_code for answer in answers] == [401, 303]


def test_a_forged_cookie_opens_nothing(catalog: Catalog) -> None:
    """Nor does the token itself in its place."""
    with client(made_parts(catalog, tokens=frozenset({TOKEN}))) as http:
        for value in ("", TOKEN, "0" * 64, "\u00e9", "a b; ;=,"):
            cookie = f"{COOKIE}={value}".encode()
            assert http.get("/", headers=[(b"cookie", cookie)]).status_code == 401


@pytest.mark.parametrize(
    "other",
    ['prefs={"sidebar":true}', "lastVisit=Tue Mar 03 2026 10:00", "flag", "name=\u00e9", "a=b"],
)
def test_cookies_of_other_programs_of_this_host_keep_nobody_out(
    catalog: Catalog, other: str
) -> None:
    """A browser sends those of every port of localhost, before ours or behind."""
    with client(made_parts(catalog, tokens=frozenset({TOKEN}))) as http:
        entered = http.post("/login", data={"token": TOKEN, "back": "/"})
        ours = entered.headers["set-cookie"].partition(";")[0]
        http.cookies.clear()
        for cookies in (f"{other}; {ours}", f"{ours}; {other}"):
            answer = http.get("/", headers=[(b"cookie", cookies.encode())])
            assert answer.status_code == 200


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "via"])
def test_who_comes_through_a_proxy_is_not_this_machine(catalog: Catalog, header: str) -> None:
    """It may call us localhost, whoever asked it."""
    with client(made_parts(catalog)) as http:
        answer = http.get("/", headers={"host": "localhost", header: "203.0.113.9"})
    assert answer.status_code == 403


def test_what_is_no_request_of_ours_is_refused_and_no_fault_of_the_server(
    catalog: Catalog,
) -> None:
    """A form of many fields, a host that is none, a version that no database counts."""
    with client(made_parts(catalog, tokens=frozenset({TOKEN}))) as http:
        many = http.post("/login", content="&".join(f"f{n}=1" for n in range(20)))
        bearer = {"authorization": f"Bearer {TOKEN}"}
        found = http.get("/search", params={"q": f"a/b/c:v{'9' * 30}"}, headers=bearer)
    assert (many.status_code, found.status_code) == (400, 200)
    with client(made_parts(catalog)) as http:
        assert http.get("/", headers={"host": "["}).status_code == 403


@pytest.mark.parametrize(
    "web",
    [
        {"bind": "0.0.0.0:8337"},
        {"bind": "127.0.0.1:0", "public_url": "https://syncd.example.com"},
    ],
)
def test_without_a_token_others_see_nothing(catalog: Catalog, web: dict[str, str]) -> None:
    """Where they could reach it, the pages and figures are closed, and say how to open them."""
    with client(made_parts(catalog, web=web)) as http:
        answers = [http.get(path) for path in ("/", "/metrics", "/projects/a/b")]
        health = http.get("/healthz")

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert "read_token_file" in answers[0].text
    assert health.status_code == 200


def test_another_name_of_this_machine_is_not_this_machine(catalog: Catalog) -> None:
    """A page elsewhere could make its own name lead here, and would see what is shown."""
    with client(made_parts(catalog)) as http:
        foreign = http.get("/", headers={"host": "evil.example"})
        local = http.get("/", headers={"host": "localhost:8337"})

    assert (foreign.status_code, local.status_code) == (403, 200)
    assert [is_local(name) for name in ("127.0.0.1", "::1", "LOCALHOST", "10.0.0.1", "")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_the_cookie_is_secure_where_the_address_is() -> None:
    """Behind a proxy that speaks TLS."""
    tokens = frozenset({TOKEN})

    assert Door(tokens, "127.0.0.1", "https://syncd.example.com").is_secure
    assert not Door(tokens, "127.0.0.1", None).is_secure


def test_the_pages_can_be_switched_off(catalog: Catalog) -> None:
    """Webhooks, figures and health stay."""
    with client(made_parts(catalog, web={"dashboard": False, "bind": "127.0.0.1:0"})) as http:
        codes = [http.get(path).status_code for path in ("/", "/failures", "/healthz", "/metrics")]

    assert codes == [404, 404, 200, 200]


def test_a_page_that_fails_says_so_and_no_more(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cause is for the log."""

    def broken() -> None:
        raise OSError("the catalog's secret place")

    with client(made_parts(catalog)) as http:
        monkeypatch.setattr(catalog.panels, "projects", broken)
        answer = http.get("/")

    assert answer.status_code == 500
    assert "secret place" not in answer.text
    assert "secret place" in capsys.readouterr().err

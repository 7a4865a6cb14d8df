"""A person at the dashboard: looks, retries, follows a model back to its data, by hand and by keyboard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import ENTER, TAB, Browser
from face_world import TOKEN, FaceWorld, beat, made_parts, served

from syncd.web.app import Parts


@pytest.fixture
def project(tmp_path: Path) -> Iterator[FaceWorld]:
    """A project of which one version failed, and would go through now."""
    made = FaceWorld(tmp_path)
    yield made
    made.catalog.close()


@pytest.fixture
def parts(project: FaceWorld) -> Parts:
    """What is served."""
    beat(project.catalog, at=time.time())
    return made_parts(project.catalog, project.store)


def test_a_failed_version_is_found_and_retried(
    browser: Browser, project: FaceWorld, parts: Parts
) -> None:
    """From the first page to the version that is moved in the end."""
    with served(parts) as url:
        browser.open(url)
        failure = browser.find("article.failure", "team/proj/scans:v0")
        assert "W&B's manifest says 18" in failure.text
        assert "Next: " in failure.text
        browser.find("article.failure a", "team/proj/scans:v0").click()
        browser.find(".state", "quarantined")
        browser.find("main button", "Retry").send_keys(ENTER)
        browser.find("[role=status]", "It waits for its turn again")
        browser.find(".state", "waiting")

        assert [hint.collection for hint in parts.catalog.pulse.hints()] == ["scans"]
        report = project.backfill()  # what the engine does when it takes the hint
        assert [item["version"] for item in report.replaced] == ["team/proj/scans:v0"]
        browser.open(f"{url}/projects/team/proj/scans/v0")
        browser.find(".state", "moved")
        browser.open(f"{url}/failures")
        browser.find("main", "Nothing has failed")


def test_a_model_leads_to_the_commit_of_its_data(
    browser: Browser, project: FaceWorld, parts: Parts
) -> None:
    """By keyboard into the search, then through the picture of its lineage."""
    data = project.catalog.get(project.data[-1].id)
    assert data is not None
    with served(parts) as url:
        browser.open(url)
        browser.press("/")
        assert browser.run("document.activeElement.id") == "search"
        browser.press("reader", ENTER)
        browser.find("main a", "team/proj/reader").click()
        browser.find("main table a", "v0").click()
        browser.find(".graph .own", "reader:v0")
        browser.find(".graph .run", "tune-2")
        browser.find(".graph a", "digits:v2").click()
        browser.until(
            lambda: browser.path == "/projects/team/proj/digits/v2", "the data's page is open"
        )

        browser.find("main code", data.commit_id)
        browser.find("main table th", "images/part-0.npy")
        browser.find("main table td", "read back")
        run = browser.driver.execute_script("return performance.getEntriesByType('resource')")
        assert run
        assert all(entry["name"].startswith(url) for entry in run)


def test_the_pages_are_usable_by_keyboard_and_in_the_dark(browser: Browser, parts: Parts) -> None:
    """The first Tab offers to skip to the content, focus is seen, colours follow the system."""
    with served(parts) as url:
        browser.open(url)
        browser.press(TAB)
        skip = browser.driver.switch_to.active_element
        assert skip.text == "Skip to the content"
        assert skip.location["x"] >= 0
        assert skip.value_of_css_property("outline-style") != "none"
        browser.press(ENTER)
        assert browser.run("document.activeElement.id") == "main"

        grounds = {}
        for scheme in ("light", "dark"):
            browser.prefer(scheme)
            text = browser.run("getComputedStyle(document.body).backgroundColor")
            grounds[scheme] = sum(int(part) for part in str(text)[4:-1].split(","))
        assert grounds["dark"] < 150
        assert grounds["light"] > 600


def test_a_strangers_script_does_nothing(browser: Browser, parts: Parts) -> None:
    """It stands in a file's name and in the description, and is read there."""
    with served(parts) as url:
        browser.open(f"{url}/projects/team/proj/digits-raw/v0")
        browser.find("main table th", "<script>alert(1)</script>.bin")
        browser.find("main dd", "<script>alert(1)</script>")

        assert browser.run("document.scripts.length") == 1


def test_what_is_on_its_way_is_shown_without_a_reload(
    browser: Browser, project: FaceWorld, parts: Parts
) -> None:
    """A few seconds later at most."""
    transfer = {"artifact": "team/proj/digits:v1", "done": 1 << 20, "total": 4 << 20, "rate": 1e6}
    with served(parts) as url:
        browser.open(url)
        browser.find(".status", "waiting for")
        beat(project.catalog, at=time.time(), phase="moving", transfers=[transfer])
        browser.find("table td", "1.0 MiB of 4.0 MiB")
        browser.find(".status", "moving for")


def test_the_pages_work_without_a_script(browser: Browser, parts: Parts) -> None:
    """Lineage is then a page of its own."""
    with served(parts) as url:
        browser.without_script()
        browser.open(f"{url}/projects/team/proj/reader/v0")
        browser.find("a", "Read from Oxen").click()
        browser.find(".graph a", "digits:v2")


def test_a_token_opens_the_pages(browser: Browser, project: FaceWorld) -> None:
    """Entered once; the page that was wanted follows."""
    with served(made_parts(project.catalog, project.store, tokens=frozenset({TOKEN}))) as url:
        browser.open(f"{url}/projects/team/proj")
        browser.find("#token").send_keys(TOKEN, ENTER)
        browser.find("h1", "team/proj")
        browser.open(f"{url}/failures")
        browser.find("h1", "Failures")
        refused = browser.complaints()  # the first answer, 401, is told by the browser, too
        assert len(refused) == 1
        assert "401" in refused[0]

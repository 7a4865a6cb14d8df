"""The pictures of docs/dashboard.md, made anew; the folder to put them into is the argument."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from browser import Browser, opened
from face_world import FaceWorld, beat, fill, made_parts, made_up, served

from syncd import log, retry


def main(folder: Path) -> None:
    """Take all pictures.

    Args:
        folder: where they go.
    """
    log.configure("error")
    with tempfile.TemporaryDirectory() as name, retry.fast():
        project = FaceWorld(Path(name))
        fill(project.catalog, made_up(600))
        now = time.time()
        transfers = [
            {
                "artifact": "research/project-3/images-3:v7",
                "stage": "transfer",
                "done": 730e6,
                "total": 2.1e9,
                "since": now - 20,
                "rate": 38e6,
            },
            {
                "artifact": "research/project-1/model-1:v7",
                "stage": "transfer",
                "done": 61e6,
                "total": 90e6,
                "since": now - 9,
                "rate": 6.1e6,
            },
        ]
        lag = {"research/project-0": 310.0, "research/project-4": 95.0}
        beat(project.catalog, at=now, phase="moving", queue=14, lag=lag, transfers=transfers)
        with served(made_parts(project.catalog, project.store)) as url, opened() as browser:
            browser.prefer("light")
            _shoot(browser, url, folder / "dashboard-light.png", 1690)
            browser.open(f"{url}/projects/team/proj/classifier/v0")
            browser.find(".graph .own")
            browser.find("table th", "model.pt")
            browser.shoot(folder / "dashboard-version.png", height=1120)
            browser.prefer("dark")
            _shoot(browser, url, folder / "dashboard-dark.png", 860)
        project.catalog.close()


def _shoot(browser: Browser, url: str, file: Path, height: int) -> None:
    browser.open(url)
    browser.find(".status", "moving")
    browser.shoot(file, height=height)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

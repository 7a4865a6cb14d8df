"""Chromium, as a person uses it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

MISSING = "chromium not found; Debian has it in the packages chromium and chromium-driver"
DEADLINE = 20.0  # seconds for anything to appear
Found = TypeVar("Found")


def chromium() -> tuple[str, str] | None:
    """The browser and its driver, None where one of them is missing."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One window.

    Args:
        driver: of Chromium.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Go to a page."""
        self.driver.get(url)

    @property
    def path(self) -> str:
        """Where it is, without the server."""
        return "/" + self.driver.current_url.split("/", 3)[3].partition("?")[0]

    @property
    def text(self) -> str:
        """What a person reads on the page."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def find(self, css: str, text: str = "") -> WebElement:
        """The first element of this kind that shows a text, when it is there."""

        def look() -> WebElement | None:
            for element in self.driver.find_elements(By.CSS_SELECTOR, css):
                if text in (element.text or element.get_attribute("textContent") or ""):
                    return element
            return None

        return self.until(look, f"{css} shows {text!r}")

    def until(self, condition: Callable[[], Found | None], what: str) -> Found:
        """The first answer of the condition that is true."""
        end = time.monotonic() + DEADLINE
        while True:
            try:
                found = condition()
            except StaleElementReferenceException:  # the page moved on while it was looked at
                found = None
            if found:
                return found
            assert time.monotonic() < end, f"waited in vain until {what}:\n{self.text}"
            time.sleep(0.05)

    def press(self, *keys: str) -> None:
        """Press keys, wherever the keyboard is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def run(self, script: str) -> object:
        """The value of an expression of the page's."""
        return self.driver.execute_script(f"return {script}")

    def prefer(self, scheme: str) -> None:
        """Like the system saying `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def without_script(self) -> None:
        """Run no script any more."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})

    def complaints(self) -> list[str]:
        """What the browser found wrong: scripts that failed, what the policy kept out."""
        return [
            str(entry["message"])
            for entry in self.driver.get_log("browser")  # type: ignore[no-untyped-call]
            if entry["level"] == "SEVERE"
        ]

    def shoot(self, file: Path, *, height: int) -> None:
        """Take a picture of the page's upper part, three quarters of its size."""
        size = {"width": 1200, "height": height, "deviceScaleFactor": 0.75, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.save_screenshot(str(file))


@contextmanager
def opened() -> Iterator[Browser]:
    """A window with a profile of its own."""
    found = chromium()
    assert found is not None, MISSING
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for word in (
        "--headless=new",
        "--no-sandbox",  # tests may run as root, for whom Chromium has none
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--window-size=1200,1000",
    ):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=Service(found[1]))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


ENTER, TAB = Keys.ENTER, Keys.TAB

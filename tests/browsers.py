"""A real Chromium without a window, and `backcast view` behind it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-dev-shm-usage", "--disable-component-update", "--no-first-run",
    "--disable-default-apps", "--disable-sync", "--no-proxy-server",
)  # fmt: skip
WAIT = 20
"Seconds for which something is waited for."


class Browser:
    """A browser with one page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Open a page, and wait until its script has begun."""
        self.driver.get(url)
        self.until("document.body.dataset.ready === '1'")

    def js(self, code: str, *given: object) -> Any:
        """Return what a script in the page gives."""
        return self.driver.execute_script(f"return {code}", *given)

    def until(self, code: str) -> None:
        """Wait until a script in the page gives true."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, WAIT, 0.02).until(lambda _: self.js(code), code)

    def text(self, selector: str) -> str:
        """Return the text of the first element of a selector."""
        return str(self.js("document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def count(self, selector: str) -> int:
        """Return how many elements a selector finds."""
        return int(self.js("document.querySelectorAll(arguments[0]).length", selector))

    def go(self, version: int) -> None:
        """Go to an event by its address, and wait until the panels are there."""
        self.js("(location.hash = arguments[0], 1)", f"e={version}")
        self.until(f"document.querySelector('#moment h2 b')?.textContent === '{version}'")
        self.until(
            f"+(document.querySelector('#step')?.dataset.first ?? 0) <= {version} &&"
            f" {version} <= +(document.querySelector('#step')?.dataset.last ?? 0)"
        )

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def asked(self) -> list[str]:
        """Return every address that the browser asked for since the last time."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found

    def complaints(self) -> list[str]:
        """Return what the console says: errors of scripts, and what the policy kept away."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def browser(
    folder: Path, width: int = 1280, height: int = 900, *, dark: bool = False, script: bool = True,
    more: tuple[str, ...] = (),
) -> Iterator[Browser]:  # fmt: skip
    """Start a browser with an empty profile; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Debian's chromium and chromium-driver: apt-get install them")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, *more, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    if not script:
        blocked = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", blocked)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        if dark:
            feature = {"name": "prefers-color-scheme", "value": "dark"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        yield Browser(driver)
    finally:
        driver.quit()


@contextmanager
def viewed(*arguments: str) -> Iterator[str]:
    """Run `backcast view` on a free port, and give its address."""
    command = [str(Path(sys.executable).with_name("backcast")), "view", *arguments, "--port", "0"]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "80"}
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "http://" in line:
                yield line.split()[1]
                break
        else:
            raise AssertionError(f"backcast view ended with {process.wait()}")
    finally:
        process.terminate()
        process.communicate(timeout=WAIT)

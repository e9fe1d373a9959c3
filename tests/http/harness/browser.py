# SPDX-License-Identifier: Apache-2.0
"""A real browser: Debian's Chromium without a window, driven by its own chromedriver through selenium.

    with Browser() as browser:
        browser.view(width=360, scheme="dark")
        browser.open(f"http://127.0.0.1:{web.port}/status")

It talks to loopback alone, keeps its profile in a folder of its own, and is gone when the block ends. A violation of the
page's Content-Security-Policy, and any other error of the page, is in console().
"""

import base64
import shutil
import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from . import npm
from .waiting import eventually

SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1")
AXE = "axe-core@4.10.3"
TIMEOUT_S = 240  # a busy machine takes what it takes


class Browser:
    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="apiquota-browser-")
        options = Options()
        options.binary_location = shutil.which("chromium") or "/usr/bin/chromium"
        for switch in SWITCHES + (f"--user-data-dir={self.profile}",):
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        try:
            self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver") or "/usr/bin/chromedriver"),
                                           options=options)
        except BaseException:
            shutil.rmtree(self.profile, ignore_errors=True)
            raise
        self.driver.set_page_load_timeout(TIMEOUT_S)
        self.driver.set_script_timeout(TIMEOUT_S)
        return self

    def __exit__(self, *_):
        try:
            self.driver.quit()
        finally:
            shutil.rmtree(self.profile, ignore_errors=True)

    def view(self, width=1280, height=900, scheme="light", script=True):
        """An empty window: how wide it is, which colours its owner prefers, and whether scripts run. A page that was left
        open would go on asking a server that has gone."""
        self.open("about:blank")
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})

    def open(self, url):
        self.driver.get(url)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector):
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def eventually(self, selector, words, timeout_s=60.0):
        """Waits until the element's text holds the words."""
        eventually(lambda: words in self.text(selector), timeout_s, f"{words!r} in {selector}")

    def colour(self, selector, name="background-color"):
        return self.driver.find_element(By.CSS_SELECTOR, selector).value_of_css_property(name)

    def overflow(self):
        """How many pixels the page is wider than its window."""
        return self.run("return document.documentElement.scrollWidth - window.innerWidth")

    def console(self):
        """What the page's console says, since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def screenshot(self, path):
        """All of the page, not only what the window shows."""
        height = self.run("return document.documentElement.scrollHeight")
        width = self.run("return window.innerWidth")
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {
            "captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}})
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def axe(self):
        """What axe-core finds wrong, a sentence each."""
        source = (npm.install(AXE).folder / "node_modules" / "axe-core" / "axe.min.js").read_text()
        self.run(source)
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done, e => done(String(e)))")
        assert isinstance(found, dict), found
        return [f"{violation['id']}: {violation['help']}: {node['html'][:200]}"
                for violation in found["violations"] for node in violation["nodes"]]

"""A headless Chromium on this machine, driven by selenium. Neither asks the network."""

import contextlib
import shutil

import pytest

BROWSER, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--window-size=1280,800",
)
KINDS = {"performance": "ALL", "browser": "ALL"}


def missing():
    """Why there is no browser to drive; "" if there is one."""
    for path in (BROWSER, DRIVER):
        if not shutil.which(path):
            return f"{path} is not there: tests/install_apt.sh installs it"
    return ""


@contextlib.contextmanager
def chromium():
    """A driver of a fresh browser, which is ended with the context. Without one: skipped."""
    if reason := missing():
        pytest.skip(reason)
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", KINDS)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def resize(driver, width, height=740, dark=False):
    """Give the page this size in CSS pixels, and the colours that its reader prefers."""
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    prefers = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [prefers]})

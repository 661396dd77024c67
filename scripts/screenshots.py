"""Screenshots of an exported page: `python scripts/screenshots.py PAGE.html FOLDER`.

Needs Playwright and an installed Chromium; software rendering does.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SIZE = {"width": 720, "height": 450}
# What is drawn in software takes its time.
TIMEOUT_MS = 1_200_000
SHOTS = {"page": ""}


def main(page_path: str, folder: str) -> None:
    """Write FOLDER/page.jpg, and any other of SHOTS: name and window."""
    arguments = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=found, args=[*arguments, "--no-sandbox"]
        )
        for name, window in SHOTS.items():
            page = browser.new_page(viewport=SIZE)  # pyright: ignore[reportArgumentType]
            page.set_default_timeout(TIMEOUT_MS)
            page.goto(Path(page_path).absolute().as_uri() + window)
            page.wait_for_function("window.inr", polling=200)
            page.evaluate("inr.pixels().then(() => 0)")
            path = Path(folder) / f"{name}.jpg"
            page.screenshot(path=path, type="jpeg", quality=82, timeout=TIMEOUT_MS)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

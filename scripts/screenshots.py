"""Screenshots of an exported page, as on a desktop and on a phone.

    python scripts/screenshots.py PAGE.html FOLDER [NAME ...]

Names are those of SHOTS; all where none is given. Needs Playwright and an installed
Chromium; software rendering does. The exit code is 1 where the page reports an error.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ARGUMENTS = (
    *("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
# What is drawn in software takes its time.
TIMEOUT_MS = 1_200_000
# Name: width and height of the window, and whether it is a phone's.
SHOTS = {
    "page": (720, 450, False),
    "page-desktop": (1280, 800, False),
    "page-portrait": (360, 640, True),
    "page-landscape": (640, 360, True),
}


def main(page_path: str, folder: str, *names: str) -> int:
    """Write FOLDER/NAME.jpg for each name; 1 where the page reports an error."""
    found, errors = shutil.which("chromium") or shutil.which("google-chrome"), []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=[*ARGUMENTS])
        for name in names or SHOTS:
            width, height, phone = SHOTS[name]
            page = browser.new_page(
                viewport={"width": width, "height": height},
                is_mobile=phone,
                has_touch=phone,
            )
            page.set_default_timeout(TIMEOUT_MS)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on(
                "console",
                lambda said: errors.append(said.text) if said.type == "error" else None,
            )
            page.goto(Path(page_path).absolute().as_uri())
            page.wait_for_function("window.inr", polling=200)
            if failed := page.evaluate("inr.failed"):
                errors.append(failed)
            else:
                page.evaluate("inr.pixels().then(() => 0)")
            path = Path(folder) / f"{name}.jpg"
            page.screenshot(path=path, type="jpeg", quality=82, timeout=TIMEOUT_MS)
            page.close()
        browser.close()
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

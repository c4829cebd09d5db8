"""Pictures of the page at phone size: python -m tests.zoo.keyboard.page.screenshots PAGE [--out docs/keyboard].

PAGE is a folder that `zoo demo --out PAGE` made, with the models that the pictures are to show.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from PIL import Image

from bench.chromium import READY, Chromium, served

COLOURS = 128  # of a picture, which then takes a third of the bytes
THEMES = ("light", "dark")


def take(page: Path, out: Path) -> list[Path]:
    """Writes start, typing and models in light, typing, never and settings in dark colours; their paths."""
    out.mkdir(parents=True, exist_ok=True)
    written = []

    def picture(name: str) -> None:
        time.sleep(0.5)
        written.append(out / f"{name}.png")
        browser.picture(written[-1])
        few = Image.open(written[-1]).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
        few.save(written[-1], optimize=True)

    with served(page) as url, Chromium(390, 844) as browser:
        browser.open(url)
        browser.wait(READY)
        for theme in THEMES:
            features = [{"name": "prefers-color-scheme", "value": theme}]
            browser.call("Emulation.setEmulatedMedia", features=features)
            if theme == THEMES[0]:
                picture("start-light")
                write(browser, "Are you free tonight? ")
                browser.touch("#send")
                write(browser, "I would love to go to the mov")
            picture(f"typing-{theme}")
            if theme == "light":
                browser.touch("#open-models")
                browser.touch("#time")
                browser.wait("!document.querySelector('#save-times').disabled")
                picture("models-light")
                browser.touch("#models button")
            else:
                browser.touch("#bar button:nth-child(3)", hold=0.8)
                picture("never-dark")
                browser.wait("document.querySelector('#toast').hidden")
                browser.touch("#open-settings")
                picture("settings-dark")
    return written


def write(browser: Chromium, text: str) -> None:
    """Types as a person does."""
    for letter in text:
        browser.press(letter)
        time.sleep(0.06)
    time.sleep(0.3)


def main() -> None:
    """Writes as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/keyboard"))
    given = parser.parse_args()
    for path in take(given.page, given.out):
        print(f"{path.stat().st_size:>9,}  {path}")


if __name__ == "__main__":
    main()

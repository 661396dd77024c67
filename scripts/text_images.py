"""Eight images of text: `python scripts/text_images.py FOLDER`.

Squares of 128 pixels from the handwritten and the printed page that come with
scikit-image. The printed one is enlarged three times: its strokes are one to two
pixels wide, and every second row and column does not hold them.
"""

import sys
from pathlib import Path

from PIL import Image
from skimage import data

SIDE = 128
LARGE = 3
# (left, top) of each square, in pixels
TEXT = ((0, 0), (128, 0), (256, 0), (320, 44))
PAGE = ((96, 96), (600, 60), (320, 280), (760, 200))


def main(folder: str) -> None:
    """Write FOLDER/text-N.png and FOLDER/page-N.png."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    text, page = Image.fromarray(data.text()), Image.fromarray(data.page())
    size = (LARGE * page.width, LARGE * page.height)
    page = page.resize(size, Image.Resampling.LANCZOS)
    for name, image, corners in (("text", text, TEXT), ("page", page, PAGE)):
        for number, (left, top) in enumerate(corners, 1):
            square = image.crop((left, top, left + SIDE, top + SIDE))
            square.save(out / f"{name}-{number}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

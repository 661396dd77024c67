"""Problems with a known answer: an image, and what is measured of it from a seed.

Framework-free but for `Problem.task`. A method sees the measurements alone.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from jax_inr.errors import ConfigError
from jax_inr.tasks import measure

Measured = dict[str, Any]
PURPOSE = 0x7A5C  # tells this use of a seed from any other
LINE = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod"
SIGMA = 25 / 255  # of the noise to remove
PEAK = 30  # photons of a white pixel
BLUR_SIGMA, BLUR_NOISE = 1.6, 1 / 255
GRADIENT_NOISE = 5 / 255


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """An image that is sought, and what a method is given of it.

    truth: (h, w, c) in [0, 1]. measured: what a method sees. judged: (h, w), the
    pixels that scores are taken over. is_open: whether the measurements leave a
    constant of each channel open, which scores then forgive.
    """

    kind: str
    truth: np.ndarray
    measured: Measured
    judged: np.ndarray
    is_open: bool = False

    @functools.cached_property
    def task(self) -> Any:
        """The measurements as a Task for fields."""
        return task(self.kind, self.measured)

    def settled(self, restored: np.ndarray) -> np.ndarray:
        """A restored image as it is judged: zero where it is not.

        Where a constant is open, the one that the truth has in the mean.
        """
        restored = np.asarray(restored, np.float64)
        if self.is_open:
            off = (self.truth - restored).mean(axis=(0, 1))
            restored = restored + off
        return np.where(self.judged[..., None], restored, 0)


def task(kind: str, seen: Measured) -> Any:
    """What was measured as a Task for fields."""
    from jax_inr import tasks

    match kind.split("-")[0]:
        case "inpaint":
            return tasks.inpaint(seen["image"], seen["mask"])
        case "upscale":
            return tasks.superresolve(seen["image"], seen["factor"])
        case "denoise":
            return tasks.denoise(seen["image"], seen["noise"])
        case "deblur":
            return tasks.deblur(seen["image"], seen["kernel"])
        case "gradients":
            return tasks.from_gradients(seen["rows"], seen["columns"], "difference")
        case "laplacian":
            return tasks.from_laplacian(seen["laplacian"], "difference")
    return tasks.tomography(seen["sinogram"], seen["angles"])


def make(kind: str, image: np.ndarray, seed: int = 0) -> Problem:
    """The problem of a kind, of an image (h, w, c) in [0, 1].

    What is random follows the seed, the kind and the image alone.

    Raises:
        ConfigError: an unknown kind, or an image that it does not divide or fit.
    """
    check(kind)
    name, _, number = kind.partition("-")
    image = np.asarray(image, np.float64)
    if name == "tomography":
        image = np.where(measure.circle(len(image))[..., None], image, 0)
    pixels = zlib.crc32(np.ascontiguousarray(image, np.float32).tobytes())
    random = np.random.default_rng((seed, PURPOSE, zlib.crc32(kind.encode()), pixels))
    judged = np.ones(image.shape[:2], bool)
    if name == "tomography":
        judged = measure.circle(len(image))
    measured = MEASURES[name](image, number, random)
    is_open = name in ("gradients", "laplacian")
    return Problem(kind, image.astype(np.float32), measured, judged, is_open)


def check(kind: str) -> None:
    """Refuse an unknown kind of problem (ConfigError)."""
    if kind not in KINDS:
        raise ConfigError(f"unknown task {kind!r}", f"tasks: {', '.join(KINDS)}")


def _inpaint(image: np.ndarray, which: str, random: np.random.Generator) -> Measured:
    if which == "text":
        mask = ~text_overlay(*image.shape[:2])
    else:
        mask = np.zeros(image.shape[:2], bool)
        count = round(int(which) / 100 * mask.size)
        mask.flat[random.choice(mask.size, count, replace=False)] = True
    return {"image": np.where(mask[..., None], image, 0), "mask": mask}


def text_overlay(height: int, width: int) -> np.ndarray:
    """True where lines of text cover an image (height, width)."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (width, height))
    font = ImageFont.load_default(size=16)
    draw = ImageDraw.Draw(page)
    for line, top in enumerate(range(0, height, 20)):
        words = LINE[7 * line % len(LINE) :] + " " + LINE
        draw.text((0, top), f"{words} {LINE}", fill=255, font=font)
    return np.asarray(page) > 127


def _upscale(image: np.ndarray, which: str, random: np.random.Generator) -> Measured:
    return {"image": measure.downsample(image, int(which)), "factor": int(which)}


def _denoise(image: np.ndarray, which: str, random: np.random.Generator) -> Measured:
    if which == "poisson":
        noisy = measure.with_poisson_noise(image, PEAK, random)
        return {"image": noisy, "noise": which, "peak": PEAK}
    noisy = measure.with_gaussian_noise(image, SIGMA, random)
    return {"image": noisy, "noise": which, "sigma": SIGMA}


def _deblur(image: np.ndarray, which: str, random: np.random.Generator) -> Measured:
    kernel = measure.gaussian_kernel(BLUR_SIGMA)
    blurred = measure.blur(image, kernel)
    noisy = measure.with_gaussian_noise(blurred, BLUR_NOISE, random)
    return {"image": noisy, "kernel": kernel, "sigma": BLUR_NOISE}


def _gradients(image: np.ndarray, which: str, random: np.random.Generator) -> Measured:
    sigma = GRADIENT_NOISE if which == "noisy" else 0.0
    rows, columns = (
        measure.with_gaussian_noise(slopes, sigma, random)
        for slopes in measure.gradients(image)
    )
    # There is no next row or column to differ from.
    rows[-1], columns[:, -1] = 0, 0
    return {"rows": rows, "columns": columns, "sigma": sigma}


def _laplacian(image: np.ndarray, which: str, random: np.random.Generator) -> Measured:
    return {"laplacian": measure.laplacian(image)}


def _tomography(image: np.ndarray, which: str, random: np.random.Generator) -> Measured:
    angles = np.arange(int(which)) * (180 / int(which))
    return {"sinogram": measure.radon(image, angles), "angles": angles}


MEASURES: dict[str, Callable[[np.ndarray, str, np.random.Generator], Measured]] = {
    "inpaint": _inpaint,
    "upscale": _upscale,
    "denoise": _denoise,
    "deblur": _deblur,
    "gradients": _gradients,
    "laplacian": _laplacian,
    "tomography": _tomography,
}
# What a report says of each.
KINDS = {
    "inpaint-20": "inpainting from 20 % of the pixels, drawn at random",
    "inpaint-50": "inpainting from 50 % of the pixels, drawn at random",
    "inpaint-text": "inpainting under lines of text",
    "upscale-2": "super-resolution by 2 from means over boxes",
    "upscale-4": "super-resolution by 4 from means over boxes",
    "denoise-gaussian": "denoising, Gaussian noise of deviation 25/255, not clipped",
    "denoise-poisson": f"denoising, photon counts of peak {PEAK}",
    "deblur": "deblurring, a Gaussian of 1.6 pixels, noise of deviation 1/255",
    "gradients": "an image from its gradients",
    "gradients-noisy": "an image from its gradients, noise of deviation 5/255",
    "laplacian": "an image from its Laplacian",
    "tomography-20": "tomography from 20 views",
    "tomography-50": "tomography from 50 views",
    "tomography-100": "tomography from 100 views",
}

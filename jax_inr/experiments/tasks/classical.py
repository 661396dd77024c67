"""The classical methods: what a field has to be better than.

Each is scikit-image's (SciPy's for the closed form of gradients, Pillow's resizing),
with the parameters that are chosen on the images to tune by. Framework-free.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jax_inr.experiments.tasks.problems import Measured

PAD = 16  # pixels by which a blurred image is continued, so that its edge rings outside
SIZES = {"patch_size": 5, "patch_distance": 6}  # of non-local means, in pixels


class Answer(NamedTuple):
    """A restored image, with its seconds and the images on the way to it."""

    image: np.ndarray
    seconds: float
    stages: Sequence[np.ndarray] = ()


class Method(NamedTuple):
    """A way to restore an image from its measurements.

    restore: of the measurements and a parameter, the image (h, w, c), or an Answer.
    parameters: to choose from; a single one where there is nothing to choose.
    settings: what tells other settings of the method, whose records are not its own.
    """

    name: str
    restore: Callable[[Measured, Any], Any]
    parameters: tuple[Any, ...] = (None,)
    settings: Callable[[], str] = str


def biharmonic(seen: Measured, _: None) -> np.ndarray:
    from skimage.restoration import inpaint_biharmonic

    return inpaint_biharmonic(seen["image"], ~seen["mask"], channel_axis=-1)


def interpolated(seen: Measured, kind: str) -> np.ndarray:
    """Over the Delaunay triangles of the known pixels; the nearest one beyond them."""
    from scipy.interpolate import griddata

    known, wanted = np.argwhere(seen["mask"]), np.argwhere(np.ones_like(seen["mask"]))
    values = seen["image"][seen["mask"]]
    inside = griddata(known, values, wanted, method=kind)
    nearest = griddata(known, values, wanted, method="nearest")
    filled = np.where(np.isfinite(inside), inside, nearest)
    return filled.reshape(seen["image"].shape)


def resized(seen: Measured, kind: str) -> np.ndarray:
    """Upsampled about the centres of the boxes."""
    from PIL import Image

    low, factor = seen["image"].astype(np.float32), seen["factor"]
    size = low.shape[1] * factor, low.shape[0] * factor
    way = Image.Resampling[kind.upper()]
    channels = [
        np.asarray(Image.fromarray(low[..., k]).resize(size, way))
        for k in range(low.shape[-1])
    ]
    return np.stack(channels, axis=-1)


def total_variation(noisy: np.ndarray, sigma: float, weight: float) -> np.ndarray:
    """Chambolle's, its weight in units of the noise's deviation."""
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(
        noisy, weight * sigma, eps=1e-5, max_num_iter=500, channel_axis=-1
    )


def nonlocal_means(noisy: np.ndarray, sigma: float, h: float) -> np.ndarray:
    """The slow, exact mode; the cut-off `h` in units of the noise's deviation."""
    from skimage.restoration import denoise_nl_means

    smooth = denoise_nl_means(
        noisy, h=h * sigma, sigma=sigma, fast_mode=False, channel_axis=-1, **SIZES
    )
    # It drops an axis of a single channel.
    return smooth.reshape(noisy.shape)


def wavelet(noisy: np.ndarray, sigma: float, kind: tuple[str, str]) -> np.ndarray:
    from skimage.restoration import denoise_wavelet

    name, method = kind
    # The transform to YCbCr takes images in [0, 1].
    return denoise_wavelet(
        noisy, sigma, name, method=method, rescale_sigma=True, channel_axis=-1
    )


def denoising(way: Callable[..., np.ndarray]) -> Callable[[Measured, Any], np.ndarray]:
    """A denoiser of Gaussian noise; of photon counts by Anscombe's transform (1948)."""

    def restore(seen: Measured, parameter: Any) -> np.ndarray:
        if seen["noise"] == "gaussian":
            return way(seen["image"], seen["sigma"], parameter)
        peak = seen["peak"]
        white = 2 * np.sqrt(peak + 3 / 8)
        # Of deviation 1 wherever there are some photons; white is 1.
        stable = 2 * np.sqrt(np.maximum(peak * seen["image"], 0) + 3 / 8) / white
        smooth = way(stable, 1 / white, parameter) * white
        return ((smooth / 2) ** 2 - 1 / 8) / peak

    return restore


def deconvolution(
    way: Callable[..., np.ndarray],
) -> Callable[[Measured, Any], np.ndarray]:
    """A method channel by channel, the image continued by its outermost pixels."""

    def restore(seen: Measured, parameter: Any) -> np.ndarray:
        padded = np.pad(seen["image"], ((PAD, PAD), (PAD, PAD), (0, 0)), mode="edge")
        channels = [
            way(padded[..., k], seen["kernel"], parameter)
            for k in range(padded.shape[-1])
        ]
        return np.stack(channels, axis=-1)[PAD:-PAD, PAD:-PAD]

    return restore


def richardson_lucy(image: np.ndarray, kernel: np.ndarray, steps: int) -> np.ndarray:
    from skimage.restoration import richardson_lucy

    # The method knows positive brightness alone.
    return richardson_lucy(np.maximum(image, 1e-4), kernel, num_iter=steps, clip=False)


def unsupervised_wiener(image: np.ndarray, kernel: np.ndarray, _: None) -> np.ndarray:
    from skimage.restoration import unsupervised_wiener

    return np.asarray(unsupervised_wiener(image, kernel, clip=False, rng=0)[0])


def wiener(image: np.ndarray, kernel: np.ndarray, balance: float) -> np.ndarray:
    from skimage.restoration import wiener

    return np.asarray(wiener(image, kernel, balance, clip=False))


def back_projection(seen: Measured, kind: str) -> np.ndarray:
    from skimage.transform import iradon

    return _channels(
        seen, lambda channel, angles: iradon(channel, angles, filter_name=kind)
    )


def sart(seen: Measured, rounds: int) -> np.ndarray:
    """Kaczmarz's rounds over all views, from nothing, colours kept in [0, 1]."""
    from skimage.transform import iradon_sart

    def one_channel(sinogram: np.ndarray, angles: np.ndarray) -> np.ndarray:
        image = None
        for _ in range(rounds):
            image = iradon_sart(sinogram, angles, image=image, clip=(0, 1))
        assert image is not None
        return image

    return _channels(seen, one_channel)


def _channels(seen: Measured, way: Callable[..., np.ndarray]) -> np.ndarray:
    sinogram, angles = seen["sinogram"], seen["angles"]
    channels = [way(sinogram[..., k], angles) for k in range(sinogram.shape[-1])]
    return np.stack(channels, axis=-1)


def least_squares(seen: Measured, _: None) -> np.ndarray:
    """The image whose differences are nearest, in closed form by cosine transforms.

    The five-point Laplacian whose edge is continued by the outermost pixels has the
    type-2 cosines for its eigenvectors. The mean stays open: it is zero here.
    """
    from scipy.fft import dctn, idctn

    if "laplacian" in seen:
        divergence = seen["laplacian"]
    else:
        # The adjoint of forward differences that are zero at the last row and column.
        rows, columns = seen["rows"], seen["columns"]
        divergence = np.diff(rows, axis=0, prepend=0 * rows[:1])
        divergence = divergence + np.diff(columns, axis=1, prepend=0 * columns[:, :1])
    height, width = divergence.shape[:2]
    down = 2 * np.cos(np.pi * np.arange(height) / height) - 2
    across = 2 * np.cos(np.pi * np.arange(width) / width) - 2
    eigenvalues = down[:, None] + across
    eigenvalues[0, 0] = 1
    waves = dctn(divergence, axes=(0, 1)) / eigenvalues[..., None]
    waves[0, 0] = 0
    return np.asarray(idctn(waves, axes=(0, 1)))


METHODS: dict[str, tuple[Method, ...]] = {
    "inpaint": (
        Method("interpolation", interpolated, ("linear", "cubic")),
        Method("biharmonic", biharmonic),
    ),
    "upscale": (
        Method("bicubic", lambda seen, _: resized(seen, "bicubic")),
        Method("Lanczos", lambda seen, _: resized(seen, "lanczos")),
    ),
    "denoise": (
        Method("TV", denoising(total_variation), (0.3, 0.4, 0.5, 0.6, 0.8, 1.0)),
        Method("NLM", denoising(nonlocal_means), (0.4, 0.5, 0.6, 0.7, 0.8, 1.0)),
        Method(
            "wavelet",
            denoising(wavelet),
            tuple(
                (name, method)
                for name in ("db2", "sym4", "coif2")
                for method in ("BayesShrink", "VisuShrink")
            ),
        ),
    ),
    "deblur": (
        Method(
            "Richardson–Lucy",
            deconvolution(richardson_lucy),
            (10, 20, 40, 80, 160, 320, 640),
        ),
        Method("unsupervised Wiener", deconvolution(unsupervised_wiener)),
        Method(
            "Wiener", deconvolution(wiener), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
        ),
    ),
    "gradients": (Method("least squares", least_squares),),
    "laplacian": (Method("least squares", least_squares),),
    "tomography": (
        Method(
            "FBP",
            back_projection,
            ("ramp", "shepp-logan", "cosine", "hamming", "hann"),
        ),
        Method("SART", sart, (1, 2, 4, 8, 16)),
    ),
}


def methods(kind: str) -> tuple[Method, ...]:
    """The methods of a kind of problem."""
    return METHODS[kind.split("-")[0]]

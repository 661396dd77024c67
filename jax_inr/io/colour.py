"""Colour spaces of files to sRGB: ICC profiles, coded signals, gamma, Lab, CMYK.

Each function gives a Convert: floats (rows, w, c) in [0, 1] as stored to sRGB of three
channels, or of one where the image is grey. None: nothing to convert.
"""

import math

import numpy as np
from PIL import ImageCms

from jax_inr.errors import ImageError
from jax_inr.io.raster import Convert

_PROFILE = "converted from its colour profile to sRGB"
_BROKEN = "has a broken colour profile: ignored"
_FLAT = "damaged: its primaries are no colours"
CMYK = "CMYK without a colour profile: colours are approximate"

# ITU-T H.273, table 2: x and y of red, green, blue and white.
D65 = (0.3127, 0.3290)
SRGB_XY = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
_PRIMARIES = {
    1: (*SRGB_XY, *D65),
    4: (0.670, 0.330, 0.210, 0.710, 0.140, 0.080, 0.310, 0.316),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, 0.310, 0.316),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *D65),
}
# Table 3: what stands for sRGB. 1, 6, 14 and 15 are a camera's curve; screens, and
# browsers with them, show it as they show sRGB. 2 says that nothing is known.
_SRGB_TRANSFERS = (1, 2, 6, 13, 14, 15)
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0}
_HDR = {16: "PQ", 18: "HLG"}
# Columns: the primaries in XYZ of white D50, as CIE Lab of files counts; Bradford.
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50_XYZ = np.array([0.9642, 1.0, 0.8249])
_LATTICE = 17


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    """Linear light, clipped to [0, 1], by the curve of sRGB; IEC 61966-2-1."""
    linear = np.clip(linear, 0, 1)
    low = linear * np.float32(12.92)
    high = np.float32(1.055) * linear ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear <= 0.0031308, low, high)


def srgb_decode(encoded: np.ndarray) -> np.ndarray:
    """The inverse of `srgb_encode` on [0, 1]."""
    high = ((encoded + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(encoded <= 0.04045, encoded / np.float32(12.92), high)


def from_icc(profile: bytes, channels: int, notices: list[str]) -> Convert | None:
    """By an ICC profile, relative colorimetric; a broken one is a notice.

    Black points are not matched: a profile whose device black is no black would turn
    all colours. channels: 1 grey, 3 RGB, 4 CMYK. A profile within a level and a half
    of sRGB is sRGB under another name, and nothing is converted.
    """
    import imagecodecs

    space = profile[16:20]
    known = {b"GRAY": "gray", b"RGB ": "rgb", b"CMYK": "cmyk"}
    expected = {1: (b"GRAY", b"RGB "), 3: (b"RGB ",), 4: (b"CMYK",)}[channels]
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    def convert(unit: np.ndarray) -> np.ndarray:
        if channels == 1 and space == b"RGB ":
            unit = np.repeat(unit, 3, axis=2)
        levels = np.rint(unit * 65535).astype(np.uint16)
        levels = levels[..., 0] if levels.shape[2] == 1 else levels
        # Without its shortcuts, whose grids are some levels off in darks and hues.
        found = imagecodecs.cms_transform(
            *(np.ascontiguousarray(levels), profile, srgb),
            colorspace=known[space],
            outcolorspace="rgb",
            outdtype="u2",
            intent=int(imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC),
            flags=int(imagecodecs.CMS.FLAGS.NOOPTIMIZE),
        )
        colour = np.asarray(found).astype(np.float32) / np.float32(65535)
        return colour[..., 1:2] if channels == 1 else colour

    try:
        if space not in expected or profile[36:40] != b"acsp":
            raise ValueError("of another kind")
        tried = _lattice(channels)
        found = convert(tried)
    except Exception:  # lcms's own kind, and those of numpy
        notices.append(_BROKEN)
        return from_cmyk(notices) if channels == 4 else None
    if channels != 4 and np.abs(found - tried).max() <= 1.5 / 255:
        return None
    notices.append(_PROFILE)
    return convert


def from_code(
    primaries: int, transfer: int, channels: int, notices: list[str]
) -> Convert | None:
    """By the code points of ITU-T H.273, as PNG cICP and AVIF nclx carry them.

    Raises ImageError for the HDR transfers PQ and HLG, whose white [0, 1] cannot hold.
    """
    if transfer in _HDR:
        reason = f"an HDR image ({_HDR[transfer]} of BT.2100), which is not read"
        raise ImageError(reason, "tone-map it to sRGB first")
    if transfer not in (*_SRGB_TRANSFERS, *_EXPONENTS):
        notices.append(f"has the transfer function {transfer} of H.273: not applied")
        transfer = 13
    if primaries not in (2, *_PRIMARIES):
        notices.append(f"has the colour primaries {primaries} of H.273: not applied")
    primaries_xy = _PRIMARIES.get(primaries, _PRIMARIES[1])
    return _converter(primaries_xy, _EXPONENTS.get(transfer), channels, notices)


def from_gamma(
    gamma: float | None,
    chromaticities: tuple[float, ...] | None,
    channels: int,
    notices: list[str],
) -> Convert | None:
    """By a PNG's gAMA, about 1/2.2 for sRGB, and cHRM, as H.273 orders them.

    Writers give 1/2.2 where they mean the curve of sRGB, so that within 5 % of it, and
    with the primaries of sRGB, nothing is converted.
    """
    plain = chromaticities is None or np.allclose(
        chromaticities, _PRIMARIES[1], atol=0.002
    )
    meant = gamma is None or (plain and abs(gamma * 2.2 - 1) < 0.05)
    exponent = None if meant or gamma is None else 1 / gamma
    xy = _PRIMARIES[1] if plain or chromaticities is None else chromaticities
    return _converter(xy, exponent, channels, notices)


def from_lab(lightness: float, chroma: float, notices: list[str]) -> Convert:
    """By CIE Lab of white D50: L = lightness * sample, a, b = chroma * sample - 128."""
    notices.append("converted from Lab to sRGB")
    matrix = np.linalg.inv(_to_xyz(_PRIMARIES[1])).astype(np.float32)

    def convert(unit: np.ndarray) -> np.ndarray:
        level = (lightness * unit[..., 0] + 16) / 116
        a, b = (chroma * unit[..., band] - 128 for band in (1, 2))
        f = np.stack([level + a / 500, level, level - b / 200], -1)
        xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * (3 * (6 / 29) ** 2)) * _D50_XYZ
        return srgb_encode((xyz @ matrix.T).astype(np.float32))

    return convert


def from_cmyk(notices: list[str]) -> Convert:
    """By the inks alone: (1 - ink) * (1 - black)."""
    notices.append(CMYK)
    return lambda unit: (1 - unit[..., :3]) * (1 - unit[..., 3:])


def _converter(
    primaries: tuple[float, ...],
    exponent: float | None,
    channels: int,
    notices: list[str],
) -> Convert | None:
    """By primaries, and by a power; None stands for the curve of sRGB."""
    if channels == 1 or np.allclose(primaries, _PRIMARIES[1], atol=1e-4):
        matrix = None
    else:
        matrix = np.linalg.solve(_to_xyz(_PRIMARIES[1]), _to_xyz(primaries))
        matrix = matrix.astype(np.float32)
    if matrix is None and exponent is None:
        return None
    notices.append("converted from its own gamma and primaries to sRGB")

    def convert(unit: np.ndarray) -> np.ndarray:
        linear = srgb_decode(unit) if exponent is None else unit ** np.float32(exponent)
        return srgb_encode(linear if matrix is None else linear @ matrix.T)

    return convert


def _to_xyz(xy: tuple[float, ...]) -> np.ndarray:
    """The matrix from linear RGB to XYZ of white D50; raises ImageError where flat."""
    if len(xy) != 8 or not all(map(math.isfinite, xy)) or min(xy[1::2]) <= 0:
        raise ImageError(_FLAT, "save it again")
    x, y = np.array(xy[::2]), np.array(xy[1::2])
    corners = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    try:
        scale = np.linalg.solve(corners[:, :3], corners[:, 3])
    except np.linalg.LinAlgError as error:
        raise ImageError(_FLAT, "save it again") from error
    cones = _BRADFORD @ corners[:, 3]
    adapt = np.linalg.solve(
        _BRADFORD, ((_BRADFORD @ _D50_XYZ) / cones)[:, None] * _BRADFORD
    )
    return adapt @ (corners[:, :3] * scale)


def _lattice(channels: int) -> np.ndarray:
    """Colours of the whole cube, (n, n^(c-1), c); every level for grey."""
    if channels == 1:
        return np.linspace(0, 1, 256, dtype=np.float32)[None, :, None]
    steps = np.linspace(0, 1, _LATTICE if channels == 3 else 3, dtype=np.float32)
    grid = np.stack(np.meshgrid(*[steps] * channels, indexing="ij"), -1)
    return grid.reshape(len(steps), -1, channels)

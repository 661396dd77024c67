"""Experiments on what the networks take for granted: place, neighbours, sharing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_inr import cost, metrics
from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.experiments.report import Json
from jax_inr.experiments.spectral_bias.fits import (
    ADAM,
    Tell,
    data_of,
    draw,
    inputs_of,
    plan_of,
    predictor,
    select,
    side_by_side,
    train_to,
)
from jax_inr.experiments.spectral_bias.forms import COLOUR_TOLERANCE, QUICK, Form
from jax_inr.experiments.spectral_bias.spectra import networks
from jax_inr.model import count_params, make_model

# The narrow CNN in both forms: what is measured here follows from its shape.
CNN = networks(QUICK)["cnn-adam"][0]
SIGMAS = (4.0, ADAM.sigma)  # one for sparse pixels, and the notebook's


def translation(
    name: str, form: Form, image: np.ndarray, seed: int, tell: Tell
) -> Json:
    """Refit a translated crop, and ask the fit for colours at translated positions.

    Three fits side by side: a crop; the crop `shift` pixels further on, from the same
    weights; the first crop again, from another draw of weights.
    """
    config = CNN if name == "cnn" else ADAM
    shift, side = form.shift, form.crop
    crops = np.stack([image[d : d + side, d : d + side] for d in (0, shift, 0)])
    plan = plan_of(config, crops[0].shape)
    variables = select(draw(plan, seed, 2), [0, 0, 1])
    data = data_of(plan, variables, crops)
    trained = train_to(plan, variables, data, seed, form.crop_steps, tell)
    predict = predictor(plan, crops[0].shape)
    fit, refit, redrawn = predict(trained, data.inputs)
    coords = pixel_grid(*crops[0].shape[:2])
    translated = predict(trained, inputs_of(plan, trained, coords + shift / side))[0]
    # What all of them show: the pixels of the first crop from `shift` on.
    shared = fit[shift:, shift:]
    difference = np.abs(translated[:-shift, :-shift] - shared).max(-1)
    layers = len(config.hidden_features) + 1
    inner = difference[layers:-layers, layers:-layers].max()
    return {
        "side": side,
        "shift": shift,
        "steps": form.crop_steps,
        "layers": layers,
        "psnr_db": float(metrics.psnr(fit, crops[0])),
        "refit_psnr_db": float(metrics.psnr(refit, crops[1])),
        "refit_db": float(metrics.psnr(refit[:-shift, :-shift], shared)),
        "redrawn_db": float(metrics.psnr(redrawn[shift:, shift:], shared)),
        "translated": difference,
        "translated_inner": float(inner),
        "translated_largest": float(difference.max()),
    }


def padding(form: Form, image: np.ndarray, seed: int, tell: Tell) -> Json:
    """A CNN that sees the same number everywhere: what zero padding gives away.

    arXiv 2001.08248 asks the same of networks that recognise.
    """
    crop = image[: form.crop, : form.crop]
    plan = plan_of(CNN, crop.shape)
    variables = draw(plan, seed)
    data = side_by_side(plan, jnp.ones((1, *crop.shape[:2], 2)), crop)
    trained = train_to(plan, variables, data, seed, form.crop_steps, tell)
    fit = predictor(plan, crop.shape)(trained, data.inputs)[0]
    middle = form.crop // 2
    difference = np.abs(fit - fit[middle, middle]).max(-1)
    mean = np.broadcast_to(crop.mean((0, 1)), crop.shape)
    return {
        "side": form.crop,
        "steps": form.crop_steps,
        "layers": len(CNN.hidden_features) + 1,
        # Pixels from the border inwards whose colour differs from the middle's.
        "reach": int(np.sum(difference[:middle, middle] > COLOUR_TOLERANCE)),
        "from_middle": difference,
        "psnr_db": float(metrics.psnr(fit, crop)),
        "mean_psnr_db": float(metrics.psnr(mean, crop)),
    }


def sharing(grid: int, form: Form, image: np.ndarray, seed: int, tell: Tell) -> Json:
    """One network for all pixels, or one for each of grid x grid tiles.

    At each sigma all have the same B, and together about as many parameters. They
    learn the pixels of even row and column, a quarter, and are asked for those of odd
    row and column too.
    """
    side, channels = form.size // 8 * 8, image.shape[-1]
    image, count = image[:side, :side], grid**2
    config = ADAM.replace(hidden_features=_widths(ADAM, count, channels))
    plan = plan_of(config, (side, side, channels))
    # Tile by tile for the first sigma, then for the second, all side by side.
    variables = select(draw(plan, seed, count), [*range(count)] * len(SIGMAS))
    drawn = draw(plan_of(ADAM, (1, 1, 1)), seed)["constants"]["frequencies"]
    scale = jnp.repeat(jnp.array(SIGMAS), count)[:, None, None] / ADAM.number("sigma")
    variables = {**variables, "constants": {"frequencies": scale * drawn}}
    coords = pixel_grid(side, side)

    def tiles(array: np.ndarray) -> np.ndarray:
        tile = len(array) // grid
        cut = array.reshape(grid, tile, grid, tile, -1).swapaxes(1, 2)
        return cut.reshape(count, tile**2, -1)

    def part(first: int) -> Any:
        pixels = slice(first, None, 2)
        repeated = (len(SIGMAS), 1, 1)
        positions = jnp.asarray(np.tile(tiles(coords[pixels, pixels]), repeated))
        colours = np.tile(tiles(image[pixels, pixels]), repeated)
        inputs = jax.vmap(plan.model.encode)(variables, positions)
        return side_by_side(plan, inputs, colours)

    seen, unseen = part(0), part(1)
    trained = train_to(plan, variables, seen, seed, form.crop_steps, tell)
    predict = predictor(plan, seen.values.shape[1:])

    def psnr_db(data: Any) -> list[float]:
        found = predict(trained, data.inputs)
        pairs = zip(
            np.split(found, len(SIGMAS)),
            np.split(np.array(data.values), len(SIGMAS)),
            strict=True,
        )
        return [float(metrics.psnr(*pair)) for pair in pairs]

    return {
        "side": side,
        "networks": count,
        "widths": config.hidden_features,
        "num_params": count_params(variables) // len(SIGMAS),
        "steps": form.crop_steps,
        "sigmas": SIGMAS,
        "seen_db": psnr_db(seen),
        "unseen_db": psnr_db(unseen),
    }


def _widths(config: Config, count: int, channels: int) -> tuple[int, int]:
    """Widths (w, 2 w) of `count` networks with the parameters of one of (128, 256)."""

    def num_params(w: int) -> int:
        sized = config.replace(hidden_features=(w, 2 * w))
        return cost.count_params(make_model(sized, 1, 1, channels))

    most = num_params(config.hidden_features[0])
    w = min(range(1, 129), key=lambda w: abs(count * num_params(w) - most))
    return w, 2 * w

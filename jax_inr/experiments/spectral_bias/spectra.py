"""Experiments on what is learned when: images, widths, and sinusoids."""

import base64
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_inr import metrics
from jax_inr.analysis import spectra as analysis
from jax_inr.config import Config
from jax_inr.experiments.report import Json
from jax_inr.experiments.spectral_bias.fits import (
    ADAM,
    PLAIN,
    Tell,
    data_of,
    doublings,
    draw,
    plan_of,
    predictor,
    select,
    train,
    train_to,
)
from jax_inr.experiments.spectral_bias.forms import Form
from jax_inr.io.images import encode_png
from jax_inr.model import count_params
from jax_inr.presets import preset
from jax_inr.rendering import render

SIGMAS = (1.0, 10.0, 30.0)
WAVES = np.array([[0, 1], [2, 0], [2, 2], [0, 4], [5, 2], [-5, 6]])
PHASES = np.array([0.3, 1.9, 4.1, 0.8, 5.2, 2.6])
WAVE_AMPLITUDE = 0.06  # six of them stay within [0, 1]
HALF = 0.5  # of a sinusoid's amplitude, or a band's energy, where little is learned
NEXT_PERIOD = (0.0, 1.0, 1.0, 2.0)  # the window one width to the right
CNN_WIDTH = 64  # up to which the CNN takes Adam's usual rate
WIDTH_RATE = 3e-3  # of hidden layers 128 wide


def networks(form: Form) -> dict[str, tuple[Config, int]]:
    """The networks whose spectra are compared, and the steps of each."""
    cnn = preset("cnn").replace(rgb_max=255, hidden_features=form.cnn_widths)
    # At 1e-3 the widest ended at 7.8 dB, below the mean colour.
    rate = ADAM.learning_rate * CNN_WIDTH / max(form.cnn_widths)
    adam = cnn.replace(optimizer="adam", learning_rate=rate)
    batch: Any = {"batch_size": form.batch_size}
    return {
        "cnn": (cnn, form.cnn_steps),
        "cnn-adam": (adam, form.cnn_steps),
        "mlp": (PLAIN.replace(**batch), form.steps),
        "gaussian": (ADAM.replace(sigma=SIGMAS[0], **batch), form.steps),
        "siren": (
            PLAIN.replace(network="siren", learning_rate=3e-4, **batch),
            form.steps,
        ),
    }


def spectra(name: str, form: Form, image: np.ndarray, seed: int, tell: Tell) -> Json:
    """The share of each band's energy that is missing after 1, 2, 4, … steps.

    The Gaussian encoding comes at all sigmas side by side, with one draw of B.
    """
    config, last = networks(form)[name]
    plan = plan_of(config, image.shape)
    variables, labels = draw(plan, seed), [name]
    if config.encoding == "gaussian":
        labels = [f"{name}-{sigma:g}" for sigma in SIGMAS]
        variables = select(variables, [0] * len(SIGMAS))
        scale = jnp.array(SIGMAS)[:, None, None] / config.number("sigma")
        frequencies = variables["constants"]["frequencies"] * scale
        variables = {**variables, "constants": {"frequencies": frequencies}}
    data = data_of(plan, variables, image)
    predict = predictor(plan, image.shape)
    height, width = image.shape[:2]
    edges = analysis.band_edges(height, width, form.bands)
    share = jax.jit(jax.vmap(lambda p: analysis.missing_share(p, image, edges)))
    steps = doublings(last)
    missing, psnr_db, fits = [], [], image[None]
    trained = variables
    for _, trained in train(plan, variables, data, seed, steps, tell):
        fits = predict(trained, data.inputs)
        missing.append(np.asarray(share(fits)))
        psnr_db.append([float(metrics.psnr(p, image)) for p in fits])
    results = {}
    for i, label in enumerate(labels):
        network, missed = select(trained, i), np.stack(missing)[:, i]
        results[label] = {
            "optimizer": config.optimizer,
            "learning_rate": config.learning_rate,
            "batch_size": config.batch_size,
            "widths": config.hidden_features,
            "num_params": count_params(network),
            "steps": steps,
            "edges": edges,
            "missing": missed,
            "psnr_db": [row[i] for row in psnr_db],
            "learned_steps": analysis.learned_steps(missed, steps),
            "highest_learned": analysis.highest_learned(missed[-1], edges),
            "png": base64.b64encode(encode_png(fits[i])).decode(),
        }
        if name == "mlp":  # once, for the figure
            results[label]["target"] = base64.b64encode(encode_png(image)).decode()
        if config.encoding == "gaussian":
            beside = render(plan.model, network, height, width, NEXT_PERIOD)
            results[label]["next_period_db"] = float(metrics.psnr(beside, image))
    mean = np.broadcast_to(image.mean((0, 1)), image.shape)
    return {"networks": results, "mean_psnr_db": float(metrics.psnr(mean, image))}


def width(
    hidden: int | None, form: Form, image: np.ndarray, seed: int, tell: Tell
) -> Json:
    """PSNR and highest learned frequency of a network without encoding, by width.

    A hidden width of None is the notebook's network with its Gaussian encoding.
    """
    # Wide layers need smaller steps: the root keeps all of these widths stable.
    rate = WIDTH_RATE * (128 / (hidden or 128)) ** 0.5
    config = ADAM if hidden is None else PLAIN.replace(hidden_features=(hidden, hidden))
    config = config.replace(
        learning_rate=rate,
        batch_size=form.width_batch,
        schedule="cosine",
        steps=form.width_steps,
    )
    plan = plan_of(config, image.shape)
    variables = draw(plan, seed)
    data = data_of(plan, variables, image)
    trained = train_to(plan, variables, data, seed, form.width_steps, tell)
    fit = predictor(plan, image.shape)(trained, data.inputs)[0]
    height, width = image.shape[:2]
    edges = analysis.band_edges(height, width, form.bands)
    missing = np.asarray(analysis.missing_share(fit, image, edges))
    return {
        "hidden": hidden,
        "num_params": count_params(select(variables, 0)),
        "steps": form.width_steps,
        "batch_size": config.batch_size,
        "learning_rate": rate,
        "psnr_db": float(metrics.psnr(fit, image)),
        "missing": missing,
        "edges": edges,
        "half_learned": analysis.highest_learned(missing, edges, HALF),
    }


def waves(encoding: str, form: Form, image: np.ndarray, seed: int, tell: Tell) -> Json:
    """Sinusoids of equal amplitude: how much of each is learned after each step.

    The image plays no part: here the truth is exact. Several draws side by side.
    """
    side = form.wave_side
    target = analysis.sinusoids(side, side, WAVES, PHASES, WAVE_AMPLITUDE)
    config = ADAM if encoding == "gaussian" else PLAIN
    plan = plan_of(config, target.shape)
    variables = draw(plan, seed, form.wave_draws)
    data = data_of(plan, variables, target)
    predict = predictor(plan, target.shape)
    share = jax.jit(jax.vmap(lambda p: analysis.learned_amplitudes(p, target, WAVES)))
    steps = [int(s) for s in np.unique(np.geomspace(1, form.wave_steps, 61).round())]
    trained = train(plan, variables, data, seed, steps, tell)
    shares = [np.asarray(share(predict(found, data.inputs))) for _, found in trained]
    shares = np.stack(shares, 1)  # (draws, steps, waves)
    return {
        "side": side,
        "sigma": config.sigma if encoding == "gaussian" else None,
        "waves": WAVES,
        "radii": np.hypot(*WAVES.T),
        "steps": steps,
        "shares": shares,
        "learned_steps": [analysis.learned_steps(1 - s, steps, HALF) for s in shares],
    }


def parseval(form: Form, image: np.ndarray, seed: int, tell: Tell) -> Json:
    """The energy of all modes over that of the pixels, less 1, for several shapes."""
    size = len(image)
    errors = {}
    for height, width in ((size, size), (size - 1, size - 1), (size - 1, size // 2)):
        crop = image[:height, :width]
        power = np.asarray(analysis.power_spectrum(crop), np.float64)
        energy = np.sum(np.square(crop, dtype=np.float64))
        errors[f"{height}x{width}"] = abs(float(power.sum() / energy) - 1)
    return {"errors": errors}

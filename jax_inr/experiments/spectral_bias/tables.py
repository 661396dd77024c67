"""The sections' texts and tables, made from what the experiments kept.

Each takes what a section's parts measured, by part.
"""

from typing import Any

from jax_inr.experiments.report import Json, table
from jax_inr.experiments.spectral_bias.checks import DECAY
from jax_inr.experiments.spectral_bias.figures import ENCODINGS, NETWORKS
from jax_inr.experiments.spectral_bias.verdicts import colour_difference, cycles

Rows = list[tuple[Any, ...]]


def networks_of(section: Json) -> Json:
    """Every network's spectrum, in the order of the figures."""
    found: Json = {}
    for part in section.values():
        found |= part["networks"]
    return {name: found[name] for name in NETWORKS if name in found}


def write_waves(section: Json) -> str:
    first = next(iter(section.values()))
    rows: Rows = [("cycles per image", *(f"{r:.1f}" for r in first["radii"]))]
    for name, run in section.items():
        for i, steps in enumerate(run["learned_steps"], 1):
            title = f"{ENCODINGS[name]}, draw {i}"
            rows.append((title, *("never" if s is None else s for s in steps)))
    return (
        f"The target is a sum of {len(first['radii'])} sinusoids of equal amplitude on "
        f"{first['side']}x{first['side']} pixels, so the truth is exact and nothing "
        "but frequency tells them apart. The table has the step at which half of each "
        f"amplitude is learned, of {first['steps'][-1]} full-batch steps.\n\n"
        + table(*rows)
    )


def write_kernels(section: Json) -> str:
    rows: Rows = [
        (
            "network",
            "λ₁",
            "λ₁₀ / λ₁",
            "λ₁₀₀ / λ₁",
            "mean frequency of eigenvectors 2 to 10",
        )
    ]
    for name, run in section.items():
        values, radii = run["eigenvalues"], run["frequencies"][1:10]
        hundredth = f"{values[99] / values[0]:.1e}" if len(values) > 99 else "–"
        rows.append(
            (
                ENCODINGS[name],
                f"{values[0]:.1f}",
                f"{values[9] / values[0]:.1e}",
                hundredth,
                f"{sum(radii) / len(radii):.1f} cycles",
            )
        )
    run = next(iter(section.values()))
    steps = run["steps"][-1]
    return (
        "Before any training, the Jacobian J of the network on a sub-grid of "
        f"{run['side']}x{run['side']} pixels tells what gradient descent will learn "
        "first: the residual's share along an eigenvector of the NTK K = J Jᵀ decays "
        "by 1 − 2 η λ / n at each step (η the learning rate, n the pixels; mean "
        "squared error with no half). Eigenvectors of large λ are learned first, and "
        "their images show what they are.\n\n"
        + table(*rows)
        + f"\n\nWhat {steps} steps take from each component of the residual, as a "
        "share of its start, measured against predicted. While the network learns, its "
        "kernel changes, and the small components feel it: of those the prediction "
        "holds at a vanishing step, and no longer later. "
        f"{DECAY:.0%} of a component's start are little to ask where nearly "
        f"nothing is lost. {steps} steps are the horizon because after twice as many "
        "the worst component was further off than that.\n\n" + table(*_decays(section))
    )


def _decays(section: Json) -> Rows:
    """Measured and predicted loss of every component, for a table."""
    count = len(next(iter(section.values()))["rates"])
    rows: Rows = [("component", *range(1, count + 1))]
    for name, run in section.items():
        for title in ("predicted", "lost"):
            shares = (f"{share:.2%}" for share in run[title][-1])
            said = "measured" if title == "lost" else title
            rows.append((f"{ENCODINGS[name]}, {said}", *shares))
    return rows


def write_spectra(section: Json) -> str:
    rows: Rows = [
        ("network", "trained by", "parameters", "steps", "PSNR dB", "learned up to")
    ]
    for name, run in networks_of(section).items():
        pixels = run["batch_size"] or "all"
        rows.append(
            (
                NETWORKS[name][0],
                f"{run['optimizer']}, rate {run['learning_rate']:g}, {pixels} pixels",
                run["num_params"],
                run["steps"][-1],
                f"{run['psnr_db'][-1]:.2f}",
                cycles(run),
            )
        )
    return (
        "Each network fits the image, and after 1, 2, 4, 8, … steps the spectrum of "
        "what is missing is taken. Adam's rate for the CNN falls with its width: at "
        "the rate of the others the widest ended below the mean colour.\n\n"
        + table(*rows)
    )


def write_widths(section: Json) -> str:
    rows: Rows = [("network", "parameters", "rate", "PSNR dB", "half learned up to")]
    for run in section.values():
        hidden = run["hidden"]
        title = f"two layers {hidden} wide" if hidden else "Gaussian encoding, σ = 10"
        rows.append(
            (
                title,
                run["num_params"],
                f"{run['learning_rate']:.1e}",
                f"{run['psnr_db']:.2f}",
                f"{run['half_learned']:.1f} cycles",
            )
        )
    run = next(iter(section.values()))
    return (
        "The MLP without encoding at growing widths, the notebook's network with its "
        f"encoding beside it, all for {run['steps']} steps of {run['batch_size']} "
        "pixels; the rate falls with the root of the width, and to zero along a "
        "cosine. The mark here is half of a band's energy, chosen after nine tenths, "
        "the mark elsewhere, were reached in no band without encoding.\n\n"
        + table(*rows)
    )


def write_locality(section: Json) -> str:
    rows: Rows = [
        (
            "network",
            "PSNR dB",
            "of the refit",
            "fit against refit, dB",
            "fit against another draw's, dB",
            "translated: inside",
            "translated: anywhere",
        )
    ]
    for name, title in (("cnn", "CNN with Adam"), ("pixel", "per-pixel, σ = 10")):
        if name in section:
            run = section[name]
            rows.append(
                (
                    title,
                    f"{run['psnr_db']:.2f}",
                    f"{run['refit_psnr_db']:.2f}",
                    f"{run['refit_db']:.2f}",
                    f"{run['redrawn_db']:.2f}",
                    colour_difference(run["translated_inner"]),
                    colour_difference(run["translated_largest"]),
                )
            )
    text = []
    if len(rows) > 1:
        run = section.get("cnn") or section["pixel"]
        text += [
            f"A crop of {run['side']}x{run['side']} pixels is fitted, and fitted anew "
            f"after the image has moved by {run['shift']} pixels both ways, from "
            "the same weights. Fit and refit are held against each other where they "
            "show the same thing, and the fit against one from another draw of "
            "weights: the PSNR between images, high where they agree. “Translated” is "
            "the fitted network at coordinates that have moved: the largest "
            "difference from its own output, moved.",
            table(*rows),
        ]
        for name, title in (("cnn", "the CNN"), ("pixel", "the per-pixel network")):
            if name in section:
                text.append(_refit(title, section[name]))
    if "padding" in section:
        run = section["padding"]
        text.append(
            f"A CNN that is shown the number 1 everywhere can know nothing of place "
            f"but through its zero padding. It tells {run['reach']} pixels from the "
            f"border inwards apart, with {run['layers']} layers of 3x3, and gives all "
            f"others one colour: {run['psnr_db']:.2f} dB after {run['steps']} steps, "
            f"where the mean colour has {run['mean_psnr_db']:.2f}."
        )
    return "\n\n".join(text)


def _refit(title: str, run: Json) -> str:
    more, less = run["refit_db"], run["redrawn_db"]
    if abs(more - less) < 1:
        verdict = "as much as another draw of weights does"
    elif more < less:
        verdict = "more than another draw of weights does"
    else:
        verdict = "less than another draw of weights does"
    return (
        f"For {title}, moving the image changes the fit {verdict} ({more:.1f} "
        f"against {less:.1f} dB between the fits)."
    )


def write_sharing(section: Json) -> str:
    rows: Rows = [
        ("σ", "networks", "widths", "parameters", "seen pixels, dB", "unseen, dB")
    ]
    for i, sigma in enumerate(next(iter(section.values()))["sigmas"]):
        for run in section.values():
            rows.append(
                (
                    f"{sigma:g}",
                    run["networks"],
                    "-".join(map(str, run["widths"])),
                    run["num_params"],
                    f"{run['seen_db'][i]:.2f}",
                    f"{run['unseen_db'][i]:.2f}",
                )
            )
    run = next(iter(section.values()))
    return (
        "The image is cut into tiles with a network of its own each, all with the "
        "same encoding and together with as many parameters as the one network that "
        "is shared by all pixels. They learn the pixels of even row and column, a "
        f"quarter, for {run['steps']} steps; the pixels of odd row and column are "
        f"never seen. σ = {run['sigmas'][0]:g} was added after σ = "
        f"{run['sigmas'][-1]:g}, at which tiles of their own came out ahead in "
        "trials.\n\n" + table(*rows)
    )

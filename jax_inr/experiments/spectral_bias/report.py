"""The report on spectral bias: text and figures, made from the kept JSON alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax_inr.draw import plots
from jax_inr.draw.settings import default_settings
from jax_inr.experiments.spectral_bias import figures, verdicts
from jax_inr.experiments.spectral_bias.figures import NETWORKS
from jax_inr.experiments.spectral_bias.verdicts import Verdict
from jax_inr.io.atomic import write_atomic

Json = dict[str, Any]

NOT_JUDGED = (
    "Not judged, because nothing here measures it: that the output is “built from a "
    "set of signal primitives” (hierarchy), and that the picture is “some non-linear "
    "function of a set of arbitrary sinusoids”, which is a description of the network."
)

GROUNDS = (
    "One picture and one seed: a verdict is about these fits. What counts is this "
    "report's own choice: an order is one from a rank correlation of "
    f"{verdicts.ORDERED:g} on, a network is ahead from 1 dB on, and “in part” is said "
    "where one of a statement's two measurements bears it out. The networks are not "
    "all trained alike: the tables say which optimizer, rate and steps each had."
)


def write_report(kept: Json, out: Path) -> None:
    """OUT.md and its pictures from OUT.json; a section not measured is left out."""
    about, runs = kept["about"], kept["experiments"]
    measured = {name: run["measured"] for name, run in runs.items()}
    folder = out.parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_introduction(about)]
    if judged := verdicts.statements(measured):
        parts += ["## The notebook's statements", _table(judged, "statement")]
        parts += [GROUNDS, NOT_JUDGED]
    for name, (title, write, draw) in SECTIONS.items():
        section = {
            key.partition("/")[2]: one
            for key, one in measured.items()
            if key.startswith(f"{name}/")
        }
        if not section:
            continue
        parts += [f"## {title}", write(section)]
        for stem, alt, make in draw:
            picture = folder / f"{out.stem}-{stem}.png"
            with default_settings():
                write_atomic(picture, plots.png(make(section)))
            parts += [f"![{alt}](images/{picture.name})"]
    if found := verdicts.checks(measured):
        parts += ["## The instruments", _table(found, "promise")]
    parts += [_made(runs)]
    write_atomic(out.with_suffix(".md"), ("\n\n".join(parts) + "\n").encode())


def _introduction(about: Json) -> str:
    image, form = about["image"], about["form"]
    return (
        "# Spectral bias, measured\n\n"
        "The notebook tells a story: plain networks learn low frequencies first, more "
        "parameters do not help, Fourier features cure it, and one small network "
        "shared by all pixels is the right bias. Here every step of it is an "
        "experiment with a number. All numbers, verdicts and figures are made by "
        "`scripts/spectral_bias.py` from its own measurements.\n\n"
        f"The picture is `{image['path']}` at {image['height']}x{image['width']} "
        f"pixels, seed {about['seed']}. Frequencies are in cycles per picture. A band "
        f"is one of {form['bands']} of equal ratio from 1 cycle to the "
        f"{form['size'] // 2} that the pixels can show; it counts as learned where "
        "the residual has at most a tenth of the picture's energy in it, both under a "
        "Hann window. Unless it says otherwise a network has the notebook's layers, "
        "128 and 256 wide, and learns by Adam, so that networks differ and not the "
        "way they are trained."
    )


def _table(found: list[Verdict], heading: str) -> str:
    lines = [f"| {heading} | verdict | measured |", "|---|---|---|"]
    for statement, verdict, evidence in found:
        lines.append(f"| {statement} | **{verdict}** | {evidence} |")
    return "\n".join(lines)


def _rows(*rows: tuple[Any, ...]) -> str:
    head, *others = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *others])


def _networks(section: Json) -> Json:
    """Every network's spectrum, in the order of the figures."""
    found = {n: one for part in section.values() for n, one in part["networks"].items()}
    return {name: found[name] for name in NETWORKS if name in found}


def _on_networks(draw: Callable) -> Callable:
    return lambda section: draw(_networks(section))


def write_waves(section: Json) -> str:
    one = next(iter(section.values()))
    rows: list[tuple[Any, ...]] = [
        ("cycles per picture", *(f"{r:.1f}" for r in one["radii"]))
    ]
    for name, result in section.items():
        for i, steps in enumerate(result["learned_steps"], 1):
            title = f"{figures.ENCODINGS[name]}, draw {i}"
            rows.append((title, *("never" if s is None else s for s in steps)))
    return (
        f"The target is a sum of {len(one['radii'])} sinusoids of equal amplitude on "
        f"{one['side']}x{one['side']} pixels, so the truth is exact and nothing but "
        "frequency tells them apart. The table has the step at which half of each "
        f"amplitude is learned, of {one['steps'][-1]} full-batch steps.\n\n"
        + _rows(*rows)
    )


def write_kernels(section: Json) -> str:
    rows: list[tuple[Any, ...]] = [
        (
            "network",
            "λ₁",
            "λ₁₀ / λ₁",
            "λ₁₀₀ / λ₁",
            "mean frequency of eigenvectors 2 to 10",
        )
    ]
    for name, one in section.items():
        values, radii = one["eigenvalues"], one["frequencies"][1:10]
        hundredth = f"{values[99] / values[0]:.1e}" if len(values) > 99 else "–"
        rows.append(
            (
                figures.ENCODINGS[name],
                f"{values[0]:.1f}",
                f"{values[9] / values[0]:.1e}",
                hundredth,
                f"{sum(radii) / len(radii):.1f} cycles",
            )
        )
    one = next(iter(section.values()))
    steps = one["steps"][-1]
    return (
        "Before any training, the Jacobian J of the network on a sub-grid of "
        f"{one['side']}x{one['side']} pixels tells what gradient descent will learn "
        "first: the residual's share along an eigenvector of the NTK K = J Jᵀ decays "
        "by 1 − 2 η λ / n at each step (η the learning rate, n the pixels; mean "
        "squared error with no half). Eigenvectors of large λ are learned first, and "
        "their pictures show what they are.\n\n"
        + _rows(*rows)
        + f"\n\nWhat {steps} steps take from each component of the residual, as a "
        "share of its start, measured against predicted. While the network learns, its "
        "kernel changes, and the small components feel it: of those the prediction "
        "holds at a vanishing step, and no longer later. "
        f"{verdicts.DECAY:.0%} of a component's start are little to ask where nearly "
        f"nothing is lost. {steps} steps are the horizon because after twice as many "
        "the worst component was further off than that.\n\n" + _rows(*_decays(section))
    )


def _decays(section: Json) -> list[tuple[Any, ...]]:
    """Measured and predicted loss of every component, for a table."""
    count = len(next(iter(section.values()))["rates"])
    rows: list[tuple[Any, ...]] = [("component", *range(1, count + 1))]
    for name, one in section.items():
        for title in ("predicted", "lost"):
            shares = (f"{share:.2%}" for share in one[title][-1])
            said = "measured" if title == "lost" else title
            rows.append((f"{figures.ENCODINGS[name]}, {said}", *shares))
    return rows


def write_spectra(section: Json) -> str:
    rows: list[tuple[Any, ...]] = [
        ("network", "trained by", "parameters", "steps", "PSNR dB", "learned up to")
    ]
    for name, one in _networks(section).items():
        pixels = one["batch_size"] or "all"
        rows.append(
            (
                NETWORKS[name][0],
                f"{one['optimizer']}, rate {one['learning_rate']:g}, {pixels} pixels",
                one["num_params"],
                one["steps"][-1],
                f"{one['psnr_db'][-1]:.2f}",
                verdicts.cycles(one),
            )
        )
    return (
        "Each network fits the picture, and after 1, 2, 4, 8, … steps the spectrum of "
        "what is missing is taken. Adam's rate for the CNN falls with its width: at "
        "the rate of the others the widest ended below the mean colour.\n\n"
        + _rows(*rows)
    )


def write_widths(section: Json) -> str:
    rows: list[tuple[Any, ...]] = [
        ("network", "parameters", "rate", "PSNR dB", "half learned up to")
    ]
    for one in section.values():
        hidden = one["hidden"]
        title = f"two layers {hidden} wide" if hidden else "Gaussian encoding, σ = 10"
        rows.append(
            (
                title,
                one["num_params"],
                f"{one['learning_rate']:.1e}",
                f"{one['psnr_db']:.2f}",
                f"{one['half_learned']:.1f} cycles",
            )
        )
    one = next(iter(section.values()))
    return (
        "The MLP without encoding at growing widths, the notebook's network with its "
        f"encoding beside it, all for {one['steps']} steps of {one['batch_size']} "
        "pixels; the rate falls with the root of the width, and to zero along a "
        "cosine. The mark here is half of a band's energy, chosen after nine tenths, "
        "the mark elsewhere, were reached in no band without encoding.\n\n"
        + _rows(*rows)
    )


def write_locality(section: Json) -> str:
    rows: list[tuple[Any, ...]] = [
        (
            "network",
            "PSNR dB",
            "of the refit",
            "fit against refit, dB",
            "fit against another draw's, dB",
            "slid: inside",
            "slid: anywhere",
        )
    ]
    for name, title in (("cnn", "CNN with Adam"), ("pixel", "per-pixel, σ = 10")):
        if name in section:
            one = section[name]
            rows.append(
                (
                    title,
                    f"{one['psnr_db']:.2f}",
                    f"{one['refit_psnr_db']:.2f}",
                    f"{one['refit_db']:.2f}",
                    f"{one['redrawn_db']:.2f}",
                    verdicts.colours_apart(one["slid_inner"]),
                    verdicts.colours_apart(one["slid_largest"]),
                )
            )
    text = []
    if len(rows) > 1:
        one = section.get("cnn") or section["pixel"]
        text += [
            f"A crop of {one['side']}x{one['side']} pixels is fitted, and fitted anew "
            f"after the picture has moved by {one['shift']} pixels both ways, from "
            "the same weights. Fit and refit are held against each other where they "
            "show the same thing, and the fit against one from another draw of "
            "weights: the PSNR between pictures, high where they agree. “Slid” is "
            "the fitted network at coordinates that have moved: the largest "
            "difference from its own output, moved.",
            _rows(*rows),
        ]
        for name, title in (("cnn", "the CNN"), ("pixel", "the per-pixel network")):
            if name in section:
                text.append(_refit(title, section[name]))
    if "padding" in section:
        one = section["padding"]
        text.append(
            f"A CNN that is shown the number 1 everywhere can know nothing of place "
            f"but through its zero padding. It tells {one['reach']} pixels from the "
            f"border inwards apart, with {one['layers']} layers of 3x3, and gives all "
            f"others one colour: {one['psnr_db']:.2f} dB after {one['steps']} steps, "
            f"where the mean colour has {one['mean_psnr_db']:.2f}."
        )
    return "\n\n".join(text)


def _refit(title: str, one: Json) -> str:
    more, less = one["refit_db"], one["redrawn_db"]
    if abs(more - less) < 1:
        verdict = "as much as another draw of weights does"
    elif more < less:
        verdict = "more than another draw of weights does"
    else:
        verdict = "less than another draw of weights does"
    return (
        f"For {title}, moving the picture changes the fit {verdict} ({more:.1f} "
        f"against {less:.1f} dB between the fits)."
    )


def write_sharing(section: Json) -> str:
    rows: list[tuple[Any, ...]] = [
        ("σ", "networks", "widths", "parameters", "seen pixels, dB", "unseen, dB")
    ]
    for i, sigma in enumerate(next(iter(section.values()))["sigmas"]):
        for one in section.values():
            rows.append(
                (
                    f"{sigma:g}",
                    one["networks"],
                    "-".join(map(str, one["widths"])),
                    one["num_params"],
                    f"{one['seen_db'][i]:.2f}",
                    f"{one['unseen_db'][i]:.2f}",
                )
            )
    one = next(iter(section.values()))
    return (
        "The picture is cut into tiles with a network of its own each, all with the "
        "same encoding and together with as many parameters as the one network that "
        "is shared by all pixels. They learn the pixels of even row and column, a "
        f"quarter, for {one['steps']} steps; the pixels of odd row and column are "
        f"never seen. σ = {one['sigmas'][0]:g} was added after σ = "
        f"{one['sigmas'][-1]:g}, at which tiles of their own came out ahead in "
        "trials.\n\n" + _rows(*rows)
    )


SECTIONS: dict[str, tuple[str, Callable[[Json], str], tuple[Any, ...]]] = {
    # section: title, its text, its figures: file name's end, what it shows, who draws
    "spectra": (
        "What is learned when",
        write_spectra,
        (
            ("pictures", "Each network's picture", _on_networks(figures.pictures)),
            ("maps", "What is missing when", _on_networks(figures.heat_maps)),
            ("bands", "Missing and learned by band", _on_networks(figures.learned)),
        ),
    ),
    "waves": (
        "Sinusoids of equal amplitude",
        write_waves,
        (("waves", "Learned amplitude of each sinusoid by step", figures.waves),),
    ),
    "widths": (
        "More parameters",
        write_widths,
        (("widths", "PSNR and frequency by number of parameters", figures.widths),),
    ),
    "ntk": (
        "The neural tangent kernel",
        write_kernels,
        (
            ("eigenvectors", "The leading eigenvectors", figures.eigenvectors),
            ("kernels", "Eigenvalues and the decay they predict", figures.kernels),
        ),
    ),
    "locality": (
        "Translation, and what padding gives away",
        write_locality,
        (("locality", "Where translation fails", figures.locality),),
    ),
    "sharing": (
        "One network for all pixels",
        write_sharing,
        (("sharing", "PSNR by the number of networks", figures.sharing),),
    ),
}


def _made(runs: Json) -> str:
    """How the numbers came about."""
    seconds = sum(run["seconds"] for run in runs.values())
    machines = dict.fromkeys(run["machine"] for run in runs.values())
    versions = dict.fromkeys(
        ", ".join(f"{k} {v}" for k, v in run["versions"].items() if k != "python")
        for run in runs.values()
    )
    commands = dict.fromkeys(f"`{run['command']}`" for run in runs.values())
    return (
        f"{' and '.join(commands)}, {seconds:.0f} s for {len(runs)} experiments on "
        f"{'; '.join(machines)}. {'; '.join(versions)}."
    )

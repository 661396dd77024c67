"""The report on spectral bias: text and figures, made from the kept JSON alone."""

from pathlib import Path

from jax_inr.experiments import report
from jax_inr.experiments.report import Drawing, Json, Section
from jax_inr.experiments.spectral_bias import (
    checks,
    figures,
    prior_figures,
    tables,
    verdicts,
)
from jax_inr.experiments.spectral_bias.verdicts import Verdict

NOT_JUDGED = (
    "Not judged, because nothing here measures it: that the output is “built from a "
    "set of signal primitives” (hierarchy), and that the image is “some non-linear "
    "function of a set of arbitrary sinusoids”, which is a description of the network."
)

GROUNDS = (
    "One image and one seed: a verdict is about these fits. What counts is this "
    "report's own choice: an order is one from a rank correlation of "
    f"{verdicts.ORDERED:g} on, a network is ahead from 1 dB on, and “in part” is said "
    "where one of a statement's two measurements bears it out. The networks are not "
    "all trained alike: the tables say which optimizer, rate and steps each had."
)


SECTIONS = {
    "spectra": Section(
        "What is learned when",
        tables.write_spectra,
        (
            Drawing(
                "images",
                "Each network's image",
                lambda section: figures.images(tables.networks_of(section)),
            ),
            Drawing(
                "maps",
                "What is missing when",
                lambda section: figures.heat_maps(tables.networks_of(section)),
            ),
            Drawing(
                "bands",
                "Missing and learned by band",
                lambda section: figures.learned(tables.networks_of(section)),
            ),
        ),
    ),
    "waves": Section(
        "Sinusoids of equal amplitude",
        tables.write_waves,
        (Drawing("waves", "Learned amplitude of each sinusoid", figures.waves),),
    ),
    "widths": Section(
        "More parameters",
        tables.write_widths,
        (Drawing("widths", "PSNR and frequency by parameters", figures.widths),),
    ),
    "ntk": Section(
        "The neural tangent kernel",
        tables.write_kernels,
        (
            Drawing(
                "eigenvectors", "The leading eigenvectors", prior_figures.eigenvectors
            ),
            Drawing(
                "kernels", "Eigenvalues and predicted decay", prior_figures.kernels
            ),
        ),
    ),
    "locality": Section(
        "Translation, and what padding gives away",
        tables.write_locality,
        (Drawing("locality", "Where translation fails", prior_figures.locality),),
    ),
    "sharing": Section(
        "One network for all pixels",
        tables.write_sharing,
        (Drawing("sharing", "PSNR by the number of networks", prior_figures.sharing),),
    ),
}


def write(kept: Json, out: Path) -> None:
    """OUT.md and its figures from OUT.json; a section not measured is left out."""
    records = kept["sections"]
    measured = {name: record["measured"] for name, record in records.items()}
    parts = [_introduction(kept["about"])]
    if judged := verdicts.statements(measured):
        parts += ["## The notebook's statements", _verdicts(judged, "statement")]
        parts += [GROUNDS, NOT_JUDGED]
    for name, section in SECTIONS.items():
        found = {
            key.partition("/")[2]: result
            for key, result in measured.items()
            if key.startswith(f"{name}/")
        }
        if found:
            parts += [f"## {section.title}", section.write(found)]
            parts += report.draw(section.drawings, found, out)
    if found := checks.checks(measured):
        parts += ["## The instruments", _verdicts(found, "promise")]
    seconds = sum(record["seconds"] for record in records.values())
    made_by = report.made_by(records.values())
    parts += [f"{made_by}; {len(records)} experiments in {seconds:.0f} s."]
    report.write_text(parts, out)


def _introduction(about: Json) -> str:
    image, form = about["image"], about["form"]
    return (
        "# Spectral bias, measured\n\n"
        "The notebook tells a story: plain networks learn low frequencies first, more "
        "parameters do not help, Fourier features cure it, and one small network "
        "shared by all pixels is the right bias. Here every step of it is an "
        "experiment with a number. All numbers, verdicts and figures are made by "
        "`scripts/spectral_bias.py` from its own measurements.\n\n"
        f"The image is `{image['path']}` at {image['height']}x{image['width']} "
        f"pixels, seed {about['seed']}. Frequencies are in cycles per image. A band "
        f"is one of {form['bands']} of equal ratio from 1 cycle to the "
        f"{form['size'] // 2} that the pixels can show; it counts as learned where "
        "the residual has at most a tenth of the image's energy in it, both under a "
        "Hann window. Unless it says otherwise a network has the notebook's layers, "
        "128 and 256 wide, and learns by Adam, so that networks differ and not the "
        "way they are trained."
    )


def _verdicts(found: list[Verdict], heading: str) -> str:
    rows = ((v.statement, f"**{v.verdict}**", v.evidence) for v in found)
    return report.table((heading, "verdict", "measured"), *rows)

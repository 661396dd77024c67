"""What the measurements say of the notebook's statements: sentences made of numbers.

Every function takes what a section measured, by part, and returns verdicts; a number or
a direction that is not in the measurements appears in none of them.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from jax_inr.experiments.report import Json
from jax_inr.experiments.spectral_bias.forms import COLOUR_TOLERANCE

YES, PARTLY, NO = "borne out", "borne out in part", "not borne out"
ORDERED = 0.8  # rank correlation from which on an order counts as one
NO_DETAIL = 0.9  # share of the upper bands missing from which on no detail is learned


class Verdict(NamedTuple):
    """A statement, whether it is borne out, and the numbers that say so."""

    statement: str
    verdict: str
    evidence: str


def is_monotone(steps: list[int | None]) -> bool:
    """Whether nothing is learned before what comes ahead of it; None is never."""
    known = [math.inf if step is None else step for step in steps]
    return all(a <= b for a, b in itertools.pairwise(known))


def rank_correlation(a: Any, b: Any) -> float:
    """Spearman's correlation of ranks, ties at their mean; 0 of a constant."""
    # Imported late: scipy takes time.
    from scipy import stats

    if min(len(set(a)), len(set(b))) < 2:
        return 0.0
    correlation: Any = stats.spearmanr(a, b)
    return float(correlation.statistic)


def decibels(a: float, b: float) -> str:
    """Two PSNRs held against each other."""
    return f"{a:.1f} against {b:.1f} dB"


def cycles(network: Json) -> str:
    """Up to which frequency a network has learned everything."""
    up_to = network["highest_learned"]
    return f"{up_to:.1f} cycles" if up_to else "no band"


def colour_difference(difference: float) -> str:
    """A difference of colours in words."""
    return f"{difference:.1e}" if difference else "nothing"


def statements(kept: Json) -> list[Verdict]:
    """The notebook's statements, as far as what they need was measured."""
    networks: Json = {}
    for name, run in kept.items():
        if name.startswith("spectra/"):
            networks |= run["networks"]
    parts = {name.partition("/")[2]: run for name, run in kept.items()}
    widths = {n: run for n, run in kept.items() if n.startswith("widths/")}
    found: list[Verdict] = []
    if {"mlp"} <= networks.keys() and "waves/none" in kept:
        found.append(_bias(networks["mlp"], kept["waves/none"]))
    if {"cnn", "cnn-adam"} <= networks.keys():
        mean_db = kept["spectra/cnn"]["mean_psnr_db"]
        found.append(_colours(networks["cnn"], networks["cnn-adam"], mean_db))
    if "widths/gaussian" in widths and len(widths) > 2:
        plain = [run for run in widths.values() if run["hidden"] is not None]
        found.append(_overparameterized(plain, widths["widths/gaussian"]))
    if {"mlp", "siren"} <= networks.keys():
        found.append(_limitation(networks["mlp"], networks["siren"]))
    encoded = {n: run for n, run in networks.items() if n.startswith("gaussian-")}
    if encoded and "mlp" in networks:
        found.append(_cure(networks["mlp"], encoded))
    if encoded:
        mean_db = kept["spectra/gaussian"]["mean_psnr_db"]
        found.append(_period(encoded, mean_db))
    if {"locality/cnn", "locality/pixel", "locality/padding"} <= kept.keys():
        found.append(_equivariance(parts["cnn"], parts["pixel"], parts["padding"]))
    shared = [run for name, run in kept.items() if name.startswith("sharing/")]
    if len(shared) > 1:
        found.append(_sharing(shared))
    return found


def _bias(mlp: Json, waves: Json) -> Verdict:
    missing = mlp["missing"][-1]
    order = rank_correlation(range(len(missing)), missing)
    draws = waves["learned_steps"]
    monotone = sum(is_monotone(steps) for steps in draws)
    score = (order >= ORDERED) + (monotone == len(draws))
    return Verdict(
        "“NNs using simple activation functions are biased towards learning low "
        "frequency representations of data”",
        (NO, PARTLY, YES)[score],
        f"after {mlp['steps'][-1]} steps on the image the plain MLP misses "
        f"{missing[0]:.0%} of the lowest band and {missing[-1]:.0%} of the highest, "
        f"rank correlation with frequency {order:.2f}; sinusoids of equal amplitude "
        f"are learned in the order of their frequencies in {monotone} of "
        f"{len(draws)} draws",
    )


def _colours(cnn: Json, adam: Json, mean_db: float) -> Verdict:
    def low_and_high(run: Json) -> tuple[float, float]:
        missing, half = run["missing"][-1], len(run["edges"]) // 2
        return missing[0], float(np.mean(missing[half:]))

    (low, high), (adam_low, adam_high) = low_and_high(cnn), low_and_high(adam)
    no_detail = high >= NO_DETAIL
    colours = cnn["psnr_db"][-1] > mean_db
    score = int(no_detail) + int(no_detail and colours)
    gain = adam["psnr_db"][-1] - cnn["psnr_db"][-1]
    if gain > 1:
        faster = "so part of the blur is the optimizer's"
    elif gain > -1:
        faster = "so the optimizer is not to blame"
    else:
        faster = "which has failed, and tells nothing of the optimizer's part"
    return Verdict(
        "The CNN “ended up learning a ‘low-frequency’ representation of the cat (the "
        "colours are there, but no complex patterns were learned)”",
        (NO, PARTLY, YES)[score],
        f"after {cnn['steps'][-1]} steps it misses {low:.0%} of the lowest band and "
        f"{high:.0%} of the upper half of the bands, at {cnn['psnr_db'][-1]:.1f} dB, "
        f"where the mean colour alone has {mean_db:.1f} dB; the same network under "
        f"Adam misses {adam_low:.0%} and {adam_high:.0%} at "
        f"{adam['psnr_db'][-1]:.1f} dB, {faster}",
    )


def _overparameterized(plain: list[Json], encoded: Json) -> Verdict:
    plain = sorted(plain, key=lambda run: run["num_params"])
    small, large = plain[0], plain[-1]
    best = max(plain, key=lambda run: run["psnr_db"])
    missing = large["missing"]
    order = rank_correlation(range(len(missing)), missing)
    behind = best["psnr_db"] < encoded["psnr_db"]
    score = int(behind) + int(order >= ORDERED)
    return Verdict(
        "“Regardless of overparameterizing the space, the existence of spectral bias "
        "persists”",
        (NO, PARTLY, YES)[score],
        f"{large['num_params'] / small['num_params']:.0f} times the parameters take "
        f"the plain MLP from {small['psnr_db']:.1f} to {large['psnr_db']:.1f} dB in "
        f"{large['steps']} steps, half learned up to {small['half_learned']:.1f} and "
        f"{large['half_learned']:.1f} cycles; at the largest width what is missing "
        f"has a rank correlation of {order:.2f} with frequency; the Gaussian encoding "
        f"with {encoded['num_params'] / large['num_params']:.1%} of those parameters "
        f"has {encoded['psnr_db']:.1f} dB and {encoded['half_learned']:.1f} cycles",
    )


def _limitation(mlp: Json, siren: Json) -> Verdict:
    ahead = siren["psnr_db"][-1] > mlp["psnr_db"][-1] + 1
    quarter = max(len(mlp["steps"]) - 3, 0)
    energy = [float(np.mean(np.minimum(row, 1))) for row in mlp["missing"]]
    still = energy[-1] < energy[quarter] - 0.01
    verdict = (YES if not still else PARTLY) if ahead else NO
    since = mlp["steps"][quarter]
    slow = (
        f"yet the ReLU network is slow rather than unable: from step {since} to "
        f"{mlp['steps'][-1]} its missing share, averaged over bands, still falls "
        f"from {energy[quarter]:.0%} to {energy[-1]:.0%}"
        if still
        else f"from step {since} on the ReLU network learns nothing more"
    )
    return Verdict(
        "“This is a fundamental architectural limitation with most standard activation "
        "functions (specifically for ones that do not have some form of frequency "
        "parameter built in)”",
        verdict,
        "SIREN, whose sine has a frequency, against ReLU at equal widths and steps: "
        f"{decibels(siren['psnr_db'][-1], mlp['psnr_db'][-1])}, learned up to "
        f"{cycles(siren)} against {cycles(mlp)}; {slow}",
    )


def _cure(mlp: Json, encoded: Json) -> Verdict:
    def final(run: Json) -> float:
        return run["psnr_db"][-1]

    best = max(encoded, key=lambda name: final(encoded[name]))
    gains = {name: final(run) - final(mlp) for name, run in encoded.items()}
    better = [name for name, gain in gains.items() if gain > 1]
    verdict = YES if len(better) == len(gains) else (PARTLY if better else NO)
    each = ", ".join(
        f"{cycles(run)} and {final(run):.1f} dB at σ = {name.rpartition('-')[2]}"
        for name, run in encoded.items()
    )
    return Verdict(
        "“To counteract spectral bias, we can encode our input as a Fourier Series”",
        verdict,
        f"in {mlp['steps'][-1]} steps the network learns up to {each}, against "
        f"{cycles(mlp)} and {final(mlp):.1f} dB without "
        f"encoding; σ = {best.rpartition('-')[2]} is the best of these here",
    )


def _period(encoded: Json, mean_db: float) -> Verdict:
    # How far towards the fit's own quality the image's repetition gets.
    repeats = {
        name: run["next_period_db"] > (run["psnr_db"][-1] + mean_db) / 2
        for name, run in encoded.items()
    }
    count = sum(repeats.values())
    each = ", ".join(
        f"{run['next_period_db']:.1f} dB at σ = {name.rpartition('-')[2]} (in the "
        f"image {run['psnr_db'][-1]:.1f})"
        for name, run in encoded.items()
    )
    return Verdict(
        "“We are treating the image as the signal of a single period. This makes the "
        "signal periodic”",
        YES if count == len(repeats) else (PARTLY if count else NO),
        f"one period further on, the fit shows the image with {each}; its mean "
        f"colour has {mean_db:.1f} dB. Gaussian frequencies are no whole numbers of "
        "cycles",
    )


def _equivariance(cnn: Json, pixel: Json, padding: Json) -> Verdict:
    inner, anywhere = (
        colour_difference(largest)
        for largest in (cnn["translated_inner"], pixel["translated_largest"])
    )
    inside, edge = (
        cnn[f"translated_{where}"] <= COLOUR_TOLERANCE for where in ("inner", "largest")
    )
    where = f"{padding['reach']} pixels" if padding["reach"] else "no pixel"
    return Verdict(
        "CNNs have “translation equivariance: translating the input will shift the "
        "output in a similar way”",
        (YES if edge else PARTLY) if inside else NO,
        f"with the input of a trained CNN {cnn['shift']} pixels further on, colours "
        f"differ from the translated output by {inner} inside and by up to "
        f"{cnn['translated_largest']:.2f} at the border, where zeros are padded; the "
        f"per-pixel network's by {anywhere} anywhere. Padding alone tells "
        f"{where} from the border where they are, with {padding['layers']} "
        "layers of 3x3",
    )


def _sharing(shared: list[Json]) -> Verdict:
    shared = sorted(shared, key=lambda run: run["networks"])
    wins, found = 0, []
    for i, sigma in enumerate(shared[0]["sigmas"]):
        unseen = [run["unseen_db"][i] for run in shared]
        wins += unseen[0] == max(unseen)
        each = ", ".join(
            f"{db:.1f} dB by {run['networks']}"
            for db, run in zip(unseen, shared, strict=True)
        )
        found.append(f"at σ = {sigma:g} {each}")
    return Verdict(
        "“We should use a network that shares parameters, because we are assuming that "
        "the non-linear function can be generalized to every pixel”",
        YES if wins == len(found) else (PARTLY if wins else NO),
        "pixels that were not trained on, from networks of together as many "
        f"parameters: {'; '.join(found)}",
    )

"""What a user would have without jax_inr: torch by hand, and packages from PyPI."""

import importlib
import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jax_inr.experiments.report import Json

if TYPE_CHECKING:
    import torch

SIDE = 224  # of the sample image


def torch_linear(compiled: bool) -> Callable[[int], float]:
    """`optimized` in torch as a user would speed it up: rows of pixels and Linear."""
    import torch

    torch.manual_seed(0)
    coords, colours = _sample()
    phases = 2 * torch.pi * coords @ (10 * torch.randn(2, 128))
    features = torch.cat([phases.sin(), phases.cos()], -1)
    target = colours * (255 / 256)
    net = _mlp((256, 128, 256))
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9)

    def loss() -> "torch.Tensor":
        return torch.nn.functional.mse_loss(net(features), target)

    evaluate = torch.compile(loss) if compiled else loss

    def run(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            optimizer.zero_grad()
            evaluate().backward()
            optimizer.step()
        return (time.perf_counter() - start) / repeats

    return run


def fit_peer(name: str, options: Json) -> Json:
    """A fit by a package from PyPI, with that package's documented settings.

    siren-pytorch: five layers of 256, w0_initial 30, final sigmoid (its README), Adam
    at 1e-4 (the SIREN paper). random-fourier-features-pytorch: sigma 10, 256
    frequencies (its README), the paper's three layers of 256 and sigmoid, Adam at 1e-2.
    "…, our size": the same with as many parameters as the notebook's network. hash
    grid: `torch_hash.HashGrid`, Adam at 1e-2.
    Options: steps, seconds (of fitting, at most).
    """
    import torch

    package, _, size = name.partition(", ")
    is_small = bool(size)

    from jax_inr.metrics import psnr

    start = time.perf_counter()
    torch.manual_seed(0)
    coords, target = _sample()
    if package == "hash grid":
        from jax_inr.experiments.benchmark.torch_hash import HashGrid

        net, inputs, rate = HashGrid(), coords, 1e-2
    elif package == "siren-pytorch":
        from siren_pytorch import SirenNet

        net = SirenNet(
            dim_in=2,
            dim_hidden=127 if is_small else 256,
            dim_out=3,
            num_layers=5,
            final_activation=torch.nn.Sigmoid(),
            w0_initial=30.0,
        )
        inputs, rate = 2 * coords - 1, 1e-4
    else:
        # By name, for type checkers: it is in the extra "peers" alone.
        layers = importlib.import_module("rff.layers")
        count = 128 if is_small else 256
        encoding = layers.GaussianEncoding(sigma=10.0, input_size=2, encoded_size=count)
        inputs, rate = encoding(coords), 1e-2
        net = _mlp((256, 128, 256) if is_small else (512, 256, 256, 256))
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    torch.nn.functional.mse_loss(net(inputs), target).backward()
    ready, rows, seconds, step = time.perf_counter() - start, [], 0.0, 0
    while step < options["steps"] and seconds < options["seconds"]:
        begin = time.perf_counter()
        for _ in range(10):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(inputs), target).backward()
            optimizer.step()
        seconds, step = seconds + time.perf_counter() - begin, step + 10
        with torch.no_grad():
            found = net(inputs).numpy()
        rows.append([seconds, float(psnr(found, target.numpy()))])
    return {
        "rows": rows,
        "psnr_db": rows[-1][1],
        "steps": step,
        "num_params": sum(leaf.numel() for leaf in net.parameters()),
        "ready_seconds": ready,
        "fit_seconds": seconds,
    }


def _sample() -> tuple[Any, Any]:
    """Coordinates (n, 2) and colours (n, 3) of the sample image, as torch tensors."""
    import torch

    from jax_inr.coordinates import pixel_grid
    from jax_inr.io.images import sample_image

    coords = pixel_grid(SIDE, SIDE).reshape(-1, 2)
    colours = sample_image(size=SIDE).image.reshape(-1, 3)
    return torch.tensor(coords), torch.tensor(colours)


def _mlp(widths: tuple[int, ...]) -> Any:
    """Linear layers of these widths with ReLU, three colours and a sigmoid."""
    import torch

    hidden = [
        layer
        for a, b in itertools.pairwise(widths)
        for layer in (torch.nn.Linear(a, b), torch.nn.ReLU())
    ]
    last = torch.nn.Linear(widths[-1], 3)
    return torch.nn.Sequential(*hidden, last, torch.nn.Sigmoid())

"""The notebook's own loop: training steps, and what it prints between them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from jax_inr.errors import ConfigError
from torch_ref.training import TorchTrainer


@torch.inference_mode()
def evaluate(
    model: nn.Module, pooled_psnr: Any, features: torch.Tensor, target: torch.Tensor
) -> tuple[float, float]:
    """The true PSNR of the model's image and the notebook's, in dB with peak 1.

    The notebook's comes from `make_pooled_psnr`, which it never resets: it pools the
    squared error of every evaluation so far, and so lags behind the true one.
    """
    model.eval()

    pred = model(features).float().cpu()
    # The optimised notebook compares with cat_img_norm, which it does not define.
    target = target.cpu()
    pooled_psnr.update(pred, target)
    mse = torch.mean((pred - target).double() ** 2)
    return -10 * torch.log10(mse).item(), pooled_psnr.compute().item()


def make_pooled_psnr() -> Any:
    """torchmetrics' PSNR as the notebook makes it; ConfigError without torchmetrics."""
    try:
        # Imported late: it takes seconds.
        from torchmetrics.image import PeakSignalNoiseRatio
    except ImportError as error:
        raise ConfigError(
            "the notebook's pooled PSNR needs torchmetrics, which is not installed",
            'pip install -e ".[torch]"',
        ) from error
    return PeakSignalNoiseRatio(data_range=1.0)


@dataclass(frozen=True)
class Evaluation:
    """What the notebook prints: after `step` steps, true and pooled PSNR in dB."""

    step: int
    psnr_db: float
    pooled_psnr_db: float


def fit(trainer: TorchTrainer) -> list[Evaluation]:
    """The notebook's own loop, which evaluates after steps 1, 1 + eval_every, ..."""
    config, pooled_psnr = trainer.config, make_pooled_psnr()
    history = []
    for e in range(config.steps):
        trainer.advance(1)

        if e % config.eval_every == 0:
            with trainer.computing():
                psnrs = evaluate(
                    trainer.model, pooled_psnr, trainer.features, trainer.target
                )
            history.append(Evaluation(trainer.step, *psnrs))
    return history

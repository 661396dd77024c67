"""The notebook's training step, and a trainer that takes such steps and can resume."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn

from jax_inr.config import Config
from jax_inr.errors import CheckpointError, ConfigError
from torch_ref import convert
from torch_ref.devices import computing, find_device
from torch_ref.encodings import (
    channels_first,
    channels_last,
    encode,
    gaussian_frequencies,
    pixel_grid,
    pixel_indices,
)
from torch_ref.networks import make_network


def train_step(
    model: nn.Module,
    loss_fn: nn.Module,
    opt: torch.optim.Optimizer,
    features: torch.Tensor,
    target: torch.Tensor,
) -> torch.Tensor:
    """One step of the notebook on features (f, h, w) and target (c, h, w).

    Returns the loss before the step, still on the device so that nothing waits.
    """
    model.train()

    pred = model(features)
    loss = loss_fn(pred, target)

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach()


def learning_rate(config: Config, step: int) -> float:
    """The learning rate of step 0, 1, ...: linear warm-up from zero, then the schedule.

    The cosine falls to zero at `config.steps`; optax's warmup_cosine_decay_schedule.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if step < warmup:
        return peak * step / warmup
    if config.schedule == "constant":
        return peak
    done = min((step - warmup) / max(config.steps - warmup, 1), 1.0)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def batch_pixels(num_pixels: int, size: int, seed: int, step: int) -> torch.Tensor:
    """The pixels (size,) of a step's mini-batch: uniform, with replacement.

    They follow seed and step alone, so a resumed run draws what the uninterrupted one
    would have drawn.
    """
    generator = _generator(seed, "batches", step)
    return torch.randint(num_pixels, (size,), generator=generator)


class TorchTrainer:
    """A fit in progress, driven from outside: the Trainer of jax_inr's host loop.

    `step` counts the optimizer steps done. The numbers follow from config, target and
    device alone, however the steps are cut into calls of `advance`.
    """

    def __init__(self, config: Config, target: np.ndarray, device: torch.device):
        for name, only in (
            ("optimizer", "sgd"),
            ("sampling", "pixels"),
            ("train_pixels", "all"),
            ("init", "uniform"),
        ):
            value = getattr(config, name)
            if value != only:
                raise ConfigError(
                    f"torch_ref has no {name} {value}", "use --backend jax"
                )
        self.config = config
        self.device = device
        self.step = 0
        self.height, self.width, channels = target.shape
        self.frequencies = None
        if config.encoding == "gaussian":
            self.frequencies = gaussian_frequencies(
                config.num_frequencies,
                config.number("sigma"),
                _generator(config.seed, "frequencies"),
            )
        # Drawn on the CPU, so that every device starts from the same weights; the
        # fork keeps the caller's own random numbers as they were.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(_seed(config.seed, "weights"))
            self.model = make_network(config, channels)
        self.loss_fn = nn.MSELoss()
        with self.computing():
            self.model.to(device)
            self.target = channels_first(torch.tensor(target, dtype=torch.float32)).to(
                device
            )
            self.features = self._encode()
        self.opt = torch.optim.SGD(
            self.model.parameters(), lr=config.learning_rate, momentum=config.momentum
        )

    def computing(self) -> AbstractContextManager[None]:
        """`devices.computing` with this fit's device and precision."""
        return computing(self.device, self.config.matmul_precision)

    def compile(self) -> None:
        """One forward and backward pass whose result is dropped.

        Eager torch compiles nothing, but a device's libraries load at first use.
        """
        with self.computing():
            features, target = self.batch()
            self.loss_fn(self.model(features), target).backward()
            self.opt.zero_grad()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the next step trains on: features (f, h, w) and target (c, h, w).

        A mini-batch is laid out as an image one pixel wide, (f, n, 1) and (c, n, 1).
        One as large as the image means all of it.
        """
        size, num_pixels = self.config.batch_size, self.height * self.width
        if size is None or size >= num_pixels:
            return self.features, self.target
        pixels = batch_pixels(num_pixels, size, self.config.seed, self.step)
        pixels = pixels.to(self.device)
        features = self.features.flatten(1).index_select(1, pixels)
        target = self.target.flatten(1).index_select(1, pixels)
        return features.unsqueeze(-1), target.unsqueeze(-1)

    def advance(self, num_steps: int) -> np.ndarray:
        """Take steps; returns (num_steps,) float32, the loss before each of them."""
        with self.computing():
            losses = torch.empty(num_steps, device=self.device)
            for index in range(num_steps):
                self.opt.param_groups[0]["lr"] = self.learning_rate(self.step)
                losses[index] = train_step(
                    self.model, self.loss_fn, self.opt, *self.batch()
                )
                self.step += 1
            return losses.cpu().numpy()

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step."""
        return learning_rate(self.config, step)

    def predict(self) -> np.ndarray:
        """The image the current parameters give: (h, w, c) float32 in [0, 1]."""
        # The notebook goes on to (pred * 256).int(), which makes a colour of 1 into
        # 256: eight bits are left to jax_inr.io.images.
        with self.computing(), torch.inference_mode():
            self.model.eval()
            return channels_last(self.model(self.features).float()).cpu().numpy()

    def parameters(self) -> dict[str, np.ndarray]:
        """The tensors of a field file, in Flax layout."""
        return convert.field_tensors(self.model, self.frequencies)

    def state(self) -> dict[str, np.ndarray]:
        """Everything a resumed run needs: `parameters`, momentum and step."""
        tensors = self.parameters()
        tensors["step"] = np.array(self.step, np.int64)
        if self.config.momentum:
            # torch makes the buffers at the first step; before it they are zero.
            buffers = {
                name: self.opt.state[parameter].get(
                    "momentum_buffer", torch.zeros_like(parameter)
                )
                for name, parameter in self.model.named_parameters()
            }
            for name, leaf in convert.to_flax(buffers).items():
                tensors[name.replace("params/", "momentum/", 1)] = leaf
        return tensors

    def load_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Continue from a `state`; CheckpointError names a leaf and both shapes.

        `load_state({**trainer.state(), **field_tensors})` starts from the params and
        the frequencies of a field file.
        """
        convert.check_leaves(tensors, self.state())
        step = int(tensors["step"])
        if step < 0:
            raise CheckpointError(f"step is {step}, but must be 0 or more")
        convert.load_into(self.model, _under("params/", tensors))
        if self.frequencies is not None:
            self.frequencies = torch.tensor(tensors[convert.FREQUENCIES])
            with self.computing():
                self.features = self._encode()
        self.opt.state.clear()
        if self.config.momentum:
            buffers = convert.to_torch(_under("momentum/", tensors))
            for name, parameter in self.model.named_parameters():
                buffer = buffers[name].to(self.device)
                self.opt.state[parameter]["momentum_buffer"] = buffer
        self.step = step

    def _encode(self) -> torch.Tensor:
        """The features (f, h, w) of the whole image, contiguous, on the device."""
        if self.config.network == "cnn":
            return pixel_indices(self.height, self.width).to(self.device)
        coords = pixel_grid(self.height, self.width)
        features = encode(self.config.encoding, coords, self.frequencies)
        return channels_first(features).to(self.device)


def make_trainer(
    config: Config, target: np.ndarray, device: str = "auto"
) -> TorchTrainer:
    """A trainer for target (h, w, c) float32, its 8-bit values divided by `rgb_max`.

    `device` is "auto", "cpu" or "gpu" (`find_device`). Raises ConfigError for a
    network or an optimizer that torch_ref lacks, DeviceError for a missing GPU.
    """
    return TorchTrainer(config, target, find_device(device))


def _under(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors whose names start with prefix, as params."""
    return {
        name.replace(prefix, "params/", 1): leaf
        for name, leaf in tensors.items()
        if name.startswith(prefix)
    }


def _seed(seed: int, purpose: str, step: int = 0) -> int:
    """A seed of its own for each purpose, so that no two draws share their numbers."""
    number = ("frequencies", "weights", "batches").index(purpose)
    return int(np.random.SeedSequence((seed, number, step)).generate_state(1)[0])


def _generator(seed: int, purpose: str, step: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(seed, purpose, step))

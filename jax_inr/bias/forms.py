"""How large the experiments are. Imports neither JAX nor numpy."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Form:
    """Sizes of all experiments; steps are the optimizer's."""

    size: int  # side of the picture
    bands: int  # frequency bands
    batch_size: int  # pixels a step, drawn at random
    steps: int  # of the fits whose spectra are compared
    cnn_widths: tuple[int, ...]
    cnn_steps: int
    widths: tuple[int, ...]  # of the networks of growing size
    width_steps: int
    ntk_side: int  # of the sub-grid
    ntk_steps: int
    crop: int  # side of the crops that are translated
    shift: int  # pixels of the translation
    crop_steps: int
    wave_side: int
    wave_steps: int
    wave_draws: int  # draws of weights and of B


FULL = Form(
    size=128,
    bands=10,
    batch_size=4096,
    steps=1024,
    cnn_widths=(64, 128, 512),  # the notebook's
    cnn_steps=256,
    widths=(64, 128, 256, 512, 1024, 2048),
    width_steps=512,
    ntk_side=32,
    ntk_steps=1024,
    crop=64,
    shift=4,
    crop_steps=512,
    wave_side=32,
    wave_steps=4096,
    wave_draws=3,
)
QUICK = Form(
    size=64,
    bands=10,
    batch_size=1024,
    steps=256,
    cnn_widths=(16, 32, 128),
    cnn_steps=64,
    widths=(64, 256, 1024),
    width_steps=128,
    ntk_side=16,
    ntk_steps=512,
    crop=32,
    shift=4,
    crop_steps=128,
    wave_side=32,
    wave_steps=1024,
    wave_draws=1,
)
MIN_SIZE, MAX_SIZE = 8, 256
MIN_SIDE, MAX_SIDE = 4, 64

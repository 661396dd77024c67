"""Combinations of a config's fields that are rejected, and the way out.

Framework-free.
"""

from typing import Any

from jax_inr.values import AUTO

GRIDS = ("dense_grid", "hash_grid", "pyramid")
DRAWN = ("gaussian", "periodic", "trainable")  # encodings with a sigma
WAVES = ("siren", "finer", "wire")  # networks with an omega_0
MAX_PERIODIC_SIGMA = 256.0
# Fields that a resumed run may change: no step already taken depends on them.
RESUMABLE_FIELDS = ("steps", "eval_every", "target_psnr", "max_seconds")


def conflicts(config: Any) -> list[tuple[bool, str, str]]:
    """Combinations of a Config that are rejected, as (is_violated, message, hint)."""
    is_cnn, is_lbfgs = config.network == "cnn", config.optimizer == "lbfgs"
    batch_size = f"batch_size is {config.batch_size}"
    return [
        (
            is_cnn and config.encoding != "none",
            f"network cnn takes pixel indices, not encoding {config.encoding}",
            "use encoding=none, or network=mlp",
        ),
        (
            is_cnn and config.batch_size is not None,
            f"network cnn needs the whole grid at every step, but {batch_size}",
            "use batch_size=None, or network=mlp",
        ),
        (
            is_cnn and config.matmul_precision == "bfloat16",
            "network cnn has no bfloat16 form",
            "use matmul_precision=float32 or matmul_precision=tf32",
        ),
        (
            is_cnn and config.sampling != "pixels",
            "network cnn takes no samples",
            "use sampling=pixels, or network=mlp",
        ),
        (
            is_cnn and config.train_pixels != "all",
            "network cnn sees every pixel's neighbours, so it can hold out none",
            "use train_pixels=all, or network=mlp",
        ),
        (
            config.sampling == "lattice" and config.train_pixels != "all",
            "row-column sampling takes whole rows and columns, and train_pixels "
            f"{config.train_pixels} leaves pixels out",
            "use sampling=pixels, or train_pixels=all",
        ),
        (
            config.network != "mlp" and config.init != "uniform",
            f"network {config.network} has first weights of its own",
            "use init=uniform, or network=mlp",
        ),
        (
            is_cnn and config.optimizer == "muon",
            "muon orthogonalises matrices, and the cnn's kernels are none",
            "use optimizer=adam, or network=mlp",
        ),
        (
            is_lbfgs and config.batch_size is not None,
            f"lbfgs searches along lines of the whole loss, but {batch_size}",
            "use batch_size=None, or optimizer=adam",
        ),
        (
            is_lbfgs and (config.schedule != "constant" or config.warmup_steps > 0),
            "lbfgs finds its own step lengths",
            "use schedule=constant and warmup_steps=0, or optimizer=adam",
        ),
        (
            config.encoding == "positional" and config.num_frequencies % 2 == 1,
            "positional frequencies are shared by two axes, but num_frequencies "
            f"is {config.num_frequencies}",
            "use an even number of them",
        ),
        (
            config.encoding == "periodic"
            and config.sigma != AUTO
            and config.sigma > MAX_PERIODIC_SIGMA,
            f"periodic frequencies are drawn from a lattice, and sigma {config.sigma}"
            " makes it too large",
            f"use sigma={MAX_PERIODIC_SIGMA} or less, or encoding=gaussian",
        ),
        (
            config.sigma == AUTO and config.encoding not in DRAWN,
            f"sigma is auto, and encoding {config.encoding} has none",
            "leave it out, or use encoding=gaussian",
        ),
        (
            config.omega_0 == AUTO and config.network not in WAVES,
            f"omega_0 is auto, and network {config.network} has none",
            "leave it out, or use network=siren",
        ),
        (
            config.encoding in GRIDS[:2] and config.finest < config.coarsest,
            f"finest is {config.finest}, below coarsest {config.coarsest}",
            "make finest coarsest or more",
        ),
    ]

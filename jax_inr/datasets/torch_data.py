"""A set of fields as a torch Dataset: for what learns on weights in torch."""

from typing import Any

import numpy as np

from jax_inr import extras


def dataset(fields: Any, indices: np.ndarray) -> Any:
    """The fields of some indices as (parameters (P,) float32, label); -1 without one.

    Raises:
        ConfigError: torch is not installed.
    """
    torch = extras.load("torch", "a torch Dataset needs torch", "torch")
    labels = fields.labels

    class Fields(torch.utils.data.Dataset):
        """Rows of the store, read one at a time; its workers may be processes."""

        def __len__(self) -> int:
            return len(indices)

        def __getitem__(self, item: int) -> Any:
            index = int(indices[item])
            row = torch.from_numpy(np.asarray(fields.params[index], np.float32))
            return row, -1 if labels is None else int(labels[index])

    return Fields()

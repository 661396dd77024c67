"""A hash grid and a small network in plain torch, as instant-ngp and nerfstudio do it.

Levels in geometric progression, a spatial hash, bilinear interpolation (arXiv
2201.05989), and two layers; sized to the notebook's number of parameters.
"""

import torch

from jax_inr.grids import HASH_PRIMES, level_resolutions


class HashGrid(torch.nn.Module):
    """Features of 8 levels of 2, at most 7,500 entries each; 64 hidden, 3 colours."""

    def __init__(
        self,
        num_levels: int = 8,
        features: int = 2,
        entries: int = 7_500,
        coarsest: int = 16,
        finest: int = 224,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        self.resolutions = level_resolutions(coarsest, finest, num_levels)
        self.tables = torch.nn.ParameterList(
            torch.empty(min(entries, (n + 1) ** 2), features).uniform_(-1e-4, 1e-4)
            for n in self.resolutions
        )
        self.network = torch.nn.Sequential(
            torch.nn.Linear(num_levels * features, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, 3),
            torch.nn.Sigmoid(),
        )

    def forward(self, coords: torch.Tensor) -> torch.Tensor:
        """Give the colours (n, 3) of positions (n, 2) in the unit square."""
        return self.network(torch.cat(self.features(coords), -1))

    def features(self, coords: torch.Tensor) -> list[torch.Tensor]:
        """The features (n, f) of each level."""
        found = []
        for resolution, table in zip(self.resolutions, self.tables, strict=True):
            scaled = coords * resolution
            cell = scaled.floor().clamp(0, resolution - 1)
            inside, corner = scaled - cell, cell.long()
            total = torch.zeros(len(coords), table.shape[1])
            for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
                point = corner + torch.tensor([row, column])
                weight = (inside[:, 0] if row else 1 - inside[:, 0]) * (
                    inside[:, 1] if column else 1 - inside[:, 1]
                )
                index = self.index(point, resolution, len(table))
                total = total + weight[:, None] * table[index]
            found.append(total)
        return found

    @staticmethod
    def index(point: torch.Tensor, resolution: int, entries: int) -> torch.Tensor:
        """Where grid points (n, 2) stand in a table: in order, or by the hash."""
        if (resolution + 1) ** 2 <= entries:
            return point[:, 0] * (resolution + 1) + point[:, 1]
        mixed = (point[:, 0] * HASH_PRIMES[0]) ^ (point[:, 1] * HASH_PRIMES[1])
        return (mixed & 0xFFFFFFFF) % entries

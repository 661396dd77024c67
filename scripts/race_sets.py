"""Race fit_stream against an eager torch loop: IMAGES.npy [FIELDS] [ROUNDS] [START]."""

import sys
from pathlib import Path

from jax_inr import machine

if __name__ == "__main__":
    machine.devices_for_cores()
    from jax_inr.experiments.weights.race import race, table

    path, fields, rounds, start = [*sys.argv[1:], "24", "1", ""][:4]
    print(table(race(Path(path), int(fields), int(rounds), start or None)))

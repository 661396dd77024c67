"""Race fit_stream against an eager torch loop: IMAGES.npy [FIELDS] [ROUNDS] [START]."""

import sys
from pathlib import Path

from jax_inr import machine

if __name__ == "__main__":
    machine.devices_for_cores()
    from jax_inr.experiments.weights.race import race, table

    given = sys.argv[1:]
    path, fields, rounds, start = [*given, *("", "24", "1", "")[len(given) :]]
    rows = []
    for row in race(Path(path), int(fields), int(rounds), start or None):
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    print(table(rows))

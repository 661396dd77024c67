"""The learning rate that suits an optimizer and a network, where none is asked for.

Framework-free. Each is the best of a few, within a decibel or two, on the sample cat at
96x96 after 500 steps of preset "default" with that optimizer or network alone;
docs/choosing.md has the table.
"""

# By optimizer, for the notebook's ReLU network.
OPTIMIZERS = {
    "sgd": 1.0,  # the notebook's
    "adam": 1e-2,
    "muon": 1e-2,
    "lbfgs": 1.0,
    "adabelief": 1e-2,
    "adamax": 3e-2,
    "adamw": 1e-2,
    "adan": 3e-2,
    "lamb": 3e-2,
    "lion": 1e-3,
    "nadam": 1e-2,
    "radam": 3e-2,
    "rmsprop": 1e-2,
    # 0.3 and 1 are better with ReLU, but a tenth of them is too much with waves.
    "yogi": 0.1,
}
# By network, for SGD; those of MLP and CNN are the notebook's.
NETWORKS = {
    "mlp": 1.0,
    "cnn": 1e-2,
    "siren": 0.1,
    "finer": 0.1,
    "gauss": 0.1,
    "wire": 1e-2,
}
# Optimizers that normalise the gradient take a tenth with periodic or Gaussian
# activations of what they take with ReLU.
SHARE = 0.1


def suited_rate(optimizer: str, network: str) -> float:
    """The peak learning rate of an optimizer with a network."""
    # Names that are none are refused elsewhere.
    if not isinstance(optimizer, str) or not isinstance(network, str):
        return 1.0
    if optimizer == "sgd":
        return NETWORKS.get(network, 1.0)
    rate = OPTIMIZERS.get(optimizer, 1.0)
    is_scaled = network in ("mlp", "cnn") or optimizer in ("lbfgs", "lamb")
    return rate if is_scaled else rate * SHARE

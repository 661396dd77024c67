"""Until the experiments import `process`: the names that they use."""

from jax_inr.cli.process import Output as Output
from jax_inr.cli.process import say as say

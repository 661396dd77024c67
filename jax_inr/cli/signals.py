"""Until the library needs no signals: the names that it imports."""

from jax_inr.cli.process import HANDLED as HANDLED
from jax_inr.cli.process import SignalGuard as SignalGuard

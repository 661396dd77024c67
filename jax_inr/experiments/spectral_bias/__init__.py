"""Spectral bias, measured: the experiments, their figures and the report.

`forms` says how large the experiments are, `report` runs them. JAX is imported by the
modules that train, and not before.
"""

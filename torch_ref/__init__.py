"""The notebook in PyTorch, cleaned but faithful: eager, plain, channels first.

It is the specification that parity tests hold `jax_inr` to and the baseline of every
claim about speed, so nothing here is optimised. File and function names are those of
`jax_inr`. It imports `jax_inr` for config, errors and files, and JAX in `parity` alone.
"""

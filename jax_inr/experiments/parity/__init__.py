"""JAX against PyTorch."""

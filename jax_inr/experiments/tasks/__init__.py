"""Restoration judged beside the classical methods."""

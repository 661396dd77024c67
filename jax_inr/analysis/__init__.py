"""Closed forms and instruments."""

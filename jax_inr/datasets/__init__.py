"""Data sets of fields: streams of fits, the store, readers and exporters."""

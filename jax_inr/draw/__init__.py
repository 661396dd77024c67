"""Figures, films and the web page."""

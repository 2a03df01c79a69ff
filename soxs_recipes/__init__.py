"""Recipes that turn raw SOXS frames into science-ready spectra."""

__version__ = "0.1.0"

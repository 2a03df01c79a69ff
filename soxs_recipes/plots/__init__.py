"""Figures drawn from data objects."""

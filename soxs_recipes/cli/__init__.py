"""The soxs command."""

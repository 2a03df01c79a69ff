"""The algorithms: pure functions on arrays and data objects."""

"""Orders laid straight."""

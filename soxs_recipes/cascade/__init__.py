"""What there is, what is needed, doing it, remembering it."""

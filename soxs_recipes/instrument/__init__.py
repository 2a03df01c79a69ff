"""What the instruments are, as data."""

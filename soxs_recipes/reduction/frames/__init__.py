"""From raw units to electrons, combined frames and masters; what series of frames tell of a detector."""

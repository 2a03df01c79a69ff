"""From arc lines to the dispersion solution and its maps of pixels."""

"""Several exposures: differences, sums, cosmic rays between them, combined and merged spectra, maps."""

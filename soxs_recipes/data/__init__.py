"""What flows between recipes: frames, solutions, spectra, quality. Pure data, no files."""

"""From an exposure to the spectra of the sources on its slit."""

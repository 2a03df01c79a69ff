"""The FITS form of every data object."""

"""The FITS form of every data object: bounded reading, atomic writing, one module a family of objects.

Names are loaded when first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "RawFrame": "reading",
    "ascii_spectrum": "text_spectrum",
    "dispersion_solution_hdus": "dispersion",
    "extension_names": "tables",
    "frame_of": "frames",
    "image_hdus": "frames",
    "linearity_hdu": "linearity",
    "merged_spectrum_hdus": "spectra",
    "open_product": "reading",
    "order_spectra_hdus": "spectra",
    "order_table_hdus": "orders",
    "pixel_maps_hdus": "pixel_maps",
    "primary_values": "reading",
    "quality_hdus": "frames",
    "read_dispersion_solution": "dispersion",
    "read_frame": "frames",
    "read_header": "reading",
    "read_linearity": "linearity",
    "read_line_table": "dispersion",
    "read_merged_spectrum": "spectra",
    "read_order_spectra": "spectra",
    "read_order_table": "orders",
    "read_pixel_maps": "pixel_maps",
    "read_quality": "frames",
    "read_signal": "frames",
    "read_rectified_images": "rectified",
    "read_raw": "reading",
    "read_response": "response",
    "read_response_archive": "response",
    "read_table": "tables",
    "read_slit_map": "slit_map",
    "rectified_hdus": "rectified",
    "response_archive_hdus": "response",
    "response_hdus": "response",
    "slit_map_hdus": "slit_map",
    "spectra_hdus": "spectra",
    "table_hdu": "tables",
    "write_bytes_atomic": "writing",
    "write_product": "writing",
    "write_text_atomic": "writing",
}

__all__ = [*_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    """Load the module that holds `name`."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))

"""BP_MAP_REF_<ARM>: reference map of bad pixels; none is known yet, so every pixel is good."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from sources import Sources
from tables import write

from soxs_recipes.instrument import load_instrument


def build(sources: Sources) -> None:
    """Write the maps of both arms, unbinned, compressed."""
    for arm in load_instrument().arms:
        quality = np.zeros(arm.detector.science_shape(), np.int32)
        tile = (256, quality.shape[1])
        hdu = fits.CompImageHDU(quality, name="QUAL", compression_type="RICE_1", tile_shape=tile)
        history = [
            "Quality bits of the trimmed, unbinned frame (0 is good). The maps shipped by",
            "soxspipe 0.17.4 (PyPI) hold no bad pixel either; masters find those of the night.",
        ]
        write(f"BP_MAP_REF_{arm.name}", [hdu], sources.take(), history, arm.name)

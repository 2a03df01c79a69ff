"""soxs_mapping: exposures at several positions, each extracted and located, laid out as a map of the field."""

from __future__ import annotations

from soxs_recipes.data.qc import QCDefinition
from soxs_recipes.errors import UnprocessableData
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import Declaration, Product, RawInput
from soxs_recipes.recipes.steps.object_declarations import (
    EXTRACTION_PARAMETERS,
    IMAGE_PRODUCTS,
    OBJECT_CALIBRATIONS,
    OBJECT_QC,
    RESPONSE_CALIBRATIONS,
    SPECTRUM_PRODUCTS,
    USER_ARC_CALIBRATIONS,
    USER_ARC_PARAMETERS,
)
from soxs_recipes.recipes.steps.spectroscopy import binning_of, find_geometry, prepare_exposures

__all__ = ["Mapping"]

_QC = (
    QCDefinition("MAP N POSITIONS", "", "Positions of the map."),
    QCDefinition("MAP WIDTH", "arcsec", "Extent of the map across the slit, slit width included."),
    QCDefinition("MAP STEP", "arcsec", "Step between positions across the slit."),
    QCDefinition("MAP NOISE", "%", "Median error of the cells over the brightest one.", per_order=True),
)


class Mapping(Recipe):
    """Maps a field by its light through the slit."""

    declaration = Declaration(
        name="soxs_mapping",
        synopsis="Reduce a map: each position extracted and located on the sky, laid out as an image and a table.",
        description=(
            "Each position is reduced as a stare exposure is: located by its sky lines and slit ends, sky and "
            "sources of each order fitted together, cosmic rays masked, every source on the slit extracted. The "
            "spectra of the source nearest to the expected position are products of their own; those of all "
            "sources stand in the map's table.\n\n"
            "The map holds all light along the slit beyond the sky, order by order, in cells a detector pixel "
            "high, each position a column. Light that is as bright everywhere along the slit cannot be told from "
            "sky and is taken for it. Positions come from the pointing in the headers and the slit's position "
            "angle; without a pointing from the cumulative offsets. Transparency is not corrected. With a "
            "RESP_TAB the map is in flux."
        ),
        raws=(RawInput("OBJECT_MAP_<ARM>", "positions of a map", 1, None, True, ("READ_MODE_ID", "SLIT"), 2),),
        calibrations=(*OBJECT_CALIBRATIONS, *RESPONSE_CALIBRATIONS, *USER_ARC_CALIBRATIONS),
        parameters=(*EXTRACTION_PARAMETERS, *USER_ARC_PARAMETERS),
        products=(
            Product("SCI_MAP_<ARM>", "map of the field with its positions, sources and their spectra"),
            *SPECTRUM_PRODUCTS,
            *IMAGE_PRODUCTS,
        ),
        qc=(*OBJECT_QC, *_QC),
        algorithm_version=24,
    )

    def process(self, inputs, parameters, outputs):
        """Prepare, locate and extract each position, place it on the sky, lay the map out."""
        from soxs_recipes.recipes.steps.exposure_series import NOTHING_LEFT, Extractor, or_left_out
        from soxs_recipes.recipes.steps.map_products import MapGrid, add_map

        paths = inputs.all_raw
        geometry = find_geometry(inputs, binning_of(inputs, paths[0]), arcs=parameters["use-arcs"])
        table = geometry.table if parameters["subtract-background"] else None
        extractor = Extractor(inputs, parameters, geometry)
        grid = MapGrid(inputs, paths)
        positions = []
        for exposure in prepare_exposures(inputs, paths, table):
            with or_left_out(inputs, exposure):
                location = extractor.locate(exposure)
                result = extractor.extract_single(exposure, location)
                _add_products(inputs, outputs, geometry, exposure, location, result)
                positions.append(grid.position(exposure, result))
        if not positions:
            raise UnprocessableData(f"{inputs.declaration.name}: {NOTHING_LEFT}")
        add_map(inputs, outputs, grid, positions)


def _add_products(inputs, outputs, geometry, exposure, location, result) -> None:
    """Images and spectra of one position."""
    from soxs_recipes.recipes.steps.object_products import (
        add_images,
        add_sky,
        add_spectra,
        add_trace,
        object_qc,
        time_qc,
    )
    from soxs_recipes.reduction.exposures.exposure_combination import combine_extractions

    # A position without the target is no fault of a map.
    inputs.note(f"{exposure.path.name}: {result.choice.reason}")
    own, time = [exposure.path], max(exposure.frame.meta.exposure_time, 1e-3)
    qc = [*object_qc(exposure, location, geometry, result), *time_qc(inputs, own)]
    add_images(inputs, outputs, exposure, result, qc)
    combined = combine_extractions([result.orders], [time])
    add_trace(outputs, combined, [result], qc, own)
    add_sky(outputs, combined, qc, own)
    add_spectra(inputs, outputs, combined, time, qc, own)

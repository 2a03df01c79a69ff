"""soxs_response: response and efficiency of an arm from an extracted standard star."""

from __future__ import annotations

import math
from pathlib import Path

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.errors import CalibrationMissing, InputError
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, Product, RawInput

__all__ = ["ResponseRecipe", "observed_standard", "seconds_of_light"]


# Beyond this [arcsec] a pointing is no slip and no other equinox: 1 deg.
_ANOTHER_FIELD = 3600.0


class ResponseRecipe(Recipe):
    """Compares a standard star with its catalogue spectrum, order by order."""

    declaration = Declaration(
        name="soxs_response",
        synopsis="Derive the response and efficiency of an arm from a standard star.",
        description=(
            "The extracted standard is matched with the catalogue by position (with proper motion), then by name. "
            "In each order the counts are modelled as the catalogue's flux, brought to the instrument's "
            "resolution and the star's velocity, times atmospheric extinction, times telluric transmission to a "
            "free power, times a smooth function: a penalised B-spline of the logarithm, whose stiffness "
            "cross-validation finds and whose fit leaves outliers out. Hydrogen cores are masked; steep parts of "
            "lines and absorption bands weigh less. The response follows each order's blaze, before merging.\n\n"
            "With several exposures each gives a response by its own star; they are averaged after their levels "
            "are brought to the brightest, since clouds and slit losses only dim.\n\n"
            "What the slit lost of the star is estimated from the width of its profile and told; it is put back "
            "only when asked. With a RESP_ARCHIVE_<ARM> the response is compared with those of earlier nights: a "
            "change that is the same at all wavelengths is drift (mirrors, clouds, slit) and named, one of shape "
            "beyond the limit marks the response. One that is not marked joins the archive, whose median serves "
            "nights without a standard."
        ),
        raws=(RawInput("FLUX_SLIT_ORDER1D_<ARM>", "extracted standard star, counts per order"),),
        calibrations=(
            CalibrationInput("FLUX_STD_CATALOG", "spectra of standard stars", required=True, static=True),
            CalibrationInput("EXTCOEFF_TABLE", "atmospheric extinction", required=True, static=True),
            CalibrationInput("TELLURIC_TRANSMISSION", "transmission of the molecules", static=True),
            CalibrationInput(
                "RESP_ARCHIVE_<ARM>",
                "responses of earlier nights",
                ladder="drift is not measured, and a new archive begins",
                agree_binning=False,
            ),
        ),
        parameters=(
            Parameter(
                "match-radius",
                float,
                15.0,
                "arcsec",
                "How near a catalogue star must be.",
                minimum=1.0,
                maximum=600,
                group="star",
            ),
            Parameter("star", str, "", "", "Name of the standard, against what the header says.", group="star"),
            Parameter(
                "resolution",
                float,
                "auto",
                "",
                "Resolving power of the observation, to which the catalogue is brought.",
                minimum=500.0,
                maximum=20000.0,
                typical=4500.0,
                group="star",
            ),
            Parameter(
                "deviation-limit",
                float,
                0.03,
                "",
                "Relative rms deviation from the archive's shape beyond which the response is marked.",
                minimum=0.0,
                group="archive",
            ),
            Parameter(
                "drift-limit",
                float,
                0.3,
                "",
                "Relative change of level against the archive beyond which the response is marked.",
                minimum=0.0,
                group="archive",
            ),
            Parameter(
                "archive-size",
                int,
                200,
                "",
                "Curves that an archive keeps.",
                minimum=1,
                maximum=5000,
                group="archive",
            ),
            Parameter(
                "correct-slit-loss",
                bool,
                False,
                "",
                "Put back the light that the slit took of the star.",
                group="slit loss",
            ),
            Parameter(
                "optics-fwhm",
                float,
                "auto",
                "arcsec",
                "Image width that the spectrograph adds behind the slit.",
                minimum=0.0,
                maximum=3.0,
                group="slit loss",
            ),
            Parameter(
                "moffat-beta",
                float,
                4.0,
                "",
                "Exponent of the star's image, for the slit loss.",
                minimum=1.5,
                maximum=20.0,
                group="slit loss",
            ),
        ),
        products=(
            Product("RESP_TAB_<ARM>", "flux per count rate, per order, with errors", kind="table"),
            Product("EFFICIENCY_TAB_<ARM>", "photons detected over photons on the primary mirror", kind="table"),
            Product("RESP_ARCHIVE_<ARM>", "responses of all nights so far", kind="table", always=False),
        ),
        qc=(
            QCDefinition(
                "EFF MEDIAN", "", "Median efficiency over the useful wavelengths.", (0.005, 0.6), per_order=True
            ),
            QCDefinition("EFF MAX", "", "Peak efficiency.", (0.0, 1.0)),
            QCDefinition(
                "RESP RES", "", "Data over model in 10 nm means, rms.", (0.0, 0.1), per_order=True, better="lower"
            ),
            QCDefinition(
                "RESP ERR MEDIAN", "", "Median relative error of the response.", (0.0, 0.05), better="lower"
            ),
            QCDefinition("RESP CHI2", "", "Reduced chi-square of the fit.", per_order=True, better=1.0),
            QCDefinition("RESP REJ FRAC", "", "Wavelength bins left out as outliers.", (0.0, 0.1), better="lower"),
            QCDefinition("N ORDERS", "", "Orders with a response.", better="higher"),
            QCDefinition("STAR VELOCITY", "km/s", "Velocity of the star, 0 when its lines do not fix it."),
            QCDefinition("STAR VELOCITY ERR", "km/s", "Its error.", better="lower"),
            QCDefinition("STAR SEPARATION", "arcsec", "Distance of the pointing from the catalogue's star."),
            QCDefinition("TELL EXPONENT", "", "Median power of the zenith transmission that fits."),
            QCDefinition("GREY SPREAD", "", "Largest difference of level among exposures, relative."),
            QCDefinition("SLIT LOSS", "", "Share of the star that the slit took, estimated.", per_order=True),
            QCDefinition("ARCHIVE N CURVES", "", "Earlier responses compared with."),
            QCDefinition("ARCHIVE DRIFT", "", "Sensitivity over the archive's, less 1, at all wavelengths alike."),
            QCDefinition(
                "ARCHIVE DEVIATION", "", "Relative rms deviation from the archive's shape.", better="lower"
            ),
            QCDefinition("ARCHIVE WORST", "", "Largest deviation of shape, sensitivity less 1."),
            QCDefinition("ARCHIVE WORST WAVE", "nm", "Where that is."),
            QCDefinition("ARCHIVE COLOUR", "", "Red end over blue end against the archive, less 1."),
            QCDefinition("ARCHIVE NEAREST", "", "Deviation of shape from the most similar curve."),
            QCDefinition("ARCHIVE NEAREST MJD", "d", "When that was taken."),
            QCDefinition("ARCHIVE USUAL", "", "Median deviation of the earlier curves themselves."),
            QCDefinition("ARCHIVE TREND", "1/yr", "Change of sensitivity a year."),
        ),
        algorithm_version=4,
    )

    def process(self, inputs, parameters, outputs):
        """Match the star, fit each exposure, average, compare, write."""
        from soxs_recipes.fits_files import response_hdus
        from soxs_recipes.recipes.steps.response_archive import add_archive, compare_with_earlier
        from soxs_recipes.reduction.flux.response_combination import arm_response, combine_responses

        paths = inputs.raw("FLUX_SLIT_ORDER1D")
        observed = [observed_standard(inputs, parameters, path) for path in paths]
        match, stars = observed[0][0], list(dict.fromkeys(found.star.name for found, _ in observed))
        if len(stars) > 1:
            inputs.note(f"responses of different stars are averaged: {', '.join(stars)}")
        losses = [_slit_losses(inputs, parameters, path) for path in paths]
        for path in paths:
            _judge_slit(inputs, parameters, path)
        fits = [
            _fit(inputs, parameters, path, spectrum, loss)
            for path, (_, spectrum), loss in zip(paths, observed, losses, strict=True)
        ]
        for order, reason in fits[0].failed:
            inputs.mark_partial(f"no response for order {order}: {reason}")
        response, spread = combine_responses([fit.response for fit in fits])
        name, star = match.star.name, {"ESO QC STD NAME": (match.star.name, "standard star of the catalogue")}
        comparison, archive_qc = compare_with_earlier(inputs, parameters, response, _moment(inputs, paths[0]))
        qc = [
            *_fit_qc(fits),
            *_efficiency_qc(inputs.arm, response),
            *_slit_qc(losses[0]),
            *archive_qc,
            QCParameter("GREY SPREAD", spread),
            QCParameter("STAR SEPARATION", match.separation),
        ]
        common = {"qc": qc, "object_name": name, "header": star}
        arm = arm_response(response)
        outputs.add("RESP_TAB", [*response_hdus(response, arm), *comparison], **common)
        outputs.add("EFFICIENCY_TAB", _efficiency_hdus(response, arm), **common)
        add_archive(inputs, parameters, outputs, response, name, _moment(inputs, paths[0]))


def observed_standard(inputs, parameters, path: Path):
    """The catalogue star that was observed and its spectrum."""
    from soxs_recipes.recipes.steps.flux_tables import pointing_of, read_star, read_stars
    from soxs_recipes.reduction.flux.standard_stars import match_star

    catalogue = inputs.calibration("FLUX_STD_CATALOG")
    stars = read_stars(catalogue)
    mjd = inputs.keyword("MJD_OBS", path, math.nan)
    mjd = float(mjd) if isinstance(mjd, int | float) else math.nan
    if parameters["star"]:
        names, place = [parameters["star"]], (math.nan, math.nan)
    else:
        names = [str(inputs.keyword(name, path, "")) for name in ("OBJECT", "OBS_TARGET", "OBS_NAME")]
        place = pointing_of(inputs, path)
    match = match_star(list(stars), *place, mjd, names, parameters["match-radius"])
    if match is None:
        known = ", ".join(star.name for star in stars)
        target = " / ".join(filter(None, names)) or "the target"
        raise InputError(
            f"{path.name}: {target} at RA {place[0]:.5f}, Dec {place[1]:.5f} is no standard "
            f"of {catalogue.name} ({known}); name it with --star"
        )
    _judge_place(inputs, match)
    return match, read_star(catalogue, stars[match.star])


def _judge_place(inputs, match) -> None:
    """Say how the star was found; a name that the pointing contradicts leaves a doubt."""
    name, apart = match.star.name, match.separation
    if match.by != "name" or not math.isfinite(apart):
        inputs.note(f"standard {name}, matched by {match.by}")
    elif apart < _ANOTHER_FIELD:
        inputs.note(f"standard {name} taken by its name, {apart:.0f} arcsec from its position")
    else:
        inputs.mark_partial(
            f"standard {name} taken by its name, but the telescope pointed {apart / 3600.0:.1f} deg away; is it "
            "that star?"
        )


def _judge_slit(inputs, parameters, path: Path) -> None:
    """A standard belongs in the widest slit: through another one the response holds slit losses."""
    if parameters["correct-slit-loss"]:
        inputs.note("the response is that of all light of the star: slit losses were put back")
        return
    name = str(inputs.keyword("SLIT", path, ""))
    widths = {slit.name: slit.width for slit in inputs.arm.slits}
    widest = max(widths.values())
    if name in widths and widths[name] < widest:
        inputs.mark_partial(f"standard observed through {name}: its slit losses are in the response")


def _moment(inputs, path: Path) -> float:
    mjd = inputs.keyword("MJD_OBS", path, math.nan)
    return float(mjd) if isinstance(mjd, int | float) else math.nan


def _slit_losses(inputs, parameters, path: Path) -> dict[int, float]:
    """Share of the star that the slit took in each order, where the header tells slit and profile."""
    from soxs_recipes.reduction.flux.slit_loss import slit_transmission

    header = inputs.header(path)
    widths = {slit.name: slit.width for slit in inputs.arm.slits}
    width = widths.get(str(inputs.keyword("SLIT", path, "")))
    seeing = {order.number: header.get(f"ESO QC ORD{order.number} SEEING") for order in inputs.arm.orders}
    known = {number: float(fwhm) for number, fwhm in seeing.items() if isinstance(fwhm, int | float) and fwhm > 0}
    if width is None or not known:
        return {}
    passed = slit_transmission(
        list(known.values()), width, optics_fwhm=parameters["optics-fwhm"], beta=parameters["moffat-beta"]
    )
    return {number: 1.0 - float(share) for number, share in zip(known, passed, strict=True) if share == share}


def _slit_qc(losses: dict[int, float]) -> list[QCParameter]:
    if not losses:
        return []
    middle = sorted(losses.values())[len(losses) // 2]
    return [QCParameter("SLIT LOSS", middle), *(QCParameter("SLIT LOSS", v, n) for n, v in losses.items())]


def _fit(inputs, parameters, path: Path, star, losses: dict[int, float]):
    """Response of one exposure."""
    from soxs_recipes.fits_files import read_order_spectra
    from soxs_recipes.recipes.steps.flux_tables import airmass_of, read_extinction, read_transmission
    from soxs_recipes.reduction.flux.response import StandardObservation, derive_response

    time = seconds_of_light(inputs, path)
    airmass = airmass_of(inputs, path)
    if not math.isfinite(airmass):
        airmass = 1.3
        inputs.mark_partial(f"{path.name} states no airmass: 1.3 taken")
    spectra = read_order_spectra(path)
    if any(spectrum.flux_unit != "electron" for spectrum in spectra):
        raise InputError(f"{path.name}: flux is in {spectra[0].flux_unit}; give the spectra in electrons")
    if parameters["correct-slit-loss"]:
        spectra = _with_slit_loss(inputs, path, spectra, losses)
    try:
        telluric = read_transmission(inputs.calibration("TELLURIC_TRANSMISSION"))
    except CalibrationMissing:
        telluric = None
        inputs.mark_partial("no table of telluric transmission: absorption bands are not masked")
    observation = StandardObservation(spectra, time, airmass, parameters["resolution"])
    extinction = read_extinction(inputs.calibration("EXTCOEFF_TABLE"))
    return derive_response(observation, star, extinction, inputs.instrument.telescope_area, telluric)


def seconds_of_light(inputs, path: Path) -> float:
    """What the counts were collected over: of all exposures where several made the spectrum."""
    time = inputs.header(path).get("TEXPTIME", inputs.keyword("EXPTIME", path))
    if not isinstance(time, int | float) or not time > 0:
        raise InputError(f"{path.name}: EXPTIME is {time!r}; a response needs the exposure time")
    return float(time)


def _with_slit_loss(inputs, path: Path, spectra, losses: dict[int, float]):
    """Counts as they were before the slit."""
    from dataclasses import replace

    if not losses:
        inputs.mark_partial(f"{path.name} states no width of its profile: slit losses are not put back")
        return spectra
    usual = sorted(losses.values())[len(losses) // 2]
    passed = [1.0 - losses.get(spectrum.order, usual) for spectrum in spectra]
    return [
        replace(spectrum, flux=spectrum.flux / share, variance=spectrum.variance / share**2)
        for spectrum, share in zip(spectra, passed, strict=True)
    ]


def _fit_qc(fits) -> list[QCParameter]:
    """How well the fits went: of the first exposure per order, of all together."""
    import numpy as np

    orders = [order for fit in fits for order in fit.orders]
    used = sum(order.used for order in orders)
    return [
        QCParameter("RESP RES", float(np.sqrt(np.mean([order.residual**2 for order in orders])))),
        QCParameter("RESP REJ FRAC", sum(order.rejected for order in orders) / max(used, 1)),
        QCParameter("N ORDERS", len(fits[0].orders)),
        QCParameter("STAR VELOCITY", fits[0].velocity),
        QCParameter("STAR VELOCITY ERR", fits[0].velocity_error),
        QCParameter("TELL EXPONENT", float(np.median([order.telluric_exponent for order in orders]))),
        *(QCParameter("RESP RES", order.residual, order.order) for order in fits[0].orders),
        *(QCParameter("RESP CHI2", order.reduced_chi_square, order.order) for order in fits[0].orders),
    ]


def _efficiency_qc(arm, response) -> list[QCParameter]:
    import numpy as np

    useful = np.zeros(response.order.shape, dtype=bool)
    for order in arm.orders:
        inside = (response.wavelength >= order.wavelength_min) & (response.wavelength <= order.wavelength_max)
        useful |= (response.order == order.number) & inside
    medians = [
        QCParameter("EFF MEDIAN", float(np.median(response.efficiency[own])), int(number))
        for number in np.unique(response.order)
        if (own := useful & (response.order == number)).any()
    ]
    if not useful.any():
        return medians
    relative = response.error[useful] / response.response[useful]
    return [
        QCParameter("EFF MEDIAN", float(np.median(response.efficiency[useful]))),
        QCParameter("EFF MAX", float(response.efficiency[useful].max())),
        QCParameter("RESP ERR MEDIAN", float(np.median(relative))),
        *medians,
    ]


def _efficiency_hdus(response, arm) -> list:
    """Per order, and of all orders together."""
    from astropy.io import fits

    return [fits.PrimaryHDU(), _efficiency_hdu("EFFICIENCY", response), _efficiency_hdu("ARM", arm)]


def _efficiency_hdu(name: str, response):
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    columns = {
        "WAVE": response.wavelength,
        "EFFICIENCY": response.efficiency,
        "ERR": response.efficiency * response.error / response.response,
        "QUAL": response.quality.astype(np.int32),
        "ORDER": response.order,
    }
    comments = {
        "WAVE": "vacuum wavelength",
        "EFFICIENCY": "detected over arriving photons, no air",
        "ERR": "1 sigma of EFFICIENCY",
    }
    return table_hdu(name, columns, {"WAVE": "nm"}, comments)

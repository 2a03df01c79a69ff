"""soxs_lingain: gain, read noise, saturation and linearity from pairs of flats of rising exposure time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, Product, RawInput

if TYPE_CHECKING:
    from soxs_recipes.reduction.frames.linearity_series import AmplifierResult

__all__ = ["LinearityAndGain"]

_AMPLIFIERS = 4
_PER_AMPLIFIER = (
    ("GAIN", "e-/ADU", "Gain, e- for a count"),
    ("GAIN ERR", "e-/ADU", "Error of GAIN"),
    ("RON", "e-", "Read noise without quantisation"),
    ("LIN DEV MAX", "%", "Largest departure of uncorrected signals from linearity in the range of the curve"),
    ("LIN RES MAX", "%", "Largest departure that the curve leaves, mean in twelfths of its range"),
    ("LIN LIMIT", "e-", "Signal up to which the curve holds"),
    ("FULL WELL", "e-", "Signal at which pixels stop rising, of well or converter"),
    ("COVAR SUM", "%", "Covariance with the eight neighbours over the variance"),
)


def _qc() -> tuple[QCDefinition, ...]:
    """For the detector (mean, or the worst amplifier), then for each amplifier."""
    ranges = {"RON": (0.0, 30.0), "LIN RES MAX": (0.0, 0.1), "LIN DEV MAX": (0.0, 10.0)}
    whole = [QCDefinition(name, unit, f"{text}.", ranges.get(name)) for name, unit, text in _PER_AMPLIFIER]
    single = [
        QCDefinition(f"{name} AMP{number}", unit, f"{text}, output {number}.")
        for number in range(1, _AMPLIFIERS + 1)
        for name, unit, text in _PER_AMPLIFIER
    ]
    return (*whole, *single)


class LinearityAndGain(Recipe):
    """Photon-transfer curve and linearity, per amplifier, and pixels that answer differently."""

    declaration = Declaration(
        name="soxs_lingain",
        synopsis="Measure gain, read noise, saturation and linearity from pairs of flats.",
        description=(
            "Pixels of like brightness form groups. The difference of two equal exposures gives the variance of "
            "each group free of the pixels' own response; variance against signal is the photon-transfer curve, "
            "whose slope is the gain (Janesick 2007). The noise that pixels share with their neighbours is "
            "measured, and added to the variance when it is significant.\n\n"
            "Groups show the same signals at different exposure times, which tells the detector's curve from an "
            "unsteady lamp and from a late shutter: curve, lamp and delay are fitted together. The range of the "
            "curve ends where it no longer holds to 0.05 %. Nothing in it depends on the gain.\n\n"
            "Pixels that depart from their amplifier's curve go into BP_MAP_NL. Give LINEARITY_COEFF and "
            "BP_MAP_NL to other recipes and set `correct-linearity` to apply them.\n\n"
            "Give pairs from faint to saturated, all of one read mode, with biases (UV-VIS) or lamp-off frames "
            "(NIR) of the same read mode."
        ),
        raws=(
            RawInput(
                "DETLIN_<ARM>", "flats of rising exposure time, in pairs", agree=("READ_MODE_ID", "SLIT"),
                min_count=6, recommended=16, detector="ccd",
            ),
            RawInput(
                "DETLIN_<ARM>_ON", "flats of rising exposure time, in pairs", agree=("READ_MODE_ID", "SLIT"),
                min_count=6, recommended=16, detector="infrared",
            ),
            RawInput(
                "BIAS_<ARM>", "biases", required=False, agree=("READ_MODE_ID",), detector="ccd",
            ),
            RawInput(
                "DETLIN_<ARM>_OFF", "lamp-off frames", required=False, agree=("READ_MODE_ID",),
                detector="infrared",
            ),
        ),
        calibrations=(
            CalibrationInput("BP_MAP_REF_<ARM>", "bad pixels that are known", static=True, agree_binning=False),
        ),
        parameters=(
            Parameter("degree", int, 4, "", "Terms of the linearity curve.", minimum=1, maximum=8),
            Parameter(
                "fit-limit", float, 0.95, "", "Signals up to this part of the saturation take part.",
                minimum=0.3, maximum=1.0,
            ),
            Parameter(
                "pixel-deviation", float, 2.0, "%",
                "A pixel that departs by more from its amplifier's curve at its end is non-linear.", minimum=0.1,
            ),
            Parameter(
                "pixel-sigma", float, 5.0, "sigma", "So much must a departure exceed its error.", minimum=2.0
            ),
        ),
        products=(
            Product("GAIN_INFO_<ARM>", "gain, read noise and saturation per amplifier", "table"),
            Product("LINEARITY_COEFF_<ARM>", "linearity curve per amplifier", "table", always=False),
            Product("BP_MAP_NL_<ARM>", "pixels that are not linear as the others are", always=False),
        ),
        qc=(
            *_qc(),
            QCDefinition("SHUTTER DELAY", "s", "By how much the light outlasts the exposure time."),
            QCDefinition("LAMP RMS", "%", "Unsteadiness of the lamp from pair to pair."),
            QCDefinition("N PAIRS", "", "Pairs that were used."),
            QCDefinition("BADPIX NUM", "", "Pixels that are not linear as the others are."),
            QCDefinition("BADPIX FRAC", "", "BADPIX NUM over the pixels with light enough to tell.", (0.0, 0.01)),
        ),
    )  # fmt: skip

    def process(self, inputs, parameters, outputs):
        """Pair, characterise each amplifier, judge pixels."""
        from soxs_recipes.fits_files import linearity_hdu, quality_hdus
        from soxs_recipes.recipes.steps.linearity_frames import read_series

        ccd = inputs.arm.detector.has_bias
        lit, unlit = ("DETLIN", "BIAS") if ccd else ("DETLIN_ON", "DETLIN_OFF")
        series = read_series(inputs, inputs.raw(lit), inputs.raw(unlit))
        noises = [_read_noise(series, columns) for columns in series.amplifiers]
        results = [
            _measured(series, columns, noise, parameters, shutter=ccd)
            for columns, noise in zip(series.amplifiers, noises, strict=True)
        ]
        bad, known = _deviating(results, series.good.shape, parameters)
        qc = _values(series, results, noises, (bad, known), ccd=ccd)
        outputs.add("GAIN_INFO", [_gain_hdu(results, noises), *_point_hdus(results)], qc=qc, used=series.used)
        fits = [result.linearity for result in results]
        if all(fit is not None for fit in fits):
            hdus = [linearity_hdu([fit.curve for fit in fits]), *_point_hdus(results)]
            outputs.add("LINEARITY_COEFF", hdus, qc=qc, used=series.used)
            outputs.add("BP_MAP_NL", quality_hdus(bad), qc=qc, used=series.used)
        else:
            inputs.mark_partial("too few exposure times below saturation: no linearity curve")


def _read_noise(series, columns) -> tuple[float, float] | None:
    """(read noise, error) of an amplifier [ADU] from unlit exposures; None without a pair."""
    from soxs_recipes.reduction.frames.photon_transfer import read_noise_of_pairs

    cut = (slice(None), slice(*columns))
    if len(series.dark) < 2:
        return None
    return read_noise_of_pairs([image[cut] for _, image in series.dark], series.good[cut], series.level_variance)


def _measured(series, columns, noise, parameters, *, shutter) -> AmplifierResult:
    from soxs_recipes.reduction.frames.linearity_series import characterise

    floor = None if noise is None else noise[0] ** 2 + 1.0 / 12.0 + series.level_variance
    return characterise(
        series.pairs,
        series.good,
        columns,
        noise_floor=floor,
        degree=parameters["degree"],
        fit_limit=parameters["fit-limit"],
        shutter=shutter,
    )


def _deviating(results, shape, parameters):
    """Quality bits of non-linear pixels, and where there was light enough to tell."""
    import numpy as np

    from soxs_recipes.data.quality import QualityFlag

    bits, known = np.zeros(shape, np.int32), np.zeros(shape, bool)
    for result in results:
        if result.deviations is not None:
            cut = (slice(None), slice(*result.columns))
            wrong = result.deviations.deviating(0.01 * parameters["pixel-deviation"], parameters["pixel-sigma"])
            bits[cut] = np.where(wrong, np.int32(QualityFlag.NON_LINEAR), np.int32(0))
            known[cut] = np.isfinite(result.deviations.deviation)
    return bits, known


def _noise_of(result: AmplifierResult, noise: tuple[float, float] | None) -> tuple[float, float]:
    """(read noise, error) [e-]: of unlit exposures, else of the fit."""
    import numpy as np

    gain = result.transfer.gain
    if noise is not None:
        return gain * noise[0], float(np.hypot(gain * noise[1], result.transfer.gain_error * noise[0]))
    return gain * float(np.sqrt(max(result.transfer.noise_floor - 1.0 / 12.0, 0.0))), float("nan")


def _amplifier_values(result: AmplifierResult, noise: tuple[float, float] | None) -> dict[str, float]:
    import numpy as np

    transfer, fit = result.transfer, result.linearity
    values = {
        "GAIN": transfer.gain,
        "GAIN ERR": transfer.gain_error,
        "RON": _noise_of(result, noise)[0],
        "FULL WELL": transfer.gain * result.saturation,
        "COVAR SUM": 100.0 * result.correlation.total if np.isfinite(result.correlation.error) else np.nan,
    }
    if fit is not None:
        signals = np.linspace(0.0, fit.curve.limit, 200)[1:]
        _, residuals = fit.residual_by_level(result.level)
        values["LIN DEV MAX"] = 100.0 * float(np.abs(fit.curve.deviation(signals)).max())
        values["LIN RES MAX"] = 100.0 * float(np.nanmax(np.abs(residuals)))
        values["LIN LIMIT"] = transfer.gain * fit.curve.limit
    return values


def _values(series, results, noises, judged, *, ccd) -> list[QCParameter]:
    import numpy as np

    bad, known = judged
    every = [_amplifier_values(result, noise) for result, noise in zip(results, noises, strict=True)]
    worst = {"LIN DEV MAX": max, "LIN RES MAX": max, "LIN LIMIT": min, "FULL WELL": min, "GAIN ERR": max}
    values = {
        name: float(worst.get(name, np.mean)([one[name] for one in every]))
        for name in every[0]
        if all(name in one for one in every)
    }
    for number, one in enumerate(every[:_AMPLIFIERS], start=1):
        values |= {f"{name} AMP{number}": float(value) for name, value in one.items()}
    count = int(np.count_nonzero(bad))
    values |= {"N PAIRS": len(series.pairs), "BADPIX NUM": count}
    values["BADPIX FRAC"] = count / known.sum() if known.any() else float("nan")
    fit = results[0].linearity
    if fit is not None:
        values["SHUTTER DELAY"] = fit.delay if ccd else float("nan")
        values["LAMP RMS"] = 100.0 * float(np.std(fit.lamp))
    return [QCParameter(name, value) for name, value in values.items()]


def _gain_hdu(results, noises):
    """Table GAIN: a row an amplifier."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    electrons = [_noise_of(result, noise) for result, noise in zip(results, noises, strict=True)]
    columns = {
        "AMPLIFIER": np.arange(1, len(results) + 1, dtype=np.int16),
        "X_FIRST": np.array([result.columns[0] for result in results], np.int32),
        "X_END": np.array([result.columns[1] for result in results], np.int32),
        "GAIN": np.array([result.transfer.gain for result in results]),
        "GAIN_ERR": np.array([result.transfer.gain_error for result in results]),
        "READ_NOISE": np.array([noise for noise, _ in electrons]),
        "READ_NOISE_ERR": np.array([error for _, error in electrons]),
        "FULL_WELL": np.array([result.transfer.gain * result.saturation for result in results]),
        "CONVERTER": np.array([result.converter_limited for result in results]),
        "COVARIANCE": np.array([result.correlation.total for result in results]),
        "COVARIANCE_ERR": np.array([result.correlation.error for result in results]),
        "CHI2": np.array([result.transfer.chi_square for result in results]),
    }
    units = {"GAIN": "electron adu-1", "GAIN_ERR": "electron adu-1"}
    units |= dict.fromkeys(("READ_NOISE", "READ_NOISE_ERR", "FULL_WELL"), "electron")
    comments = {
        "X_FIRST": "first column, from 0, trimmed and unbinned",
        "FULL_WELL": "where pixels stop rising, NaN: not reached",
        "CONVERTER": "whether the converter stops them",
        "COVARIANCE": "with the eight neighbours over the variance",
        "CHI2": "of the photon-transfer curve, reduced",
    }
    return table_hdu("GAIN", columns, units, comments)


def _point_hdus(results):
    """Table POINTS: a row a group of pixels and exposure time."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    rows = {
        name: [] for name in ("AMPLIFIER", "EXPTIME", "LEVEL", "VARIANCE", "ERROR", "MODEL", "USED", "RESIDUAL")
    }
    for number, result in enumerate(results, start=1):
        known = np.isfinite(result.level)
        residual = np.full(result.level.shape, np.nan) if result.linearity is None else result.linearity.residual
        errors = np.array([one.variance_error for one in result.statistics])
        rows["AMPLIFIER"].append(np.full(known.sum(), number, np.int16))
        rows["EXPTIME"].append(np.broadcast_to(result.times[:, None], known.shape)[known])
        values = (result.level, result.variance, errors, result.transfer.model, result.used, residual)
        for name, value in zip(list(rows)[2:], values, strict=True):
            rows[name].append(value[known])
    columns = {name: np.concatenate(parts) for name, parts in rows.items()}
    units = {"EXPTIME": "s", "LEVEL": "adu", "VARIANCE": "adu2", "ERROR": "adu2", "MODEL": "adu2"}
    comments = {
        "LEVEL": "mean signal as read",
        "VARIANCE": "of one exposure",
        "MODEL": "variance by the photon-transfer curve",
        "RESIDUAL": "corrected over expected signal, minus 1",
    }
    return [table_hdu("POINTS", columns, units, comments)]

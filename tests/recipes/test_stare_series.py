"""soxs_stare with several exposures: before and after extraction, faint targets, targets that are not seen."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time, TimeDelta

from soxs_recipes.errors import AlgorithmError, UnprocessableData
from soxs_recipes.fits_files import read_order_spectra, read_table
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.stare import Stare
from soxs_recipes.recipes.steps import exposure_series
from soxs_recipes.recipes.steps.exposure_series import Extractor
from soxs_recipes.recipes.steps.spectroscopy import Location
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.frames import supernova
from soxs_recipes.simulator.truth import TableTruth

START = Time("2026-03-02T01:00:00")


def _expose(folder, number, **changes):
    """A raw frame, binned to be small, and the truth of its object."""
    start = START + TimeDelta(number * 700.0, format="sec")
    data, header, truth = simulate_frame(
        "science", "VIS", seed=3, exposure_time=600.0, binning=(2, 2), index=number, start=start, **changes
    )
    path = folder / f"SOXS.{start.isot}.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    return path, TableTruth(truth.tables)


@pytest.fixture(scope="module")
def faint(tmp_path_factory):
    """Two exposures of a target that neither shows well, the second through clouds."""
    folder = tmp_path_factory.mktemp("raw")
    source = supernova(22.6)
    # No flat will be given, and a fiftieth of the sky is less than what one would take out.
    even = Effects(pixel_response=0.0, fringing=0.0)
    pairs = [
        _expose(folder, k, source=source, transparency=clear, effects=even) for k, clear in enumerate((1.0, 0.7))
    ]
    return [path for path, _ in pairs], [truth for _, truth in pairs]


@pytest.fixture(scope="module", params=["extracted", "frames"])
def combined(request, faint, tmp_path_factory):
    """The run, and how the exposures were combined."""
    folder = tmp_path_factory.mktemp(request.param)
    return run_recipe(
        Stare, [str(path) for path in faint[0]], {"combine": request.param}, str(folder)
    ), request.param


def _products(run, tag):
    return [product.path for product in run.products if product.tag == f"SCI_SLIT_{tag}_VIS"]


def test_a_faint_target_is_extracted_where_the_sum_shows_it(combined, faint):
    run, way = combined
    assert run.status == "PARTIAL"  # there are no calibrations
    assert len(_products(run, "SKYSUB")) == (2 if way == "extracted" else 1)
    (path,) = _products(run, "ORDER1D")
    spectra = read_order_spectra(path)
    assert [spectrum.order for spectrum in spectra] == [1, 2, 3, 4]
    ratios = []
    for spectrum in spectra:
        edges = np.append(spectrum.wavelength - 0.5 * spectrum.bin_width, spectrum.wavelength[-1])
        light = sum(np.nan_to_num(truth.truth_counts(spectrum.order, edges, which="object")) for truth in faint[1])
        known = np.isfinite(spectrum.variance) & (light > 0)
        weight = 1.0 / spectrum.variance[known]
        light, flux = light[known], spectrum.flux[known]
        error = 1.0 / np.sqrt((weight * light**2).sum())
        ratios.append(((weight * light * flux).sum() * error**2, error))
        assert np.median(np.abs(spectrum.trace - 0.68)) < 0.25
    ratios, errors = np.array(ratios).T
    mean = (ratios / errors**2).sum() / (1.0 / errors**2).sum()
    assert mean == pytest.approx(1.0, abs=0.25)
    assert abs(np.median(np.concatenate([spectrum.trace for spectrum in spectra])) - 0.68) < 0.1


def test_times_and_exposures_stand_in_the_header(combined):
    run, way = combined
    (path,) = _products(run, "ORDER1D")
    header = fits.getheader(path)
    assert header["ESO QC N EXPOSURES"] == 2
    assert header["EXPTIME"] == 600.0
    assert header["TEXPTIME"] == 1200.0
    assert header["MJD-OBS"] == pytest.approx(START.mjd, abs=1e-7)
    assert header["MJD-END"] == pytest.approx(START.mjd + 1300.0 / 86400.0, abs=1e-7)
    assert header["ESO QC MJD MID"] == pytest.approx(START.mjd + 650.0 / 86400.0, abs=1e-8)
    assert header["ESO QC CR FRAC"] > 0
    if way == "extracted":
        assert header["ESO QC THROUGHPUT MIN"] == pytest.approx(1.4 / 1.7, abs=0.09)
    assert header["ESO QC TRACE RUNG"] == (2 if way == "extracted" else 1)


def test_a_target_that_is_not_seen_lies_on_the_trace_of_a_standard(tmp_path):
    path, _ = _expose(tmp_path, 5, sources=())
    numbers, positions = np.repeat(np.arange(1, 5), 200), np.tile(np.linspace(-1.0, -0.6, 200), 4)
    wavelength = np.concatenate([np.linspace(low, low + 130.0, 200) for low in (540.0, 320.0, 420.0, 680.0)])
    columns = [
        fits.Column("ORDER", "I", array=numbers),
        fits.Column("WAVE", "D", array=wavelength),
        fits.Column("SLIT_POSITION", "D", array=positions),
    ]
    standard = tmp_path / "standard.fits"
    header = fits.Header({"INSTRUME": "SOXS"})
    header["HIERARCH ESO PRO CATG"] = "FLUX_SLIT_TRACE_VIS"
    header["HIERARCH ESO SEQ ARM"] = "VIS"
    header["HIERARCH ESO SEQ CUMOFF Y"] = -0.5
    table = fits.BinTableHDU.from_columns(columns, name="TRACE")
    fits.HDUList([fits.PrimaryHDU(header=header), table]).writeto(standard)
    frames = [(str(path), "OBJECT_STARE_VIS"), (str(standard), "FLUX_SLIT_TRACE_VIS")]
    run = run_recipe(Stare, frames, {}, str(tmp_path / "out"))
    (trace,) = _products(run, "TRACE")
    found = read_table(trace, "TRACE")
    expected = 0.5 + np.interp(found["WAVE"][found["ORDER"] == 1], wavelength[:200], positions[:200])
    assert found["SLIT_POSITION"][found["ORDER"] == 1] == pytest.approx(expected, abs=0.02)
    assert fits.getheader(trace)["ESO QC TRACE RUNG"] == 3
    assert any("trace of a standard" in note for note in run.notes)


@pytest.mark.parametrize(
    ("applied", "shift", "is_significant", "total"),
    [(0.0, 0.03, False, 0.03), (0.3, 0.3, True, 0.3), (0.8, 0.03, False, 0.83), (1.1, 0.3, True, 1.1)],
)
def test_flexure_between_exposures_counts_what_arcs_told_and_what_lines_add(applied, shift, is_significant, total):
    extractor = Extractor.__new__(Extractor)
    extractor._correct = True
    found = SimpleNamespace(shift=shift, error=0.01, is_significant=is_significant)
    (along, error), across = extractor.flexure_of(Location(None, found, None, (applied, 0.0)))
    assert (along, error) == pytest.approx((total, 0.01))
    assert np.isnan(across).all()


def test_an_exposure_that_cannot_be_extracted_is_left_out(faint, tmp_path, monkeypatch):
    spoilt = faint[0][1]
    true = Extractor.extract

    def extract(self, exposure, location, **changes):
        if exposure.path == spoilt:
            raise AlgorithmError("the sky and object equations are singular")
        return true(self, exposure, location, **changes)

    monkeypatch.setattr(Extractor, "extract", extract)
    run = run_recipe(Stare, [str(path) for path in faint[0]], {"refine-sky": False}, str(tmp_path))
    assert any("left out" in reason and spoilt.name in reason for reason in run.reasons)
    (path,) = _products(run, "ORDER1D")
    assert fits.getheader(path)["TEXPTIME"] == 600.0
    monkeypatch.setattr(Extractor, "locate", lambda self, exposure: extract(self, _at(spoilt), None))
    run = run_recipe(Stare, [str(path) for path in faint[0]], {}, str(tmp_path / "none"))
    assert run.status == "FAILED"
    assert "no exposure could be extracted" in run.message


def test_no_exposure_is_extracted_without_a_flat_that_is_damaged(faint, tmp_path, monkeypatch, caplog):
    def damaged(inputs, shape):
        raise UnprocessableData("MASTER_FLAT.fits: the data are damaged")

    monkeypatch.setattr(exposure_series, "master_flat", damaged)
    run = run_recipe(Stare, [str(path) for path in faint[0]], {}, str(tmp_path))
    assert run.status == "FAILED"
    assert not run.products
    assert sum("MASTER_FLAT.fits" in record.getMessage() for record in caplog.records) == 2


def _at(path):
    return SimpleNamespace(path=path)

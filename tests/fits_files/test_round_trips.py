from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soxs_recipes import fits_files
from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution
from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.data.quality import QualityFlag, describe_quality
from soxs_recipes.data.rectified_image import RectifiedImage
from soxs_recipes.data.response import Response
from soxs_recipes.data.response_archive import ResponseArchive
from soxs_recipes.data.spectrum import MergedSpectrum, OrderSpectrum
from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.fits_files import write_product
from soxs_recipes.fits_files.tables import _fitting

quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds = st.integers(0, 2**32 - 1)
finite = st.floats(
    allow_nan=False, allow_infinity=False, width=64, min_value=-1e6, max_value=1e6, allow_subnormal=False
)


def assert_same(first, second, rounding: dict[str, float] | None = None):
    """Every field equal to the bit, but those in `rounding`, which are within a relative tolerance."""
    rounding = rounding or {}
    fields = dataclasses.fields(first)
    assert fields
    for field in fields:
        a, b = getattr(first, field.name), getattr(second, field.name)
        if dataclasses.is_dataclass(a):
            assert_same(a, b, rounding)
        elif isinstance(a, np.ndarray):
            assert a.shape == b.shape, field.name
            if field.name in rounding:
                np.testing.assert_allclose(a, b, rtol=rounding[field.name], err_msg=field.name)
            else:
                np.testing.assert_array_equal(a, b, err_msg=field.name)
        elif isinstance(a, float):
            # A header value has twenty characters, some digits less than a float64 may need.
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=field.name)
        else:
            assert a == b, field.name


def frame_of(seed, shared):
    generator = np.random.default_rng(seed)
    shape = tuple(generator.integers(1, 12, 2))
    data = generator.normal(0, 1e3, shape).astype(np.float32)
    variance = generator.uniform(0, 1e5, shape).astype(np.float32)
    quality = generator.integers(0, 2**20, shape).astype(np.int32)
    shared_variance = generator.uniform(0, 1, shape).astype(np.float32) if shared else None
    return Frame(data, variance, quality, shared_variance=shared_variance)


@quick
@given(
    seed=seeds,
    shared=st.booleans(),
    numbers=st.lists(st.one_of(finite, st.just(float("nan"))), min_size=3, max_size=3),
    saturation=st.one_of(st.floats(1, 1e9), st.just(float("inf"))),
    binning=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_frame(tmp_path, seed, shared, numbers, saturation, binning):
    meta = FrameMeta("SOXS.2026-01-01", 12.5, *numbers[:2], 0.6, 3.8, saturation, binning, numbers[2], 5)
    frame = dataclasses.replace(frame_of(seed, shared), meta=meta)
    path = write_product(tmp_path / "frame.fits", fits_files.image_hdus(frame))
    again = fits_files.read_frame(path)
    assert_same(frame, again, {"variance": 2.0**-22})
    # A frame that has been in a file once comes back to the bit.
    path = write_product(tmp_path / "again.fits", fits_files.image_hdus(again))
    third = fits_files.read_frame(path)
    assert np.array_equal(np.sqrt(third.variance), np.sqrt(again.variance))


def test_every_third_pixel_of_a_frame(tmp_path):
    generator = np.random.default_rng(4)
    shape = (31, 50)
    planes = [generator.uniform(1, 9, shape).astype(np.float32) for _ in range(2)]
    frame = Frame(
        *planes, generator.integers(0, 2**20, shape).astype(np.int32), FrameMeta("SOXS.2026-01-01", 12.5)
    )
    path = write_product(tmp_path / "frame.fits", fits_files.image_hdus(frame))
    whole, some = fits_files.read_frame(path), fits_files.read_frame(path, every=3)
    assert some.shape == (11, 17)
    assert repr(some.meta) == repr(whole.meta)  # NaN is not equal to itself
    for name in ("data", "variance", "quality"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[::3, ::3])
        assert getattr(some, name).dtype.isnative
    np.testing.assert_array_equal(fits_files.read_signal(path, every=3), whole.data[::3, ::3])


def test_some_pixels_of_no_frame(tmp_path):
    with pytest.raises(InputError, match=r"lost\.fits.*no such file"):
        fits_files.read_frame(tmp_path / "lost.fits", every=2)
    (tmp_path / "text.fits").write_text("SIMPLE or not")
    with pytest.raises(UnprocessableData, match=r"text\.fits"):
        fits_files.read_signal(tmp_path / "text.fits", every=2)


def test_frame_planes_are_what_others_expect(tmp_path):
    frame = frame_of(1, shared=True)
    path = write_product(tmp_path / "frame.fits", fits_files.image_hdus(frame))
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["FLUX", "ERRS", "QUAL", "SHARED"]
        np.testing.assert_allclose(hdus["ERRS"].data, np.sqrt(frame.variance), rtol=1e-6)
        comments = "\n".join(hdus["QUAL"].header["COMMENT"])
    names = [name for _, name, _ in describe_quality()]
    assert len(names) == 20
    assert all(name in comments for name in names)


def test_frame_without_quality_is_refused(tmp_path):
    path = write_product(tmp_path / "frame.fits", fits_files.image_hdus(frame_of(1, shared=False))[:2])
    with pytest.raises(InputError, match=r"frame\.fits.*QUAL"):
        fits_files.read_frame(path)


def test_damaged_product_is_refused(tmp_path):
    path = write_product(tmp_path / "frame.fits", fits_files.image_hdus(frame_of(1, shared=False)))
    content = bytearray(path.read_bytes())
    content[-2880] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnprocessableData, match=r"frame\.fits.*DATASUM"):
        fits_files.read_frame(path)


def test_quality_map(tmp_path):
    quality = frame_of(4, shared=False).quality
    path = write_product(tmp_path / "bp.fits", fits_files.quality_hdus(quality))
    assert np.array_equal(fits_files.read_quality(path), quality)
    assert fits_files.read_quality(path).dtype == np.int32
    path = write_product(tmp_path / "frame.fits", fits_files.image_hdus(frame_of(4, shared=False)))
    assert np.array_equal(fits_files.read_quality(path), quality)


def block_of(generator, orders, echelle):
    count = int(generator.integers(1, 8))
    terms = np.unique(generator.integers(0, 3, (count, 3)), axis=0)
    count = len(terms)
    return DispersionBlock(
        orders,
        terms,
        generator.normal(size=count),
        generator.normal(size=count),
        generator.normal(size=(count, count)),
        generator.normal(size=(count, count)),
        (10.0, 24.0),
        tuple(np.sort(generator.uniform(300, 2000, 2)).tolist()),
        (-5.5, 5.5),
        echelle,
    )


@quick
@given(seed=seeds)
def test_dispersion_solution(tmp_path, seed):
    generator = np.random.default_rng(seed)
    blocks = tuple(block_of(generator, orders, orders[0] > 4) for orders in ((1,), (2, 3), (10, 11, 12)))
    solution = DispersionSolution(blocks, (1, 2))
    lines = {"ORDER": np.array([1, 2]), "ION": np.array(["Ar I", "Hg"]), "X": np.array([1.5, np.nan])}
    hdus = fits_files.dispersion_solution_hdus(solution, lines, {"X": "pixel"})
    path = write_product(tmp_path / "d.fits", hdus)
    again = fits_files.read_dispersion_solution(path)
    assert again.binning == (1, 2)
    assert len(again.blocks) == 3
    for first, second in zip(blocks, again.blocks, strict=True):
        assert_same(first, second)
    table = fits_files.read_line_table(path)
    assert list(table) == list(lines)
    for key, values in lines.items():
        np.testing.assert_array_equal(table[key], values)


def test_no_comment_of_a_column_is_cut():
    """Of those in the code: a mapping from names of columns to sentences."""
    package = Path(fits_files.__file__).parent.parent
    pairs = [
        (key.value, value.value, path.name)
        for room in ("fits_files", "recipes")
        for path in sorted((package / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if all(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in (key, value))
        if " " in value.value and re.fullmatch("[A-Z][A-Z_0-9]+|[a-z_]+", key.value)
    ]
    assert len(pairs) > 60
    assert [pair for pair in pairs if _fitting(pair[1], pair[0]) != pair[1].strip()] == []


@quick
@given(seed=seeds, edges=st.sampled_from(["none", "some", "all"]))
def test_order_table(tmp_path, seed, edges):
    generator = np.random.default_rng(seed)

    def trace(order):
        with_edges = edges == "all" or (edges == "some" and order % 2)
        curves = [generator.normal(size=generator.integers(1, 6)) for _ in range(3)]
        return OrderTrace(order, (0.0, 4095.0), curves[0], *(curves[1:] if with_edges else (None, None)), 0.01)

    table = OrderTable(tuple(trace(order) for order in (1, 2, 3)), 1, (2, 1))
    path = write_product(tmp_path / "o.fits", fits_files.order_table_hdus(table))
    again = fits_files.read_order_table(path)
    assert (again.dispersion_axis, again.binning, again.orders) == (1, (2, 1), (1, 2, 3))
    for first, second in zip(table.traces, again.traces, strict=True):
        assert_same(first, second)


def test_pixel_maps(tmp_path):
    generator = np.random.default_rng(2)
    maps = PixelMaps(
        np.where(generator.random((9, 8)) < 0.2, np.nan, generator.uniform(300, 900, (9, 8))),
        generator.normal(size=(9, 8)),
        generator.integers(0, 5, (9, 8)).astype(np.int16),
    )
    path = write_product(tmp_path / "m.fits", fits_files.pixel_maps_hdus(maps))
    assert_same(maps, fits_files.read_pixel_maps(path))
    assert fits_files.read_pixel_maps(path).wavelength.dtype == np.float64


def spectrum_fields(generator, count):
    blank = generator.random(count) < 0.2
    return {
        "wavelength": np.sort(generator.uniform(350, 850, count)),
        "bin_width": generator.uniform(0.01, 0.1, count),
        "flux": np.where(blank, 0.0, generator.normal(size=count)),
        "variance": np.where(blank, np.inf, generator.uniform(0, 9, count)),
        "sky": generator.normal(size=count),
        "quality": np.where(blank, int(QualityFlag.NO_DATA), 0).astype(np.int32),
        "correlation": generator.uniform(-1, 1, (generator.integers(0, 4), count))
        .astype(np.float32)
        .astype(float),
    }


ROUNDING = {
    "variance": 2.0**-49,
    "boxcar_variance": 2.0**-49,
    "background_variance": 2.0**-49,
    "correlation": 1e-12,
}


@quick
@given(seed=seeds, unit=st.sampled_from(["electron", "erg / (s cm2 Angstrom)", "adu"]))
def test_order_spectra(tmp_path, seed, unit):
    generator = np.random.default_rng(seed)
    spectra = []
    for order, band in ((1, "r"), (13, "13")):
        count = int(generator.integers(1, 20))
        fields = spectrum_fields(generator, count)
        boxcar = {"boxcar_flux": fields["flux"] * 2, "boxcar_variance": fields["variance"] * 2}
        more = {"background_variance": fields["variance"] / 2, "trace": generator.normal(size=count)}
        spectra.append(OrderSpectrum(order, band, flux_unit=unit, **fields, **boxcar, **more))
    path = write_product(tmp_path / "s.fits", fits_files.spectra_hdus(spectra))
    again = fits_files.read_order_spectra(path)
    assert len(again) == 2
    for first, second in zip(spectra, again, strict=True):
        assert_same(first, second, ROUNDING)


@quick
@given(seed=seeds, unit=st.sampled_from(["electron / nm", "erg / (s cm2 Angstrom)"]))
def test_merged_spectrum(tmp_path, seed, unit):
    generator = np.random.default_rng(seed)
    fields = spectrum_fields(generator, 30)
    spectrum = MergedSpectrum(order=generator.integers(0, 5, 30).astype(np.int16), flux_unit=unit, **fields)
    path = write_product(tmp_path / "s.fits", fits_files.spectra_hdus(spectrum))
    assert_same(spectrum, fits_files.read_merged_spectrum(path), ROUNDING)


def test_spectrum_columns_carry_units_that_astropy_knows(tmp_path):
    from astropy import units as u
    from astropy.table import QTable

    fields = spectrum_fields(np.random.default_rng(1), 10)
    spectrum = MergedSpectrum(order=np.ones(10, np.int16), flux_unit="erg / (s cm2 Angstrom)", **fields)
    path = write_product(tmp_path / "s.fits", fits_files.merged_spectrum_hdus(spectrum))
    table = QTable.read(path, hdu=1)
    assert table["WAVE"].unit == u.nm
    assert table["FLUX"].unit == u.Unit("erg / (s cm2 Angstrom)")
    assert table["ERR"].unit == table["FLUX"].unit
    np.testing.assert_allclose(table["WAVE"] / table["WAVE_AIR"] - 1, 2.8e-4, atol=1e-5)


def test_flux_spectrum_opens_in_specutils(tmp_path):
    # Its general reader knows flux densities; electrons per nm are no unit of the FITS standard.
    specutils = pytest.importorskip("specutils")
    fields = spectrum_fields(np.random.default_rng(1), 10) | {"flux_unit": "erg / (s cm2 Angstrom)"}
    spectrum = MergedSpectrum(order=np.ones(10, np.int16), **fields)
    path = write_product(tmp_path / "s.fits", fits_files.merged_spectrum_hdus(spectrum))
    reader = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    read = reader.read(path, format="tabular-fits")
    np.testing.assert_allclose(read.spectral_axis.to_value("nm"), spectrum.wavelength)
    known = np.isfinite(spectrum.variance)
    np.testing.assert_allclose(read.flux.value[known], spectrum.flux[known])


def rectified_image(generator, order=0, unit="erg / (s cm2 Angstrom)", sky=True):
    shape = (int(generator.integers(1, 9)), int(generator.integers(1, 200)))
    blank = generator.random(shape) < 0.2
    planes = [np.where(blank, np.inf, generator.uniform(1e-38, 9e-36, shape)) for _ in range(2)]
    values = [np.where(blank, 0, generator.normal(0, 1e-17, shape)).astype(np.float32) for _ in range(2)]
    return RectifiedImage(
        order,
        str(order) if order else "",
        *generator.uniform(300, 2000, 1),
        0.06,
        -6.05,
        0.275,
        values[0],
        *planes,
        generator.integers(0, 2**20, shape).astype(np.int32),
        generator.uniform(0, 1, shape).astype(np.float32),
        generator.uniform(0, 1, (-(-shape[1] // 64), 5, 3)).astype(np.float32),
        unit,
        values[1] if sky else None,
    )


@quick
@given(seed=seeds, unit=st.sampled_from(["electron", "electron / nm", "erg / (s cm2 Angstrom)", ""]))
def test_rectified_images(tmp_path, seed, unit):
    generator = np.random.default_rng(seed)
    rounding = {"variance": 2.0**-22, "sum_variance": 2.0**-22}
    orders = [rectified_image(generator, order, unit, sky=unit != "") for order in (10, 3)]
    path = write_product(tmp_path / "o.fits", fits_files.rectified_hdus(orders))
    again = fits_files.read_rectified_images(path)
    assert len(again) == 2
    for first, second in zip(orders, again, strict=True):
        assert_same(first, second, rounding)
    merged = rectified_image(generator, unit=unit)
    path = write_product(tmp_path / "m.fits", fits_files.rectified_hdus(merged))
    (read,) = fits_files.read_rectified_images(path)
    assert_same(merged, read, rounding)


def test_axes_of_a_rectified_image_are_what_astropy_reads(tmp_path):
    from astropy.wcs import WCS

    image = rectified_image(np.random.default_rng(8))
    path = write_product(tmp_path / "m.fits", fits_files.rectified_hdus(image))
    with fits.open(path) as hdus:
        for name in ("FLUX", "ERRS", "ERRSUM", "QUAL", "COVER", "SKY"):
            wcs = WCS(hdus[name].header)
            world = wcs.wcs_pix2world([[3.0, 2.0]], 0)[0] * [wcs.wcs.cunit[0].to("nm"), 1.0]
            np.testing.assert_allclose(world, [image.wavelength_start + 0.18, -6.05 + 0.55])
            assert [str(kind) for kind in wcs.wcs.ctype] == ["WAVE", "LINEAR"]
            assert wcs.wcs.specsys == "TOPOCENT"
        assert hdus["FLUX"].header["NOISEFAC"] == pytest.approx(image.noise_factor)
        assert np.isnan(hdus["FLUX"].data[~image.known]).all()


def test_a_spectrum_is_no_rectified_image(tmp_path):
    path = write_product(tmp_path / "f.fits", fits_files.image_hdus(frame_of(1, False)))
    with pytest.raises(InputError, match=r"f\.fits: holds no straightened image"):
        fits_files.read_rectified_images(path)


def test_wrong_product_is_named(tmp_path):
    path = write_product(tmp_path / "frame.fits", fits_files.image_hdus(frame_of(1, shared=False)))
    for read in (
        fits_files.read_merged_spectrum,
        fits_files.read_order_spectra,
        fits_files.read_response,
        fits_files.read_order_table,
        fits_files.read_dispersion_solution,
        fits_files.read_pixel_maps,
    ):
        with pytest.raises(InputError, match=r"frame\.fits"):
            read(path)


def test_response(tmp_path):
    generator = np.random.default_rng(5)
    response = Response(
        np.arange(7, dtype=np.int16),
        np.linspace(350, 850, 7),
        generator.normal(size=7),
        generator.random(7),
        generator.random(7),
        np.zeros(7, np.int32),
    )
    path = write_product(tmp_path / "r.fits", fits_files.response_hdus(response))
    assert_same(response, fits_files.read_response(path))


def test_response_archive(tmp_path):
    generator = np.random.default_rng(6)
    samples = [np.repeat([10, 11], 4).astype(np.int16), np.arange(8.0) + 1000, generator.uniform(1, 2, 8)]
    curves = generator.uniform(1e-18, 1e-17, (3, 8))
    curves[1, 4:] = np.nan
    archive = ResponseArchive(
        *samples, np.arange(8, dtype=np.int32), curves, 0.1 * curves, np.array([61000.25, 61001.5, 61010.0]),
        ("LTT 3218", "", "Feige 110"),
    )  # fmt: skip
    median = Response(samples[0], samples[1], curves[0], curves[2], curves[0], archive.quality)
    path = write_product(tmp_path / "a.fits", fits_files.response_archive_hdus(archive, median))
    assert_same(archive, fits_files.read_response_archive(path))
    assert_same(median, fits_files.read_response(path))
    # A response alone is an archive of one.
    header = fits.Header({"MJD-OBS": 61005.5})
    path = write_product(tmp_path / "r.fits", fits_files.response_hdus(median), header)
    single = fits_files.read_response_archive(path)
    assert (single.count, single.mjd[0]) == (1, 61005.5)
    assert np.array_equal(single.curves[0], median.response)


@quick
@given(seed=seeds)
def test_table(tmp_path, seed):
    generator = np.random.default_rng(seed)
    columns = {
        "A": generator.normal(size=4),
        "B": generator.normal(size=(4, 3)).astype(np.float32),
        "C": generator.integers(-9, 9, 4),
        "D": generator.random(4) < 0.5,
        "E": np.array(["x", "long text", "", "y z"]),
        "F": generator.integers(0, 9, 4).astype(np.int16),
    }
    hdu = fits_files.table_hdu("T", columns, {"A": "nm"}, {"A": "what it is"})
    assert hdu.header.comments["TTYPE1"] == "what it is"
    assert hdu.header["TUNIT1"] == "nm"
    again = fits_files.read_table(write_product(tmp_path / "t.fits", [hdu]), "T")
    assert list(again) == list(columns)
    for key, values in columns.items():
        np.testing.assert_array_equal(again[key], values)
        if key != "E":
            assert again[key].dtype == values.dtype


def test_table_refuses_units_of_columns_it_lacks():
    with pytest.raises(ValueError, match="no columns"):
        fits_files.table_hdu("T", {"A": np.arange(3)}, {"B": "nm"})


def test_ascii_spectrum_is_readable_and_skips_blanks(tmp_path):
    fields = spectrum_fields(np.random.default_rng(1), 40)
    spectrum = MergedSpectrum(order=np.ones(40, np.int16), **fields)
    text = fits_files.ascii_spectrum(spectrum, ["object\nevil"])
    (tmp_path / "s.txt").write_text(text)
    wave, flux, error = np.loadtxt(tmp_path / "s.txt", unpack=True)
    known = np.isfinite(spectrum.variance)
    assert 0 < known.sum() < 40
    np.testing.assert_allclose(wave, spectrum.wavelength[known] * 10, atol=1e-4)
    np.testing.assert_allclose(flux, spectrum.flux[known], rtol=1e-6)
    np.testing.assert_allclose(error, np.sqrt(spectrum.variance[known]), rtol=1e-6)
    air = np.loadtxt(fits_files.ascii_spectrum(spectrum, air=True).splitlines())
    assert np.all(air[:, 0] < wave)


def test_importing_the_package_loads_no_astropy():
    code = "import sys, soxs_recipes.fits_files as f; dir(f); assert 'astropy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_exists():
    assert len(fits_files.__all__) > 20
    for name in fits_files.__all__:
        assert getattr(fits_files, name) is not None
    with pytest.raises(AttributeError):
        _ = fits_files.nothing


def test_what_columns_mean_is_told_in_the_file(tmp_path):
    meanings = {"A": "short", "B": "a sentence of many words that is longer than a card of a table can ever hold"}
    hdu = fits_files.table_hdu("T", {"A": np.arange(3), "B": np.arange(3.0)}, {}, meanings)
    path = write_product(tmp_path / "t.fits", [hdu])
    with fits_files.open_product(path) as hdus:
        comments = hdus["T"].header.comments
        assert comments["TTYPE1"] == "short"
        assert meanings["B"].startswith(comments["TTYPE2"])
        assert len(comments["TTYPE2"]) > 30

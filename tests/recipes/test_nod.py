"""soxs_nod and soxs_offset from raw frames: without calibrations, with bad frames, with roles exchanged."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time, TimeDelta
from scipy.ndimage import binary_dilation

from soxs_recipes.errors import UnprocessableData
from soxs_recipes.fits_files import read_order_spectra, read_table
from soxs_recipes.recipes.extract import Extract
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.nod import Nod
from soxs_recipes.recipes.offset import Offset, _sky_exposures
from soxs_recipes.recipes.steps import differences
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.frames import supernova
from soxs_recipes.simulator.truth import TableTruth

START = Time("2026-03-02T01:00:00.000", format="isot", scale="utc", precision=3)


def expose(folder, number, position, technique, *, cards=(), **changes):
    """A binned raw exposure and its truth; without a position it shows sky alone."""
    start = START + TimeDelta(630.0 * number, format="sec")
    source = {"sources": ()} if position is None else {"source": supernova(17.0, position)}
    data, header, truth = simulate_frame(
        "science",
        "VIS",
        seed=3,
        exposure_time=600.0,
        effects=Effects(cosmic_rays=0),
        binning=(2, 2),
        start=start,
        index=number,
        **source,
        **changes,
    )
    header["ESO DPR TECH"] = f"ECHELLE,SLIT,{technique}"
    for key, value in cards:
        header[f"HIERARCH {key}"] = value
    path = folder / f"SOXS.{start.isot}.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    return path, truth


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """A, B and A again, with an airglow that fades; offsets run against the slit."""
    folder = tmp_path_factory.mktemp("raw")
    return [
        expose(folder, i, 0.4 - y, "NODDING", cards=(("ESO SEQ CUMOFF Y", y),), airglow=(1.0 - 0.05 * i,) * 10)
        for i, y in enumerate((2.5, -2.5, 2.3))
    ]


@pytest.fixture(scope="module")
def spoilt(sequence, tmp_path_factory):
    """A frame without content between the others."""
    path = tmp_path_factory.mktemp("spoilt") / "SOXS.2026-03-02T01:05:00.000.fits"
    with fits.open(sequence[0][0]) as hdus:
        header = hdus[0].header.copy()
        header["MJD-OBS"] += 0.003
        header["ESO SEQ CUMOFF Y"] = -2.5
        fits.PrimaryHDU(np.zeros_like(hdus[0].data), header).writeto(path)
    return path


@pytest.fixture(scope="module")
def nodded(sequence, spoilt, tmp_path_factory):
    paths = [str(path) for path, _ in sequence]
    return run_recipe(
        Nod, [paths[2], str(spoilt), *paths[:2]], {"save-single-extractions": True}, tmp_path_factory.mktemp("out")
    )


def copy_of(path, folder, *, saturated=None, **cards):
    """An exposure with other header cards; `__` stands for a blank, None removes. `saturated`: pixels (ny, nx)."""
    with fits.open(path) as hdus:
        if saturated is not None:
            hdus[0].data[saturated] = 65535
        header = hdus[0].header.copy()
        for key, value in cards.items():
            name = key.replace("__", " ")
            if value is None:
                header.remove(name)
            else:
                header[name] = value
        fits.PrimaryHDU(hdus[0].data, header).writeto(folder / path.name)
    return folder / path.name


def product(run, tag):
    (path,) = [item.path for item in run.products if item.tag == f"{tag}_VIS"]
    return path


def ratios_to_truth(path, truths):
    tables = [TableTruth(truth.tables) for truth in truths]
    ratios = []
    for spectrum in read_order_spectra(path):
        edges = np.append(spectrum.wavelength - 0.5 * spectrum.bin_width, spectrum.wavelength[-1])
        light = sum(np.nan_to_num(table.truth_counts(spectrum.order, edges, which="object")) for table in tables)
        kept = np.isfinite(spectrum.variance) & (light > 0.3 * light.max())
        ratios.append(np.median((spectrum.flux / np.maximum(light, 1e-9))[kept]))
    return np.array(ratios)


def test_a_bad_frame_is_named_and_the_sequence_goes_on(nodded, spoilt):
    assert nodded.status == "PARTIAL"
    assert any("left out" in reason and spoilt.stem in reason for reason in nodded.reasons)
    assert nodded.qc["ESO QC N PAIRS"] == 2
    assert nodded.qc["ESO QC N EXPOSURES"] == 3
    notes = " | ".join(nodded.notes)
    assert "has no partner" in notes
    assert "against the slit" in notes
    assert nodded.qc["ESO QC BEAM SIGN"] == -1
    assert nodded.qc["ESO QC BEAM THROW"] == pytest.approx(5.0, abs=0.15)
    # Without master bias nothing is lost in a difference.
    assert "MASTER_BIAS" not in " | ".join(nodded.reasons)


def test_all_light_of_all_beams_is_there(nodded, sequence):
    ratios = ratios_to_truth(product(nodded, "SCI_SLIT_ORDER1D"), [truth for _, truth in sequence])
    assert ratios.size == 4
    # No flat and a shifted format: a few per cent.
    assert ratios == pytest.approx(np.ones(4), abs=0.05)


def test_a_beam_is_extracted_again_from_its_difference(nodded, sequence, tmp_path):
    """By the shifts of the header: a difference has no sky lines, and the other beam no part in its background."""
    pair = [item.path for item in nodded.products if "SKYSUB" in item.tag or "SKYMODEL" in item.tag]
    pair = [str(path) for path in pair if fits.getheader(path)["DATE-OBS"] == START.isot]
    assert len(pair) == 2
    for parameters in ({"target-position": -2.1}, {"aperture": "-3.9,-0.3"}):
        run = run_recipe(Extract, pair, parameters, tmp_path)
        assert not any("no source" in reason for reason in run.reasons)
        assert not any("no sky line" in note for note in run.notes)
        ratios = ratios_to_truth(product(run, "SCI_SLIT_ORDER1D"), [sequence[0][1]])
        assert ratios == pytest.approx(np.ones(4), abs=0.04)


@pytest.fixture(scope="module")
def burnt(sequence, tmp_path_factory):
    """Three exposures, the last without order 4, and a fourth all of whose orders are saturated."""
    flat, _, _ = simulate_frame("slit_flat", "VIS", seed=3, exposure_time=30.0, binning=(2, 2))
    flat = flat - np.median(flat[:, :20])
    blocks = [np.median(flat[row : row + 64].astype(np.float64), axis=0) for row in range(0, len(flat), 64)]
    lit = np.repeat([binary_dilation(b > 0.02 * np.percentile(b, 98), iterations=4) for b in blocks], 64, axis=0)
    lit = lit[: len(flat)]
    red = np.zeros(flat.shape, bool)
    red[:, int(0.62 * flat.shape[1]) : int(0.95 * flat.shape[1])] = True
    late = {"MJD-OBS": fits.getheader(sequence[2][0])["MJD-OBS"] + 0.01}
    paths = [
        *(path for path, _ in sequence[:2]),
        copy_of(sequence[2][0], tmp_path_factory.mktemp("red"), saturated=red),
        copy_of(sequence[1][0], tmp_path_factory.mktemp("all"), saturated=lit, **late),
    ]
    return paths, run_recipe(Nod, [str(path) for path in paths], {}, tmp_path_factory.mktemp("out"))


def test_an_exposure_without_usable_orders_is_left_out(burnt):
    paths, run = burnt
    assert run.status == "PARTIAL", run.message
    (left,) = [reason for reason in run.reasons if "left out" in reason]
    assert paths[3].name in left
    assert run.qc["ESO QC N EXPOSURES"] == 3


def test_an_order_that_one_exposure_has_lost_comes_from_the_others(burnt, sequence):
    _, run = burnt
    assert any("not all exposures show: 4" in reason for reason in run.reasons)
    ratios = ratios_to_truth(product(run, "SCI_SLIT_ORDER1D"), [truth for _, truth in sequence])
    assert ratios == pytest.approx(np.ones(4), abs=0.05)
    trace = read_table(product(run, "SCI_SLIT_TRACE"), "TRACE")
    assert [set(trace["ORDER"][trace["EXPOSURE"] == k]) for k in (1, 2, 3)] == [
        {1, 2, 3, 4},
        {1, 2, 3, 4},
        {1, 2, 3},
    ]


@pytest.fixture(scope="module")
def untold(sequence, tmp_path_factory):
    """Two exposures whose headers tell no offsets and name two targets, two more that cannot be used."""
    first, second, late, later = (tmp_path_factory.mktemp(f"untold{k}") for k in range(4))
    start = fits.getheader(sequence[2][0])["MJD-OBS"]
    paths = [
        copy_of(sequence[0][0], first, ESO__SEQ__CUMOFF__Y=None),
        copy_of(sequence[1][0], second, ESO__SEQ__CUMOFF__Y=None, ESO__OBS__TARG__NAME="SN2026xyz"),
        copy_of(sequence[2][0], late, EXPTIME=0.0),
        copy_of(sequence[2][0], later, EXPTIME=-600.0, **{"MJD-OBS": start + 0.01}),
    ]
    frames = [(str(path), "OBJECT_NOD_VIS") for path in paths]
    return run_recipe(Nod, frames, {}, tmp_path_factory.mktemp("out"))


def test_beams_are_found_where_headers_tell_no_offsets(untold, sequence):
    reasons = " | ".join(untold.reasons)
    assert "no ESO SEQ CUMOFF Y" in reasons
    assert "no source" not in reasons
    assert untold.qc["ESO QC N PAIRS"] == 1
    assert untold.qc["ESO QC N EXPOSURES"] == 2
    assert untold.qc["ESO QC BEAM THROW"] == pytest.approx(5.0, abs=0.15)
    ratios = ratios_to_truth(product(untold, "SCI_SLIT_ORDER1D"), [truth for _, truth in sequence[:2]])
    assert ratios == pytest.approx(np.ones(4), abs=0.05)


def test_exposures_without_time_are_named_and_so_are_two_targets(untold):
    left = [reason for reason in untold.reasons if "left out" in reason]
    assert any("EXPTIME is 0 s" in reason for reason in left)
    assert any("EXPTIME = -600" in reason for reason in left)
    assert any("different targets" in reason and "SN2026xyz" in reason for reason in untold.reasons)


def test_products_of_a_nod_are_whole(nodded, sequence):
    tags = [item.tag for item in nodded.products]
    names = ("ORDER1D", "MERGE1D", "SKY1D", "TRACE", "SKYSUB", "SKYMODEL")
    assert sorted(set(tags)) == sorted(f"SCI_SLIT_{name}_VIS" for name in names)
    assert tags.count("SCI_SLIT_SKYSUB_VIS") == 2
    trace = read_table(product(nodded, "SCI_SLIT_TRACE"), "TRACE")
    means = [np.mean(trace["SLIT_POSITION"][trace["EXPOSURE"] == number]) for number in (1, 2, 3)]
    assert means == pytest.approx([-2.1, 2.9, -1.9], abs=0.15)
    single = read_table(product(nodded, "SCI_SLIT_TRACE"), "EXTRACTIONS")
    assert set(single["EXPOSURE"]) == {1, 2, 3}
    header = fits.getheader(product(nodded, "SCI_SLIT_MERGE1D"))
    assert header["TEXPTIME"] == pytest.approx(1800.0)
    assert 0.9 < header["ESO QC SKY RATIO"] < 1.1
    sky = read_table(product(nodded, "SCI_SLIT_SKY1D"), "SKY")
    assert np.median(sky["SKY"]) > 10.0


@pytest.fixture(scope="module")
def offsets(tmp_path_factory):
    """Object and sky, with signs of the fixed offset that tell the wrong way round."""
    folder = tmp_path_factory.mktemp("offset")
    return [
        expose(folder, 0, 0.3, "OFFSET", cards=(("ESO SEQ FIXOFF RA", 20.0),)),
        expose(folder, 1, None, "OFFSET", cards=(("ESO SEQ FIXOFF RA", -20.0),), target="SN2026abc"),
    ]


def test_the_object_is_where_it_is_seen(offsets, tmp_path):
    run = run_recipe(Offset, [str(path) for path, _ in offsets], {}, tmp_path)
    assert any("taken for those of the object" in note for note in run.notes)
    assert run.qc["ESO QC N EXPOSURES"] == 1
    ratios = ratios_to_truth(product(run, "SCI_SLIT_ORDER1D"), [offsets[0][1]])
    assert ratios == pytest.approx(np.ones(4), abs=0.05)
    header = fits.getheader(product(run, "SCI_SLIT_ORDER1D"))
    assert header["TEXPTIME"] == pytest.approx(600.0)
    used = {str(value) for key, value in header.items() if "RAW" in key and key.endswith("NAME")}
    assert used == {path.name for path, _ in offsets}


def test_without_sky_the_own_sky_is_fitted_and_that_is_said(offsets, tmp_path):
    run = run_recipe(Offset, [str(offsets[0][0])], {}, tmp_path)
    assert run.status == "PARTIAL"
    assert any("as in stare mode" in reason for reason in run.reasons)
    ratios = ratios_to_truth(product(run, "SCI_SLIT_ORDER1D"), [offsets[0][1]])
    assert ratios == pytest.approx(np.ones(4), abs=0.05)


@pytest.mark.parametrize("recipe", [Nod, Offset])
def test_nothing_is_extracted_without_a_flat_that_is_damaged(recipe, sequence, offsets, tmp_path, monkeypatch):
    """Neither the exposure that asked for the flat first nor those after it."""

    def damaged(inputs, shape):
        raise UnprocessableData("MASTER_FLAT.fits: the data are damaged")

    monkeypatch.setattr(differences, "master_flat", damaged)
    paths = [str(path) for path, _ in (sequence if recipe is Nod else offsets)]
    run = run_recipe(recipe, paths, {}, tmp_path)
    assert run.status == "FAILED"
    assert "MASTER_FLAT.fits" in run.message
    assert not run.products


@pytest.mark.parametrize(
    ("asked", "words"), [("3", "no exposure is '3'"), ("1,2", "no exposure of the object is left")]
)
def test_sky_frames_that_make_no_sense_are_refused(offsets, tmp_path, asked, words):
    run = run_recipe(Offset, [str(path) for path, _ in offsets], {"sky-frames": asked}, tmp_path)
    assert run.status == "FAILED"
    assert words in run.message


class Headers:
    """What `_sky_exposures` asks of the inputs."""

    def __init__(self, rows, tagged=()):
        self.rows, self.tagged, self.notes = rows, tagged, []
        self.declaration = Offset.declaration
        self.paths = [Path(f"exposure{number}.fits") for number in range(1, len(rows) + 1)]

    def raw(self, tag):
        return [path for path in self.paths if path.stem in self.tagged]

    def keyword(self, name, path, default=None):
        return self.rows[self.paths.index(path)].get(name, default)

    def note(self, sentence):
        self.notes.append(sentence)


FAR, NEAR = {"CUMULATIVE_OFFSET_X": 20.0, "CUMULATIVE_OFFSET_Y": -12.0}, {"CUMULATIVE_OFFSET_Y": 0.8}
THERE, BACK = ({"OFFSET_RA": sign * 25.0, "OFFSET_DEC": sign * 15.0} for sign in (1.0, -1.0))


@pytest.mark.parametrize(
    ("rows", "tagged", "asked", "sky", "certain"),
    [
        ([{}, {}, {}], ("exposure2",), "", [1], True),
        ([NEAR, FAR, FAR, NEAR], (), "", [1, 2], True),
        ([BACK, THERE], (), "", [1], False),
        ([{}, {}], (), "", [], True),
        ([NEAR, NEAR], (), "", [], True),
        ([NEAR, FAR, NEAR], (), "3, exposure1", [0, 2], True),
    ],
)
def test_headers_or_a_person_tell_sky_from_object(rows, tagged, asked, sky, certain):
    headers = Headers(rows, tagged)
    assert _sky_exposures(headers, headers.paths, asked) == (sky, certain)

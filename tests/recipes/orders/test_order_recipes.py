"""soxs_order_centres and soxs_mflat on simulated raw frames: from files to products, against the truth."""

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.fits_files import read_frame, read_header, read_order_table, read_table
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.mflat import MasterFlat
from soxs_recipes.recipes.order_centres import OrderCentres
from soxs_recipes.simulator import simulate_frame

SEED = 11


def write(folder, name, made):
    data, header, truth = made
    path = folder / f"{name}.fits"
    fits.PrimaryHDU(data, header).writeto(path, checksum=True)
    return path, truth


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """{arm: (centres result, flat result, truth of the pinhole flat, truth of a slit flat)}."""
    results = {}
    for arm in ("VIS", "NIR"):
        folder = tmp_path_factory.mktemp(arm)
        pinhole, pinhole_truth = write(folder, "pinhole", simulate_frame("pinhole_flat", arm, seed=SEED))
        flats = [
            write(folder, f"flat{k}", simulate_frame("slit_flat", arm, seed=SEED, slit="SLIT1.0", index=k))
            for k in range(2)
        ]
        paths = [path for path, _ in flats]
        off = []
        if arm == "NIR":
            off = [
                write(
                    folder, f"off_{kind}", simulate_frame(kind, arm, seed=SEED, slit=slit, lamps_off=True, index=9)
                )[0]
                for kind, slit in (("pinhole_flat", None), ("slit_flat", "SLIT1.0"))
            ]
        centres = run_recipe(OrderCentres, [pinhole, *off[:1]], {}, folder / "out")
        assert centres.error is None, centres.message
        flat = run_recipe(MasterFlat, [*paths, *off[1:], centres.paths[0]], {}, folder / "out")
        assert flat.error is None, flat.message
        results[arm] = (centres, flat, pinhole_truth, flats[0][1])
    return results


def product(result, tag):
    return next(entry.path for entry in result.products if entry.tag.startswith(tag))


def courses(arm_name, truth, order, slit):
    """True (along, across) [px] of a slit position inside the useful range."""
    arm = load_instrument("SOXS").arm(arm_name)
    limits = arm.order(order)
    wavelength = np.linspace(limits.wavelength_min, limits.wavelength_max, 400)
    x, y = truth.model.evaluate(order, wavelength, np.full(wavelength.size, slit))
    along, across = (y, x) if arm.dispersion_axis == 0 else (x, y)
    length = arm.detector.science_shape()[arm.dispersion_axis]
    inside = (along > 0) & (along < length - 1)
    return along[inside], across[inside]


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_centres_and_edges_against_the_truth(run, arm):
    centres, flat, pinhole_truth, flat_truth = run[arm]
    table = read_order_table(product(centres, "ORDER_TAB_CENTR"))
    assert table.orders == tuple(order.number for order in load_instrument("SOXS").arm(arm).orders)
    for order in table.orders:
        along, across = courses(arm, pinhole_truth, order, 0.0)
        assert np.abs(table[order].centre_at(along) - across).max() < 0.05
    edges = read_order_table(product(flat, "ORDER_TAB_EDGES"))
    for order in edges.orders:
        for slit in (-6.0, 6.0):
            along, across = courses(arm, flat_truth, order, slit)
            nearest = np.min([np.abs(edge - across) for edge in edges[order].edges_at(along)], axis=0)
            assert nearest.size > 100
            assert nearest.max() < 0.1


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_products_are_whole(run, arm):
    centres, flat, _, _ = run[arm]
    # No bias is given to the CCD, and two exposures are few: nothing else may be amiss.
    assert set(centres.reasons) == (
        {"no MASTER_BIAS: only the overscan level is subtracted"} if arm == "VIS" else set()
    )
    assert all("MASTER_BIAS" in reason or "recommended" in reason for reason in flat.reasons), flat.reasons
    assert {entry.tag for entry in flat.products} == {
        f"{name}_{arm}" for name in ("MASTER_FLAT", "ORDER_TAB_EDGES", "BLAZE", "BKG_FLAT")
    }
    header = read_header(product(flat, "MASTER_FLAT"))
    assert header["ESO PRO CATG"] == f"MASTER_FLAT_{arm}"
    for name in ("FLAT NOISE", "EDGE RES SD", "SLIT LENGTH", "ORDEXP50", "NOISE COST"):
        assert header[f"ESO QC {name}"] > 0
    assert 11.5 < header["ESO QC SLIT LENGTH"] < 12.5
    with fits.open(product(flat, "MASTER_FLAT")) as hdus:
        strips = hdus["RECTIFIED"]
        assert np.nanmedian(strips.data) == pytest.approx(1.0, abs=0.01)
        assert {f"ORD{order.number}" for order in load_instrument("SOXS").arm(arm).orders} <= set(strips.header)
    samples = read_table(product(centres, "ORDER_TAB_CENTR"), "SAMPLES")
    assert samples["USED"].sum() > 1000
    blaze = read_table(product(flat, "BLAZE"), "BLAZE")
    assert np.isfinite(blaze["WAVELENGTH"]).all()
    assert blaze["BLAZE"].max() > 10_000
    assert read_frame(product(flat, "BKG_FLAT")).data.shape == read_frame(product(flat, "MASTER_FLAT")).data.shape


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_flat_is_one_between_orders_and_true_inside(run, arm):
    _, flat, _, truth = run[arm]
    frame = read_frame(product(flat, "MASTER_FLAT"))
    table = read_order_table(product(flat, "ORDER_TAB_EDGES"))
    outside = table.order_image(frame.shape) == 0
    assert (frame.data[outside] == 1.0).all()
    inner = (table.order_image(frame.shape, margin=-3.0) > 0) & frame.usable
    inner &= (frame.quality & QualityFlag.NO_FLAT) == 0
    assert inner.sum() > 400_000
    # Illumination and fringes are in the flat and not in the response, so the width lies above 1.
    response = truth.detector.response
    pull = (frame.data - response)[inner] / np.sqrt(frame.variance[inner])
    between = response[inner] - 1.0
    slope = np.polyfit(between, frame.data[inner] - 1.0, 1)[0]
    assert 0.6 < slope < 1.02
    assert 0.8 < 1.4826 * np.median(np.abs(pull - np.median(pull))) < 3.0
    false = inner & ((frame.quality & QualityFlag.LOW_SENSITIVITY) != 0) & ~truth.detector.dead
    assert false.sum() == 0


def test_flats_without_centres_find_their_orders(tmp_path):
    path, truth = write(tmp_path, "flat", simulate_frame("slit_flat", "VIS", seed=1, slit="SLIT1.0"))
    result = run_recipe(MasterFlat, [path], {}, tmp_path / "out")
    assert result.status == "PARTIAL", result.message
    assert any("ORDER_TAB_CENTR" in reason for reason in result.reasons)
    table = read_order_table(product(result, "ORDER_TAB_EDGES"))
    for order in table.orders:
        along, across = courses("VIS", truth, order, 0.0)
        assert np.abs(table[order].centre_at(along) - across).max() < 0.5


def test_a_frame_without_content_is_named_and_left_out(tmp_path):
    path, _ = write(tmp_path, "flat", simulate_frame("pinhole_flat", "VIS", seed=1))
    data, header, _ = simulate_frame("pinhole_flat", "VIS", seed=1, index=1)
    empty, _ = write(tmp_path, "empty", (np.zeros_like(data), header, None))
    result = run_recipe(OrderCentres, [path, empty], {}, tmp_path / "out")
    assert result.status == "PARTIAL", result.message
    assert any("empty" in reason for reason in result.reasons)
    alone = run_recipe(OrderCentres, [empty], {}, tmp_path / "alone")
    assert alone.status == "FAILED"
    assert "empty" in alone.message

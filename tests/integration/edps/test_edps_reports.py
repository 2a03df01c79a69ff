"""The reports that the tasks name are there, and show frames, curves and quality control parameters."""

import numpy as np
import pytest
from adari_standin import ImagePlot, LinePlot, load_report
from astropy.io import fits
from edps_standin import DataSource, ReportInput

from soxs_recipes.instrument import edps_workflow_folder

REPORTS = edps_workflow_folder() / "reports"


@pytest.fixture
def written(tmp_path):
    """Writes a product: an image, or tables with columns; returns its path."""

    def write(name, *, image=None, tables=(), **keywords):
        header = fits.Header()
        for key, value in keywords.items():
            header[f"HIERARCH ESO {key.replace('_', ' ')}" if "_" in key else key] = value
        hdus = [fits.PrimaryHDU(image, header)]
        for title, columns in tables:
            data = [
                fits.Column(key, "J" if key == "ORDER" else "D", array=values) for key, values in columns.items()
            ]
            hdus.append(fits.BinTableHDU.from_columns(data, name=title))
        path = str(tmp_path / name)
        fits.HDUList(hdus).writeto(path)
        return path

    return write


def test_each_task_shows_its_raw_frames_and_its_products(workflow):
    named = set()
    for task in workflow.tasks.values():
        expected = [("soxs_products", ReportInput.RECIPE_OUTPUTS)]
        if isinstance(task.main_input, DataSource):
            expected.insert(0, ("soxs_rawdisp", ReportInput.RECIPE_INPUTS))
        assert list(task.reports) == expected
        named |= {name for name, _ in task.reports}
    assert named == {path.stem for path in REPORTS.glob("*.py")}


def test_raw_frames_by_kind_and_no_more_than_four(written):
    rep = load_report(REPORTS / "soxs_rawdisp.py")
    flats = [
        (written(f"flat{n}.fits", image=np.ones((4, 6)), EXPTIME=8.0, DPR_TYPE="LAMP,FLAT"), "FLAT_SLIT_NIR_ON")
        for n in range(6)
    ]
    off = (written("off.fits", image=np.ones((4, 6)), DPR_TYPE="LAMP,FLAT"), "FLAT_SLIT_NIR_OFF")
    master = (written("dark.fits", image=np.ones((4, 6))), "MASTER_DARK_NIR")
    (on_panel, on), (off_panel, _) = rep.run([*flats, off, master])
    assert (on_panel.columns, off_panel.columns) == (4, 1)
    assert on["input_files"] == [path for path, _ in flats[:4]]
    assert on["report_name"] == "soxs_rawdisp_flat_slit_nir_on"
    assert on_panel.plots[2, 0].lines == ("flat2.fits", "DPR TYPE: LAMP,FLAT", "EXPTIME: 8.0")
    assert on_panel.plots[2, 1].title == "FLAT_SLIT_NIR_ON 3"


def test_products_have_picture_and_values(written):
    rep = load_report(REPORTS / "soxs_products.py")
    wave = np.linspace(350.0, 850.0, 5)
    spectrum = {"WAVE": wave, "FLUX": 2.0 * wave, "SKY": wave}
    response = {"WAVE": np.tile(wave, 2), "RESPONSE": np.repeat([1.0, 2.0], 5), "ORDER": np.repeat([1, 2], 5)}
    values = {"QC_RON": 3.5, "QC_ORD1_SNR": 9.0, "QC_STATUS": "COMPLETE"}
    outputs = [
        (written("a.fits", image=np.ones((4, 6)), **values), "MASTER_BIAS_VIS"),
        (written("b.fits", tables=[("ORDER_1", spectrum), ("ORDER_2", spectrum)]), "SCI_SLIT_ORDER1D_VIS"),
        (written("c.fits", tables=[("RESPONSE", response)]), "RESP_TAB_VIS"),
        (written("d.fits", tables=[("LINES", {"X": wave})], QC_N=7), "DISP_TAB_VIS"),
    ]
    panels = rep.run(outputs)
    assert [described["input_files"] for _, described in panels] == [[path] for path, _ in outputs]
    image, orders, response_panel, table = (panel for panel, _ in panels)
    assert image.plots[1, 0].lines == ("QC RON: 3.5", "QC STATUS: COMPLETE")
    assert isinstance(image.plots[0, 1], ImagePlot)
    assert isinstance(orders.plots[0, 1], LinePlot)
    assert list(orders.plots[0, 1].curves) == ["ORDER_1", "ORDER_2"]
    assert orders.plots[0, 1].y_label == "FLUX"
    assert orders.plots[0, 1].curves["ORDER_2"][1] == list(2.0 * wave)
    curves = response_panel.plots[0, 1].curves
    assert {label: set(values) for label, (_, values) in curves.items()} == {"order 1": {1.0}, "order 2": {2.0}}
    assert set(table.plots) == {(0, 0), (1, 0)}
    assert table.plots[1, 0].lines == ("QC N: 7",)

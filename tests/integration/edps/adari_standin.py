"""What of ADARI the public reports of ESO's pipelines use, recording what a report asks of it."""

from __future__ import annotations

import importlib.util
import sys
import types
from contextlib import ExitStack, contextmanager

from astropy.io import fits


class AdariReportBase:
    """`inputs` are (file, category); `hdus` the files that `parse_sof` names, opened."""

    def __init__(self, name):
        self.name, self.inputs, self.hdus = name, [], []

    def run(self, inputs):
        """(panel, its description) of a job."""
        self.inputs = inputs
        with ExitStack() as opened:
            self.hdus = [
                {name: opened.enter_context(fits.open(path)) for name, path in files.items()}
                for files in self.parse_sof()
            ]
            panels = list(self.generate_panels().items())
        for _, described in panels:
            assert set(described) == {"report_name", "report_description", "report_tags", "input_files"}
        return panels


class Panel:
    def __init__(self, columns, rows, height_ratios):
        assert len(height_ratios) == rows
        self.columns, self.rows, self.plots = columns, rows, {}

    def assign_plot(self, plot, column, row, xext=1):
        assert column >= 0
        assert column + xext <= self.columns
        assert 0 <= row < self.rows
        assert (column, row) not in self.plots
        self.plots[column, row] = plot


class TextPlot:
    def __init__(self, columns, v_space):
        self.lines = ()

    def add_data(self, lines):
        assert isinstance(lines, tuple)
        assert all(isinstance(line, str) for line in lines)
        self.lines += lines


class ImagePlot:
    def __init__(self, data, title, v_clip, v_clip_kwargs):
        assert data.ndim == 2
        self.shape, self.title = data.shape, title


class LinePlot:
    def __init__(self, legend, title, x_label, y_label):
        self.title, self.x_label, self.y_label, self.curves = title, x_label, y_label, {}

    def add_data(self, d, label, color):
        across, upwards = d
        assert len(across) == len(upwards) > 0
        self.curves[label] = (across, upwards)


MODULES = {
    "adari_core.report": {"AdariReportBase": AdariReportBase},
    "adari_core.plots.panel": {"Panel": Panel},
    "adari_core.plots.text": {"TextPlot": TextPlot},
    "adari_core.plots.images": {"ImagePlot": ImagePlot},
    "adari_core.plots.points": {"LinePlot": LinePlot},
}


@contextmanager
def _adari_modules():
    names = ["adari_core", "adari_core.plots", *MODULES]
    for name in names:
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(MODULES.get(name, {}))
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def load_report(path):
    """The report `rep` of a file, as ADARI finds it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    with _adari_modules():
        spec.loader.exec_module(module)
    assert module.rep.name == path.stem
    return module.rep

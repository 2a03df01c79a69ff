"""ADARI report: the raw frames of a job, and what their headers say."""

import os

from adari_core.plots.images import ImagePlot
from adari_core.plots.panel import Panel
from adari_core.plots.text import TextPlot
from adari_core.report import AdariReportBase

RAW_STEMS = ("BIAS_", "DARK_", "DETLIN_", "WAVE_", "ORDERDEF_", "FLAT_SLIT_", "STD_", "OBJECT_", "SKY_")
FRAMES_SHOWN = 4
HEADER_LINES = (
    ("DPR TYPE", "ESO DPR TYPE"),
    ("DPR TECH", "ESO DPR TECH"),
    ("OBJECT", "OBJECT"),
    ("EXPTIME", "EXPTIME"),
    ("TPL START", "ESO TPL START"),
    ("READ MODE", "ESO DET READ CURNAME"),
    ("SLIT VIS", "ESO INS VISE NAME"),
    ("SLIT NIR", "ESO INS NISE NAME"),
)


class SoxsRawDisplay(AdariReportBase):
    """The first frames of each kind, side by side."""

    def __init__(self):
        super().__init__("soxs_rawdisp")

    def parse_sof(self):
        """One list of files a raw category."""
        kinds = {}
        for filename, category in self.inputs:
            if category.startswith(RAW_STEMS):
                frames = kinds.setdefault(category, {})
                if len(frames) < FRAMES_SHOWN:
                    frames[f"{category} {len(frames) + 1}"] = filename
        return list(kinds.values())

    def generate_panels(self, **kwargs):
        """A panel for each list of files."""
        panels = {}
        for frames in self.hdus:
            panel = Panel(len(frames), 2, height_ratios=[1, 4])
            for column, (name, hdus) in enumerate(frames.items()):
                text = TextPlot(columns=1, v_space=0.2)
                text.add_data(header_lines(hdus[0].header, hdus.filename()))
                panel.assign_plot(text, column, 0)
                picture = ImagePlot(
                    hdus[0].data, title=name, v_clip="percentile", v_clip_kwargs={"percentile": 95.0}
                )
                panel.assign_plot(picture, column, 1)
            category = next(iter(frames)).rpartition(" ")[0]
            panels[panel] = {
                "report_name": f"soxs_rawdisp_{category.lower()}",
                "report_description": f"SOXS raw frames {category}",
                "report_tags": [],
                "input_files": [hdus.filename() for hdus in frames.values()],
            }
        return panels


def header_lines(header, filename):
    """File name, and those of the usual keywords that the header has."""
    stated = [(label, header.get(keyword)) for label, keyword in HEADER_LINES]
    return (
        os.path.basename(filename),  # noqa: PTH119 - as the other reports of ADARI do
        *(f"{label}: {value}" for label, value in stated if value is not None),
    )


rep = SoxsRawDisplay()

"""A strict stand-in of Reflex's `PipelineInteractiveApp`: it opens no window but does all that one would do."""

import json
import os
import sys

import reflex


class PipelineInteractiveApp:
    def __init__(self, enable_init_sop=False):
        assert enable_init_sop is True
        self._ports = json.loads(os.environ["FAKE_REFLEX"])
        self._mode = None
        self._manager = None

    def isGUIEnabled(self):
        return self._ports["enable"] == "true"

    def setPlotManager(self, manager):
        self._manager = manager

    def showGUI(self):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        manager, figure = self._manager, Figure()
        FigureCanvasAgg(figure)
        files = [reflex.FitsFile(*pair) for pair in self._ports["files"]]
        asked = manager.setInteractiveParameters()
        assert asked
        assert all(isinstance(parameter, reflex.RecipeParameter) for parameter in asked)
        manager.readFitsData(files)
        manager.addSubplots(figure)
        manager.plotProductsGraphics()
        figure.subplots_adjust(wspace=0.40, hspace=0.40, top=0.93, bottom=0.07, left=0.1, right=0.95)
        assert isinstance(manager.setWindowTitle(), str)
        assert isinstance(manager.setWindowHelp(), str)
        figure.canvas.draw()
        self._seen = {
            "groups": sorted({parameter.group for parameter in asked}),
            "names": [parameter.displayName for parameter in asked],
            "tooltips": [axes.tooltip for axes in figure.axes if hasattr(axes, "tooltip")],
            "texts": [text.get_text() for text in figure.texts],
        }
        self._mode = "shown"

    def set_continue_mode(self):
        self._mode = "continue"
        self._seen = {}

    def print_outputs(self):
        assert self._mode is not None
        sys.stdout.write(json.dumps({"mode": self._mode, **self._seen}) + "\n")

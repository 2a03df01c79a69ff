"""The review in Reflex's own window, where its modules are at hand (they come with Reflex only)."""

from __future__ import annotations

from collections.abc import Sequence

from soxs_recipes.plots.style import MUTED, drawn_within
from soxs_recipes.recipes.framework.cpl_terms import help_text
from soxs_recipes.recipes.framework.declarations import Declaration
from soxs_recipes.recipes.framework.product_plots import Drawing, drawings
from soxs_recipes.review.actor import product_paths

__all__ = ["PlotManager", "run_in_reflex"]

_MOST_FIGURES = 2  # that fit side by side into the window


class PlotManager:
    """What Reflex's window asks of a step: its parameters, its figures, its words.

    The names of the methods are Reflex's.

    Parameters
    ----------
    declaration : Declaration
    """

    def __init__(self, declaration: Declaration):
        self.declaration = declaration
        self._drawings: list[Drawing] = []
        self._places: list = []

    def setInteractiveParameters(self) -> list:  # noqa: N802
        """All parameters of the recipe; Reflex shows those that stand in its set of parameters."""
        import reflex

        return [
            reflex.RecipeParameter(
                self.declaration.name,
                parameter.name,
                group=(parameter.group or "parameters").capitalize(),
                description=help_text(parameter),
            )
            for parameter in self.declaration.parameters
        ]

    def readFitsData(self, fitsFiles: Sequence) -> None:  # noqa: N802
        """Take the products among the files."""
        self._drawings = drawings(product_paths(self.declaration, fitsFiles))[:_MOST_FIGURES]

    def addSubplots(self, figure) -> None:  # noqa: N802
        """A part of the figure for each drawing."""
        if self._drawings:
            self._places = list(figure.subfigures(1, len(self._drawings), squeeze=False)[0])
        else:
            figure.text(0.5, 0.5, "No product to show.", ha="center", color=MUTED)

    def plotProductsGraphics(self) -> None:  # noqa: N802
        """Draw; each axes tells what it shows."""
        for place, drawing in zip(self._places, self._drawings, strict=True):
            with drawn_within(place):
                drawing.draw()
            for axes in place.axes:
                axes.tooltip = drawing.title

    def setWindowTitle(self) -> str:  # noqa: N802
        """Of the window."""
        return f"{self.declaration.name}: {self.declaration.synopsis}"

    def setWindowHelp(self) -> str:  # noqa: N802
        """Behind the help button."""
        return self.declaration.description


def run_in_reflex(declaration: Declaration) -> int:
    """Act as the step's PythonActor with Reflex's own modules."""
    from reflex_interactive_app import PipelineInteractiveApp

    application = PipelineInteractiveApp(enable_init_sop=True)
    if application.isGUIEnabled():
        application.setPlotManager(PlotManager(declaration))
        application.showGUI()
    else:
        application.set_continue_mode()
    application.print_outputs()
    return 0

"""ADARI report: the products of a job, each with a picture and its quality control parameters."""

import os

from adari_core.plots.images import ImagePlot
from adari_core.plots.panel import Panel
from adari_core.plots.points import LinePlot
from adari_core.plots.text import TextPlot
from adari_core.report import AdariReportBase

# What is drawn over the wavelength, the first that a table has.
DRAWN = ("FLUX", "RESPONSE", "EFFICIENCY", "BLAZE", "SLIT_POSITION", "SKY")
WAVELENGTHS = ("WAVE", "WAVELENGTH")
VALUES_SHOWN = 18
COLOURS = ("blue", "red", "green", "orange")


class SoxsProducts(AdariReportBase):
    """A panel for each product."""

    def __init__(self):
        super().__init__("soxs_products")

    def parse_sof(self):
        """Each product by itself."""
        return [{category: filename} for filename, category in self.inputs]

    def generate_panels(self, **kwargs):
        """Name and values above, the picture below, if the product has one."""
        panels = {}
        for products in self.hdus:
            for category, hdus in products.items():
                panel = Panel(2, 2, height_ratios=[1, 4])
                name, values = TextPlot(columns=1, v_space=0.2), TextPlot(columns=2, v_space=0.2)
                name.add_data((os.path.basename(hdus.filename()), f"PRO CATG: {category}"))  # noqa: PTH119
                values.add_data(quality_lines(hdus[0].header))
                panel.assign_plot(name, 0, 0)
                panel.assign_plot(values, 1, 0)
                picture = picture_of(hdus, category)
                if picture is not None:
                    panel.assign_plot(picture, 0, 1, xext=2)
                panels[panel] = {
                    "report_name": f"soxs_products_{category.lower()}",
                    "report_description": f"SOXS product {category}",
                    "report_tags": [],
                    "input_files": [hdus.filename()],
                }
        return panels


def quality_lines(header):
    """Quality control parameters of the whole product, not those of each order."""
    names = [name for name in header if name.startswith("ESO QC ") and not name.startswith("ESO QC ORD")]
    return tuple(f"{name.removeprefix('ESO ')}: {header[name]}" for name in names[:VALUES_SHOWN])


def picture_of(hdus, category):
    """The image, or all curves over wavelength; None when the product has neither."""
    images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS") == 2]
    if images:
        return ImagePlot(images[0].data, title=category, v_clip="percentile", v_clip_kwargs={"percentile": 95.0})
    curves = [curve for hdu in hdus if hasattr(hdu, "columns") for curve in curves_of(hdu)]
    if not curves:
        return None
    plot = LinePlot(legend=False, title=category, x_label="wavelength [nm]", y_label=curves[0][0])
    for number, (_, label, wavelengths, values) in enumerate(curves):
        plot.add_data(d=[wavelengths, values], label=label, color=COLOURS[number % len(COLOURS)])
    return plot


def curves_of(hdu):
    """(what is drawn, label, wavelengths, values) of each order of a table."""
    names = hdu.columns.names
    across = next((name for name in WAVELENGTHS if name in names), None)
    upwards = next((name for name in DRAWN if name in names), None)
    if across is None or upwards is None:
        return []
    wavelengths, values = hdu.data[across], hdu.data[upwards]
    if "ORDER" not in names:
        return [(upwards, hdu.name, list(wavelengths), list(values))]
    orders = hdu.data["ORDER"]
    return [
        (upwards, f"order {order}", list(wavelengths[orders == order]), list(values[orders == order]))
        for order in sorted(set(orders.tolist()))
    ]


rep = SoxsProducts()

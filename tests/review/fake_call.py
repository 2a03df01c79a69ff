"""What the worker process of a review calls in tests: its behaviour is told by the parameter edge-degree."""

import os
import time
from pathlib import Path

from soxs_recipes.errors import AlgorithmError


def run(request):
    """One product; edge-degree 1 fails, 2 crashes, 3 goes on for a minute, others make better edges the higher."""
    degree = int(request["settings"].get("edge-degree", 5))
    folder, log = Path(request["folder"]), Path(request["log"])
    log.write_text("INFO soxs_recipes: begun\n")
    product = folder / "flat.fits"
    if degree == 3:
        product.write_bytes(b"half")
        log.write_text("INFO soxs_recipes: begun\nINFO soxs_recipes: half done\n")
        time.sleep(60)
    if degree == 1:
        raise AlgorithmError("no edge was found")
    if degree == 2:
        os._exit(7)
    product.write_text(f"degree {degree}")
    (folder / "flat.txt").write_text("text")
    qc = {
        "ESO QC EDGE RES SD": 1.0 / degree,
        "ESO QC EDGE SAMPLES FRAC": 0.5 + 0.01 * degree,
        "ESO QC N ORDERS": 4,
        "ESO QC ORD2 EDGE RES SD": 2.0 / degree,
        "ESO QC BKG MEDIAN": 100.0 + degree,
    }
    products = [{"name": product.name, "tag": "MASTER_FLAT_VIS", "status": "PARTIAL", "qc": qc}]
    return {
        "status": "PARTIAL", "reasons": ["EDGE SAMPLES FRAC = 0.5 is outside 0.6 .. 1"], "notes": ["noted"],
        "products": products, "texts": ["flat.txt"], "seconds": 0.5,
    }  # fmt: skip

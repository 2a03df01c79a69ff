"""What worker processes call in tests: products are one line of text; targets and levels tell how to behave."""

import os
import signal
import time
from pathlib import Path

from fake_recipes import DECLARATIONS

from soxs_recipes.recipes.framework.declarations import resolved_tag

QC = {
    "soxs_stare": {
        "ESO QC SNR MEDIAN": 21.5,
        "ESO QC SEEING": 0.9,
        "ESO QC SLIT POSITION": -0.25,
        "ESO QC ORD4 SNR MEDIAN": 3.0,
    },
    "soxs_mbias": {"ESO QC RAW RON": 3.0},
}


def run(request):
    recipe, folder = request["recipe"], Path(request["folder"])
    tags = [tag for _, tag in request["frames"]]
    arm = next(word for word in ("VIS", "NIR") if any(word in tag.split("_") for tag in tags))
    behave(request, arm)
    for path, _ in request["frames"]:
        with Path(path).open("rb") as stream:
            begin = stream.read(1)
        if begin in (b"", b"\0"):
            raise UnprocessableData(f"{path}: is empty; get the file again")
    kind = "FLUX" if any("STD_FLUX" in tag for tag in tags) else "SCI"
    products = []
    for product in DECLARATIONS[recipe].products:
        tag = resolved_tag(product.tag, arm, kind)
        if f"no {product.short};" in os.environ.get("FAKE", ""):
            continue
        name = f"{tag}.fits"
        (folder / name).write_text(" ".join(sorted(Path(path).name for path, _ in request["frames"])))
        products.append({"name": name, "tag": tag, "status": "COMPLETE", "qc": QC.get(recipe, {})})
    reasons = list(request["partial"])
    rule = os.environ.get("FAKE", "").split()
    if rule[:1] == ["doubtful"] and rule[1] in request["log"]:
        reasons.append("QC LEVEL = 9 is outside 1 .. 2")

    texts = []
    if recipe == "soxs_stare":
        texts = [f"{kind}_SLIT_MERGE1D_{arm}.txt"]
        (folder / texts[0]).write_text("spectrum")
    status = "PARTIAL" if reasons else "COMPLETE"
    return {"status": status, "reasons": reasons, "notes": [], "products": products, "texts": texts}


def behave(request, arm):
    """`FAKE` says which recipes misbehave: `soxs_mflat NIR crash; ...`."""
    for rule in os.environ.get("FAKE", "").split(";"):
        words = rule.split()
        if len(words) == 3 and words[0] == request["recipe"] and words[1] == arm:
            {
                "crash": crash,
                "killed": killed,
                "killed-once": killed_once,
                "hang": hang,
                "fail": fail,
                "raise": stumble,
            }[words[2]](request)
        if len(words) == 2 and words[0] == "bad" and any(words[1] in path for path, _ in request["frames"]):
            path = next(path for path, _ in request["frames"] if words[1] in path)
            raise UnprocessableData(f"{path}: all pixels are NaN")


class UnprocessableData(Exception):
    pass


class AlgorithmError(Exception):
    pass


def crash(request):
    os.kill(os.getpid(), signal.SIGSEGV)


def killed(request):
    os.kill(os.getpid(), signal.SIGKILL)


def killed_once(request):
    mark = Path(request["log"]).parent / "was killed"
    if not mark.exists():
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        killed(request)


def hang(request):
    time.sleep(60)


def fail(request):
    raise AlgorithmError("the fit went nowhere (points = 3)")


def stumble(request):
    raise OSError("something odd")

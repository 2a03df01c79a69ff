"""Recipes run by EsoRex on the night of the test run: the same bytes as by `soxs` and as by PyCPL's own call."""

import hashlib
import json
import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
from astropy.io import fits
from real_programs import ROOT, run

from soxs_recipes.recipes.framework.registry import recipe_class

pytestmark = pytest.mark.night

# What may differ between runners, and why.
OWN_SIGNATURE = {"CHECKSUM", "DATAMD5"}  # checked below; CPL counts DATAMD5 in its own way
OF_THE_CASCADE = re.compile(r"ESO PRO REC\d+ CALL KEY")  # only `soxs` knows what the cascade made the inputs from
_CHUNK = 16 * 2880


@dataclass(frozen=True)
class Case:
    """One recipe on one set of frames, by three runners."""

    recipe: str
    sof: Path
    by_soxs: Path
    by_esorex: Path
    by_call: Path
    done: object

    def frames(self):
        """(path, tag) of the set of frames."""
        return [tuple(line.split()) for line in self.sof.read_text().splitlines() if line.strip()]

    def products(self):
        """(by soxs, by EsoRex, by the recipe's own `run`) of every product."""
        names = sorted(path.name for path in self.by_esorex.glob("*.fits"))
        assert names == sorted(path.name for path in self.by_call.glob("*.fits"))
        assert names == sorted(path.name for path in self.by_soxs.glob("*.fits"))
        assert names
        return [(self.by_soxs / name, self.by_esorex / name, self.by_call / name) for name in names]


CALL = """
import sys
from soxs_recipes.eso import ui
from soxs_recipes.recipes.framework.registry import recipe_class
products = recipe_class(sys.argv[1])().run(ui.FrameSet(sys.argv[2]), {})
assert len(products)
"""


@pytest.fixture(scope="session", params=["mbias bias/VIS", "mflat flat/VIS", "stare science/VIS"])
def case(request, night, esorex, tmp_path_factory):
    word, where = request.param.split()
    task, start = where.split("/")
    sof = sorted((night.workspace / "sof").rglob(f"{task}/{start}*.sof"))[0]
    (by_soxs,) = (night.workspace / "products").rglob(f"{task}/{sof.stem}")
    folder = tmp_path_factory.mktemp(word)
    for name in ("work", "out", "links", "call"):
        (folder / name).mkdir()
    done = esorex(
        f"--output-dir={folder}/out", f"--products-sof={folder}/products.json",
        "--suppress-link=FALSE", f"--link-dir={folder}/links", f"soxs_{word}", sof, cwd=folder / "work",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    called = run([sys.executable, "-c", CALL, f"soxs_{word}", sof], cwd=folder / "call", env=environment)
    assert called.returncode == 0, called.stdout + called.stderr
    return Case(f"soxs_{word}", sof, by_soxs, folder / "out", folder / "call", done)


def test_it_says_what_it_made(case):
    assert case.done.stderr == ""
    made = re.findall(r"Created product (\S+)", case.done.stdout)
    assert sorted(made) == sorted(str(path) for path in case.by_esorex.iterdir())
    listed = json.loads((case.by_esorex.parent / "products.json").read_text())
    assert sorted(entry["name"] for entry in listed) == sorted(made)
    for entry in listed:
        assert entry["category"] == fits.getval(entry["name"], "ESO PRO CATG")
    links = {path.name: path.resolve() for path in (case.by_esorex.parent / "links").iterdir()}
    assert links == {path.name: path for path in case.by_esorex.iterdir()}
    assert {path.name for path in (case.by_esorex.parent / "work").iterdir()} == {"esorex.log"}
    assert f"[ INFO  ] {case.recipe}: to repeat: soxs " in case.done.stdout


def test_data_units_are_the_same_bytes(case):
    for trio in case.products():
        parts = [data_units(path) for path in trio]
        assert len(parts[0]) >= 1
        assert parts[0] == parts[1] == parts[2], trio[0].name


def test_headers_are_the_same_but_for_signatures(case):
    for trio in case.products():
        with fits.open(trio[0]) as ours, fits.open(trio[1]) as esorex, fits.open(trio[2]) as called:
            assert len(ours) == len(esorex) == len(called)
            for hdus in zip(ours, esorex, called, strict=True):
                cards = [shared_cards(hdu.header) for hdu in hdus]
                assert len(cards[0]) >= 5
                assert cards[0] == cards[1] == cards[2], trio[0].name


def shared_cards(header):
    return [
        card.image
        for card in header.cards
        if card.keyword not in OWN_SIGNATURE and not OF_THE_CASCADE.fullmatch(card.keyword)
    ]


def data_units(path):
    """Bytes of every data unit, padding included."""
    with fits.open(path) as hdus:
        places = [hdu.fileinfo() for hdu in hdus]
    content = path.read_bytes()
    return [content[place["datLoc"] : place["datLoc"] + place["datSpan"]] for place in places]


def test_signatures_hold(case):
    for ours, theirs, called in case.products():
        for path in (ours, theirs, called):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with fits.open(path, checksum=True) as hdus:
                    assert all(hdu.verify_checksum() == hdu.verify_datasum() == 1 for hdu in hdus)
        true = hashlib.md5(b"".join(data_units(ours)), usedforsecurity=False).hexdigest()
        assert fits.getval(ours, "DATAMD5") == fits.getval(called, "DATAMD5") == true
        assert fits.getval(theirs, "DATAMD5") in (true, md5_as_cpl_reads(theirs))


def md5_as_cpl_reads(path):
    """DATAMD5 of CPL 7.2 and 7.3: of a data unit over 46080 bytes its first bytes count again for each chunk."""
    digest = hashlib.md5(usedforsecurity=False)
    for unit in data_units(path):
        for start in range(0, len(unit), _CHUNK):
            digest.update(unit[: min(_CHUNK, len(unit) - start)])
    return digest.hexdigest()


def test_products_are_sound(case, fitsverify):
    assert fitsverify.faults(*(path for _, path, _ in case.products())) == []


def test_the_header_tells_the_whole_story(case):
    frames = case.frames()
    declaration = recipe_class(case.recipe).declaration
    for _, path, _ in case.products():
        header = fits.getheader(path)
        assert header["PIPEFILE"] == path.name
        assert header["ESO PRO REC1 ID"] == case.recipe
        assert header["ESO PRO REC1 PIPE ID"].startswith("soxs/")
        raws = numbered(header, "RAW")
        calibrations = numbered(header, "CAL")
        stated = [(entry["NAME"], entry["CATG"]) for entry in (*raws, *calibrations)]
        given = {(Path(name).name, tag) for name, tag in frames}
        assert len(set(stated)) == len(stated)
        assert {pair for pair in stated if pair[1] in {tag for _, tag in frames}} <= given
        assert header["ESO PRO DATANCOM"] >= 1
        files = {Path(name).name: Path(name) for name, _ in frames}
        for entry in calibrations:
            if entry["NAME"] in files and "DATAMD5" in fits.getheader(files[entry["NAME"]]):
                assert entry["DATAMD5"] == fits.getval(files[entry["NAME"]], "DATAMD5")
        names = [entry["NAME"] for entry in numbered(header, "PARAM")]
        assert names == [entry.name for entry in declaration.parameters]
    used = set()
    for _, path, _ in case.products():
        header = fits.getheader(path)
        used |= {entry["NAME"] for kind in ("RAW", "CAL") for entry in numbered(header, kind)}
    assert {Path(name).name for name, _ in frames} <= used


def numbered(header, kind):
    """Entries `ESO PRO REC1 <kind>n ...` in order, each a mapping of its last word."""
    found = {}
    for key, value in header.items():
        match = re.fullmatch(rf"ESO PRO REC1 {kind}(\d+) (\w+)", key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = value
    assert list(found) == list(range(1, len(found) + 1))
    return list(found.values())


def bias_sof(night):
    return sorted((night.workspace / "sof").rglob("bias/VIS*.sof"))[0]


def test_parameters_come_from_file_and_command_line(night, esorex, tmp_path):
    (tmp_path / "x.rc").write_text("soxs.soxs_mbias.denoise=FALSE\nsoxs.soxs_mbias.stack-sigma=7\n")
    done = esorex(
        f"--recipe-config={tmp_path}/x.rc", "soxs_mbias", "--stack-sigma=6.5", bias_sof(night), cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    (path,) = tmp_path.glob("*MASTER_BIAS*.fits")
    values = {entry["NAME"]: entry["VALUE"] for entry in numbered(fits.getheader(path), "PARAM")}
    assert values["denoise"] == "false"
    assert float(values["stack-sigma"]) == 6.5


def test_frames_without_tags_and_plots(night, esorex, tmp_path):
    """Headers tell what frames are; plots are drawn when asked for, and are no products."""
    frames = [Path(line.split()[0]) for line in bias_sof(night).read_text().splitlines()]
    (tmp_path / "x.sof").write_text("".join(f"{frame}\n" for frame in frames))
    done = esorex(f"--products-sof={tmp_path}/p.json", "soxs_mbias", "--plots=TRUE", "x.sof", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    listed = json.loads((tmp_path / "p.json").read_text())
    assert sorted(entry["category"] for entry in listed) == ["BP_MAP_RP_VIS", "MASTER_BIAS_VIS"]
    assert list((tmp_path / "plots").rglob("*.png"))


def test_a_calibration_that_is_missing(night, esorex, tmp_path):
    sof = next((night.workspace / "sof").rglob("disp_solution/VIS.sof"))
    done = esorex("soxs_wave_interpolate", sof, cwd=tmp_path)
    assert done.returncode == 21, done.stderr
    assert "DISP_TAB_2D_VIS" in done.stderr
    assert "soxs_spatial_solution" in done.stderr
    assert not list(tmp_path.glob("*.fits"))


def test_the_archive_name_of_the_first_frame_is_the_ancestor(night, esorex, tmp_path):
    lines = []
    for number, line in enumerate(bias_sof(night).read_text().splitlines(), start=1):
        name, tag = line.split()
        copy = tmp_path / f"bias{number}.fits"
        copy.write_bytes(Path(name).read_bytes())
        fits.setval(copy, "ARCFILE", value=f"SOXS.2026-03-01T18:00:0{number}.000.fits")
        lines.append(f"bias{number}.fits {tag} RAW\n")
    (tmp_path / "x.sof").write_text("".join(lines))
    (tmp_path / "out").mkdir()
    done = esorex(f"--output-dir={tmp_path}/out", "soxs_mbias", "x.sof", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    products = list((tmp_path / "out").iterdir())
    assert len(products) == 2
    for path in products:
        assert fits.getval(path, "ESO PRO ANCESTOR") == "SOXS.2026-03-01T18:00:01.000.fits"

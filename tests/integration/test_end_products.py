import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.integration.end_products import keep_products
from soxs_recipes.integration.reflex import reflex_workflow


@pytest.fixture
def product(tmp_path):
    def write(name, target="SN2026abc", level=1.0):
        path = tmp_path / "work" / name
        path.parent.mkdir(exist_ok=True)
        hdu = fits.PrimaryHDU(np.full((2, 2), level, np.float32))
        hdu.header["OBJECT"] = target
        hdu.writeto(path, overwrite=True)
        return path

    return write


NOW = datetime(2026, 3, 2, 4, 5, 6, tzinfo=UTC)


def test_results_stand_by_object_below_the_date(tmp_path, product):
    one, other = product("a.fits"), product("b.fits", target="NGC 1/../2")
    kept = keep_products([one, other, tmp_path / "gone.fits"], tmp_path / "end", now=NOW)
    root = tmp_path / "end" / "2026-03-02T04_05_06"
    assert kept == {one: root / "SN2026abc" / "a.fits", other: root / "NGC_1_.._2" / "b.fits"}
    assert kept[one].read_bytes() == one.read_bytes()


def test_the_same_file_stays_and_another_gets_a_number(tmp_path, product):
    first = keep_products([product("a.fits")], tmp_path / "end", "run")
    assert keep_products([product("a.fits")], tmp_path / "end", "run") == first
    (again,) = keep_products([product("a.fits", level=2.0)], tmp_path / "end", "run").values()
    assert again == tmp_path / "end" / "run" / "SN2026abc" / "a_2.fits"
    assert fits.getdata(next(iter(first.values())))[0, 0] == 1.0
    assert fits.getdata(again)[0, 0] == 2.0


def test_links_lead_to_the_product(tmp_path, product):
    file = product("a.fits")
    (link,) = keep_products([file], tmp_path / "end", "run", "link").values()
    assert link.is_symlink()
    assert link.resolve() == file
    # A link to nowhere is not written over.
    elsewhere = file.rename(tmp_path / "a.fits")
    (other,) = keep_products([elsewhere], tmp_path / "end", "run").values()
    assert other == link.with_name("a_2.fits")
    assert other.read_bytes() == elsewhere.read_bytes()


def test_what_will_not_do_is_told(tmp_path, product):
    with pytest.raises(InputError, match="must be one of copy, link"):
        keep_products([], tmp_path, mode="move")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        keep_products([product("a.fits")], tmp_path / "file")


SCRIPT = Path(__file__).parents[2] / "workflows" / "scripts" / "soxs_rename_products.py"


def run_script(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def token(*files):
    listed = [{"name": str(file), "category": "SCI", "purposes": ["UNIVERSAL"]} for file in files]
    return {"datasetName": "night", "files": listed}


def test_the_actor_of_reflex_answers_with_the_new_places(tmp_path, product):
    file = product("a.fits")
    settings = f"folder={tmp_path / 'end'}\nsubfolder=run\nmode=copy"
    (tmp_path / "in.json").write_text(json.dumps({"in_sof": token(file, "/gone.fits"), "settings": settings}))
    answer = tmp_path / "out.json"
    done = run_script("--input-parameters-file", tmp_path / "in.json", "--output-parameters-file", answer)
    assert (done.returncode, done.stderr) == (0, "")
    (kept,) = json.loads(answer.read_text())["out_sof"]["files"]
    assert kept["name"] == str(tmp_path / "end" / "run" / "SN2026abc" / "a.fits")
    assert (kept["category"], kept["purposes"]) == ("SCI", ["UNIVERSAL"])
    assert Path(kept["name"]).is_file()


def test_the_actor_of_reflex_has_the_ports_of_the_workflow():
    help_text = run_script("--help").stdout
    inputs, _, outputs = help_text.partition("\noutputs:\n")
    renamer = next(
        entity
        for box in reflex_workflow().entities
        for entity in box.entities
        if any(entry.value == "$SCRIPTS/soxs_rename_products.py" for entry in entity.properties)
    )
    told = {name: text for text in (inputs, outputs) for name in re.findall(r"-\w \w+, --(\w+)=", text)}
    assert {port.name: inputs if port.is_input else outputs for port in renamer.ports} == told


@pytest.mark.parametrize("settings", ["", "folder=\nsubfolder=\nmode=copy", "folder=end\nmode=copy"])
def test_the_actor_of_reflex_says_what_is_missing(tmp_path, settings):
    (tmp_path / "in.json").write_text(json.dumps({"in_sof": token(), "settings": settings}))
    done = run_script("--input-parameters-file", tmp_path / "in.json")
    assert done.returncode == InputError.exit_code
    assert done.stderr.startswith("soxs_rename_products: settings: must tell folder")

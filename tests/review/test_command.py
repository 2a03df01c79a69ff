"""`soxs review` from the command line."""

import json
import shutil

import pytest
from astropy.io import fits

from soxs_recipes.cli.main import main
from soxs_recipes.cli.review_commands import _subject
from soxs_recipes.errors import InputError


def run(capsys, *words):
    code = main(["review", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def is_png(path):
    return path.read_bytes()[:4] == b"\x89PNG"


@pytest.fixture
def workspace_call(real_session, tmp_path):
    """Folder of the products of one call of a workspace."""
    folder = tmp_path / "ws" / "products" / "night" / "flat" / "VIS_SLIT1.0"
    folder.mkdir(parents=True)
    for path in real_session.runs[0].products:
        shutil.copy(path, folder)
    sof = tmp_path / "ws" / "sof" / "night" / "flat" / "VIS_SLIT1.0.sof"
    sof.parent.mkdir(parents=True)
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in real_session.frames))
    parameters = {"edge-degree": 3, "edge-sigma": 5.0, "blaze-knot-spacing": 200.0, "denoise": True}
    job = {"job": "j", "key": "k", "products": [], "recipe": "soxs_mflat", "arm": "VIS",
           "parts": {"parameters": parameters}}  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    return folder


def test_a_picture_of_a_recipe_on_frames(flat_frames, tmp_path, capsys):
    frames = [path for path, _ in flat_frames]
    words = [
        "mflat",
        *frames,
        "-o",
        tmp_path / "out",
        "--set",
        "edge-degree=2",
        "--screenshot",
        tmp_path / "a.png",
    ]
    assert run(capsys, *words)[0] == 0
    assert is_png(tmp_path / "a.png")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_result_of_a_workspace_is_shown_with_what_made_it(workspace_call, real_session, tmp_path, capsys):
    for what in (workspace_call, next(workspace_call.glob("*MASTER_FLAT*"))):
        declaration, frames, products, settings = _subject([str(what)])
        assert declaration.name == "soxs_mflat"
        assert sorted((str(path), tag) for path, tag in frames) == sorted(real_session.frames)
        assert len(products) == 4
        assert settings == {"edge-degree": 3}  # the others were the defaults, or what auto means
    picture = tmp_path / "b.png"
    words = [workspace_call, "-o", tmp_path / "out", "--screenshot", picture, "--page", "edges"]
    assert run(capsys, *words) == (0, "", "")
    assert is_png(picture)


def test_a_result_whose_frames_are_gone_is_told(workspace_call):
    for path in workspace_call.parents[3].glob("sof/*/*/*.sof"):
        path.unlink()
    with pytest.raises(InputError, match="not in the workspace any more"):
        _subject([str(workspace_call)])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mflat"], "give a SOF, a folder or frames"),
        (["mflut", "x"], "did you mean mflat"),
        (["mflat", "no.sof"], "there is no such file"),
    ],
)
def test_wrong_words(words, told, capsys):
    code, _, err = run(capsys, *words)
    assert code == InputError.exit_code
    assert told in err


def test_frames_that_several_recipes_take_need_a_recipe(tmp_path, capsys):
    sof = tmp_path / "image.sof"
    sof.write_text("image.fits SCI_SLIT_SKYSUB_VIS\n")
    code, _, err = run(capsys, sof)
    assert code == InputError.exit_code
    assert f"soxs_extract, soxs_straighten; name one: soxs review RECIPE {sof}" in err


def test_wrong_parameters(flat_frames, tmp_path, capsys):
    frames = [path for path, _ in flat_frames]
    for given, told in (("edge-degree=99", "from 0 to 10"), ("edge-degre=3", "did you mean"), ("x", "NAME=VALUE")):
        code, _, err = run(capsys, "mflat", *frames, "-o", tmp_path, "--set", given)
        assert code == InputError.exit_code
        assert told in err


def test_a_recipe_that_fails_keeps_its_exit_code(flat_frames, tmp_path, capsys):
    words = ["stare", flat_frames[0][0], "-o", tmp_path, "--screenshot", tmp_path / "a.png"]
    code, _, err = run(capsys, *words)
    assert code == InputError.exit_code
    assert "soxs: error:" in err
    assert not (tmp_path / "a.png").exists()


def test_help_teaches(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "soxs reduce all -s soxs.yaml" in out
    assert "--screenshot" in out


def test_what_was_kept_is_told_and_plotted(workspace_call, tmp_path, capsys, monkeypatch):
    def person(session):
        assert session.shown.products[0].parent == workspace_call
        session.keep()

    monkeypatch.setattr("soxs_recipes.review.screen.open_window", person)
    output = tmp_path / "out"
    code, out, err = run(capsys, workspace_call, "-o", output)
    assert (code, err) == (0, "")
    *files, advice = out.splitlines()
    assert f"soxs reduce all NIGHT -s {output / 'soxs.yaml'}" in advice
    assert all((tmp_path / path).is_file() for path in files)
    assert len(files) == 7
    assert is_png(next((output / "plots").glob("*MASTER_FLAT.png")))
    there = {path.name for path in output.iterdir()}
    assert there == {path.rsplit("/", 1)[-1] for path in files if "/plots/" not in path} | {"plots"}
    assert run(capsys, workspace_call, "-o", tmp_path / "no", "--no-plots", "-q") == (0, "", "")
    assert not (tmp_path / "no" / "plots").exists()


def test_reasons_of_earlier_products_are_shown(real_session, workspace_call):
    from soxs_recipes.recipes.mflat import MasterFlat
    from soxs_recipes.review.session import ReviewSession

    product = next(workspace_call.glob("*BLAZE*"))
    with fits.open(product, mode="update") as hdus:
        for key in [key for key in hdus[0].header if key.startswith("REASON")]:
            del hdus[0].header[key]
        hdus[0].header["REASON1"], hdus[0].header["REASON2"] = "first", "second"
        hdus[0].header["HIERARCH ESO QC STATUS"] = "PARTIAL"
    with ReviewSession(MasterFlat.declaration, [], {}, workspace_call / "o", products=[product]) as session:
        assert session.shown.status == "PARTIAL"
        assert session.shown.reasons == ("first", "second")
        with pytest.raises(InputError, match="no frames were given"):
            session.start()

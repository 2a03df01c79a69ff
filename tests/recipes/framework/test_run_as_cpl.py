"""`Recipe.run`, as PyCPL, pyesorex and EsoRex call it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from astropy.io import fits
from threadpoolctl import threadpool_info, threadpool_limits

from soxs_recipes.errors import AlgorithmError, CalibrationMissing, InputError, SoxsError, UnprocessableData
from soxs_recipes.eso import core, ui
from soxs_recipes.recipes.framework import cpl_terms
from soxs_recipes.recipes.framework.base import Recipe, run_recipe
from soxs_recipes.recipes.framework.declarations import RawInput

NAME = "soxs.soxs_mean_frame."
GROUP = ui.Frame.FrameGroup


@pytest.fixture
def frames(make_raw, tmp_path, monkeypatch):
    """Three biases as pyesorex gives them, without groups; products go to the working directory."""
    monkeypatch.chdir(tmp_path)
    paths = [make_raw(f"b{index}.fits", 100.0 + index, **{"MJD-OBS": 61074.2 + index / 1e3}) for index in range(3)]
    return ui.FrameSet([ui.Frame(path) for path in paths])


def recorded(products) -> dict[str, str]:
    header = fits.getheader(products[0].file)
    names = [key for key in header if key.startswith("ESO PRO REC1 PARAM") and key.endswith(" NAME")]
    return {header[key]: header[key.replace(" NAME", " VALUE")] for key in names}


def test_run_as_cpl_does(mean_frame, frames, tmp_path, capsys):
    recipe = mean_frame()
    products = recipe.run(frames, {f"{NAME}iterations": 4, f"{NAME}nonsense": 1})
    assert isinstance(products, ui.FrameSet)
    assert len(products) == 2
    assert len(frames) == 3, "the set given is left as it is"
    assert [(frame.group, frame.tag) for frame in frames] == [(GROUP.RAW, "BIAS_VIS")] * 3
    for frame, kind in zip(products, ("IMAGE", "TABLE"), strict=True):
        assert (frame.group, frame.level.name, frame.type.name) == (GROUP.PRODUCT, "FINAL", kind)
        assert Path(frame.file).parent == tmp_path
        assert fits.getheader(frame.file)["ESO PRO CATG"] == frame.tag
    assert recipe.parameters[f"{NAME}iterations"].value == 4
    assert recorded(products)["iterations"] == "4"
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "nonsense" in shown.out


@pytest.mark.parametrize("settings", [None, {}])
def test_settings_may_be_left_out(mean_frame, frames, settings):
    assert recorded(mean_frame().run(frames, settings)) == {
        "frame-sigma": "4", "iterations": "3", "method": "mean", "keep": "false",
    }  # fmt: skip


def test_all_settings_by_full_name_as_pyesorex_gives_them(mean_frame, frames, capsys):
    recipe = mean_frame()
    settings = {parameter.name: parameter.value for parameter in recipe.parameters} | {f"{NAME}method": "median"}
    assert len(settings) == 5
    products = recipe.run(frames, settings)
    assert recorded(products) == {"frame-sigma": "4", "iterations": "3", "method": "median", "keep": "false"}
    (again,) = [line for line in capsys.readouterr().out.splitlines() if "to repeat" in line]
    assert [word for word in again.split() if word.startswith("--")] == ["--method=median"]


def test_what_stands_in_parameters_counts_and_settings_win(mean_frame, frames):
    recipe = mean_frame()
    recipe.parameters[f"{NAME}iterations"].value = 8
    recipe.parameters[f"{NAME}method"].value = "median"
    found = recorded(recipe.run(frames, {f"{NAME}frame-sigma": 2.5, f"{NAME}iterations": 6}))
    assert found == {"frame-sigma": "2.5", "iterations": "6", "method": "median", "keep": "false"}
    assert recipe.parameters[f"{NAME}frame-sigma"].value == "2.5"
    assert [parameter.presence for parameter in recipe.parameters] == [True, True, True, False, False]


def test_settings_stand_in_parameters_before_the_recipe_works(mean_frame, frames):
    seen = {}

    class Watching(mean_frame):
        def process(self, inputs, parameters, outputs):
            seen.update({parameter.name: parameter.value for parameter in self.parameters})
            seen["groups"] = [frame.group for frame in frames]
            raise AlgorithmError("stop here")

    with pytest.raises(AlgorithmError):
        Watching().run(frames, {f"{NAME}keep": True})
    assert seen[f"{NAME}keep"] is True
    assert seen["groups"] == [GROUP.RAW] * 3


def test_another_parameter_list_is_respected(mean_frame, frames):
    """A runner may put a list of its own class in place of ours."""

    class Theirs:
        def __init__(self, name, value):
            self.name, self.value, self.default = name, value, value

    recipe = mean_frame()
    recipe.parameters = [Theirs(parameter.name, parameter.value) for parameter in recipe.parameters]
    recipe.parameters[2].value = "median"
    recipe.parameters[3].value = None
    products = recipe.run(frames, {f"{NAME}iterations": 9})
    assert recipe.parameters[1].value == 9
    assert recorded(products) == {"frame-sigma": "4", "iterations": "9", "method": "median", "keep": "false"}


def test_groups_by_what_a_frame_is(mean_frame, frames, make_raw):
    master = make_raw("map.fits", **{"ESO PRO CATG": "BP_MAP_RP_VIS"})
    other = make_raw("flat.fits", **{"ESO DPR TYPE": "LAMP,FLAT", "ESO DPR TECH": "ECHELLE,SLIT"})
    frames.append(ui.Frame(master, "", GROUP.RAW))
    frames.append(ui.Frame(other, "SOMETHING"))
    mean_frame().run(frames, {})
    assert [frame.group for frame in frames] == [*[GROUP.RAW] * 3, GROUP.CALIB, GROUP.NONE]
    assert [frame.tag for frame in frames][3:] == ["BP_MAP_RP_VIS", "SOMETHING"]


def test_a_product_that_is_reduced_further_is_a_calibration(mean_frame, make_raw, tmp_path, monkeypatch):
    class Further(mean_frame):
        declaration = replace(mean_frame.declaration, raws=(RawInput("MASTER_BIAS_<ARM>", "master biases"),))

    monkeypatch.chdir(tmp_path)
    frames = ui.FrameSet([ui.Frame(make_raw("master.fits", **{"ESO PRO CATG": "MASTER_BIAS_VIS"}))])
    products = Further().run(frames, {})
    assert [frame.group for frame in frames] == [GROUP.CALIB]
    assert fits.getheader(products[0].file)["ESO PRO REC1 CAL1 NAME"] == "master.fits"


def test_plots_are_drawn_when_asked_and_are_no_products(mean_frame, frames, tmp_path, monkeypatch):
    from soxs_recipes.recipes.framework import product_plots

    drawn = []
    monkeypatch.setattr(product_plots, "for_products", lambda *call: drawn.append(call))
    recipe = mean_frame()
    assert len(recipe.run(frames, {f"{NAME}plots": False})) == 2
    assert drawn == []
    products = recipe.run(frames, {f"{NAME}plots": True})
    assert drawn == [([Path(frame.file) for frame in products], tmp_path / "plots")]
    assert recipe.parameters[f"{NAME}plots"].value is True
    assert "plots" not in recorded(products)


def test_plots_that_fail_are_told_and_fail_nothing(mean_frame, frames, monkeypatch, capsys):
    from soxs_recipes.recipes.framework import product_plots

    monkeypatch.setattr(product_plots, "for_products", lambda *call: 1 / 0)
    assert len(mean_frame().run(frames, {"plots": True})) == 2
    assert "no plots: ZeroDivisionError" in capsys.readouterr().out


def raising(mean_frame, error):
    class Broken(mean_frame):
        def process(self, inputs, parameters, outputs):
            raise error

    return Broken()


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (InputError("no"), core.IllegalInputError, 14),
        (CalibrationMissing("no"), core.DataNotFoundError, 10),
        (UnprocessableData("no"), core.BadFileFormatError, 6),
        (AlgorithmError("no", points=3), core.IllegalOutputError, 15),
        (SoxsError("no"), core.UnspecifiedError, 1),
        (OSError(28, "No space left on device", "x.fits"), core.IllegalInputError, 14),
        (MemoryError(), core.UnspecifiedError, 1),
        (ZeroDivisionError("x"), core.UnspecifiedError, 1),
    ],
)
def test_errors_are_ours_and_those_of_cpl(mean_frame, frames, tmp_path, error, kind, code):
    with pytest.raises(SoxsError) as caught:
        raising(mean_frame, error).run(frames, {})
    raised = caught.value
    assert isinstance(raised, kind)
    assert raised.code == code
    assert str(raised) == raised.message
    assert "\n" not in str(raised)
    if isinstance(error, SoxsError):
        assert isinstance(raised, type(error))
        assert raised.exit_code == error.exit_code
        assert raised.function == "process"
        assert Path(raised.file).name == Path(__file__).name
        assert raised.message.startswith("3 BIAS_VIS frames from 2026-02-03T04:05:06.789: no")
    assert getattr(raised, "numbers", {}) == getattr(error, "numbers", {})
    assert not list(tmp_path.glob("*.fits"))


def test_an_error_that_cannot_be_cpls_stays_ours(monkeypatch):
    class Refusing(Exception):
        def __init_subclass__(cls):
            raise TypeError("not an acceptable base type")

    error = InputError("plain")
    monkeypatch.setattr(cpl_terms.core, "IllegalInputError", Refusing)
    assert cpl_terms.cpl_error(error) is error
    monkeypatch.delattr(cpl_terms.core, "IllegalInputError")
    assert cpl_terms.cpl_error(error) is error


def test_run_tells_its_error_before_raising(mean_frame, frames, capsys):
    with pytest.raises(InputError, match="at least 2"):
        mean_frame().run(ui.FrameSet([frames[0]]), {})
    assert "at least 2 BIAS_VIS frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "text"),
    [({f"{NAME}iterations": 99}, "must be from 0 to 10"), ({f"{NAME}plots": "maybe"}, "must be true or false")],
)
def test_values_that_cannot_be_are_refused_before_frames_are_read(mean_frame, frames, settings, text):
    Path(frames[0].file).unlink()
    with pytest.raises(core.IllegalInputError, match=text):
        mean_frame().run(frames, settings)


def test_the_base_does_no_harm_to_a_runner_that_collects_recipes():
    base = Recipe()
    assert len(base.parameters) == 0
    assert base.name == "soxs_recipe"
    with pytest.raises(InputError, match="base of the recipes"):
        base.run(ui.FrameSet(), {"x": 1})


def test_data_and_header_are_those_of_the_own_runner(mean_frame, frames, tmp_path):
    settings = {f"{NAME}method": "median", f"{NAME}plots": False}
    theirs = [fits.getheader(frame.file) for frame in mean_frame().run(frames, settings)]
    result = run_recipe(mean_frame, [frame.file for frame in frames], {"method": "median"}, tmp_path / "own")
    own = [fits.getheader(path) for path in result.paths]
    assert len(own) == 2
    for first, second in zip(theirs, own, strict=True):
        assert first["DATAMD5"] == second["DATAMD5"]
        assert len(first) > 30
        assert cards(first) == cards(second)


def test_products_do_not_depend_on_the_threads_of_who_runs_it(mean_frame, frames):
    import scipy.linalg  # noqa: F401

    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    seen = []

    class Watching(mean_frame):
        def process(self, inputs, parameters, outputs):
            seen.append(threads())
            super().process(inputs, parameters, outputs)

    with threadpool_limits(2):
        if threads() != {2}:
            pytest.skip("this linear algebra knows one thread only")
        Watching().run(frames, {})
        assert threads() == {2}
    assert seen == [{1}]


def cards(header) -> list[tuple]:
    return [tuple(card) for card in header.cards if card.keyword not in ("CHECKSUM", "DATE")]

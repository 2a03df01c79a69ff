from __future__ import annotations

import pytest
import yaml

from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework import registry, settings
from soxs_recipes.recipes.framework.settings import Settings, read_settings, settings_from_text, settings_text


@pytest.fixture(autouse=True)
def only_the_small_recipe(mean_frame, monkeypatch):
    entry = registry.RecipeEntry("soxs_mean_frame", "none", "none", ("mean_frame",))
    monkeypatch.setitem(registry.RECIPES, entry.name, entry)
    monkeypatch.setitem(registry._ALIASES, "mean_frame", entry.name)
    real = settings.recipe_class
    monkeypatch.setattr(
        settings, "recipe_class", lambda name: mean_frame if name.endswith("mean_frame") else real(name)
    )


def test_the_file_made_is_the_defaults(mean_frame):
    text = settings_text([mean_frame.declaration])
    loaded = yaml.safe_load(text)
    assert loaded == {"soxs_mean_frame": {"frame-sigma": "auto", "iterations": 3, "method": "mean", "keep": False}}
    comments = [line for line in text.splitlines() if line.strip().startswith("#")]
    assert any("Where values are clipped" in line and "sigma" in line for line in comments)
    assert any("from 0 to 10" in line for line in comments)
    assert settings_from_text(text).of("soxs_mean_frame") == loaded["soxs_mean_frame"]


def test_arms_nest_and_win():
    text = "mean_frame:\n  iterations: 4\n  keep: true\n  NIR:\n    iterations: 5\n    frame_sigma: 6\n"
    read = settings_from_text(text)
    assert read.of("mean_frame") == {"iterations": 4, "keep": True}
    assert read.of("soxs_mean_frame", "VIS") == {"iterations": 4, "keep": True}
    assert read.of("soxs_mean_frame", "NIR") == {"iterations": 5, "keep": True, "frame-sigma": "6.0"}
    assert Settings().of("soxs_mean_frame", "NIR") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mean_frame:\n  iteration: 4\n", "did you mean iterations?"),
        ("mflatt:\n  x: 4\n", "did you mean mflat?"),
        ("mean_frame:\n  NIRR:\n    iterations: 4\n", "did you mean NIR?"),
        ("mean_frame:\n  iterations: 40\n", "from 0 to 10"),
        ("mean_frame:\n  iterations: 4\n  iterations: 5\n", "twice"),
        ("mean_frame:\n  frame-sigma: 4\n  frame_sigma: 5\n", "twice"),
        ("mean_frame:\n  iterations:\n", "iterations"),
        ("mean_frame: [1, 2]\n", "name: value"),
        ("mean_frame: {iterations: {a: 1}}\n", "arm"),
        ("mean_frame:\n  NIR:\n    iterations: {a: 1}\n", "mapping"),
        ("- 1\n", "name: value"),
        ("a: &x 1\nb: *x\n", "aliases"),
        ("a: [\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("[" * 5000, "too deeply"),
        ("\x00", "not valid YAML"),
    ],
)
def test_refused(text, words):
    with pytest.raises(InputError) as caught:
        settings_from_text(text, "my.yaml")
    message = str(caught.value)
    assert words in message
    assert message.startswith("my.yaml")
    assert "\n" not in message


def test_files(tmp_path):
    path = tmp_path / "s.yaml"
    with pytest.raises(InputError, match="no such settings file"):
        read_settings(path)
    path.write_text("# nothing\n")
    assert read_settings(path) == Settings()
    path.write_text("#" * (settings.SIZE_LIMIT + 1))
    with pytest.raises(InputError, match="larger than"):
        read_settings(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not text"):
        read_settings(path)


def test_rc_files_serve_as_settings(mean_frame, tmp_path):
    path = tmp_path / "x.rc"
    settings.write_recipe_config(mean_frame.declaration, path, {"keep": True, "iterations": 5})
    expected = {"frame-sigma": "auto", "iterations": 5, "method": "mean", "keep": True}
    assert read_settings(path).of("soxs_mean_frame") == expected
    assert "soxs.soxs_mean_frame.keep=TRUE\n" in path.read_text()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("soxs.soxs_mean_frame.iteration=3", "did you mean iterations?"),
        ("soxs.mflatt.x=3", "did you mean mflat?"),
        ("xsh.xsh_mflat.x=3", "no parameter of ours"),
        ("soxs.soxs_mean_frame.iterations=99", "from 0 to 10"),
        ("nonsense", "line 1"),
    ],
)
def test_rc_errors(line, words, tmp_path):
    path = tmp_path / "x.rc"
    path.write_text(line + "\n")
    with pytest.raises(InputError) as caught:
        read_settings(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)

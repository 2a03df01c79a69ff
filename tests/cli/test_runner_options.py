"""What a recipe's command has of EsoRex's: configuration files, product SOF, links, log, parameters, time."""

import json
from pathlib import Path

import pytest
from astropy.io import fits
from count_frames import CountFrames

from soxs_recipes.cascade import worker
from soxs_recipes.cli.runner_options import with_values
from soxs_recipes.eso.rc import read_rc
from soxs_recipes.eso.sof import read_sof

pytestmark = pytest.mark.usefixtures("count_recipe")
DEFAULTS = {"level": "3.0", "order-deg": "3,3", "wavelength-deg": "5,5", "smooth": False}
FULL = {f"soxs.soxs_count.{name}": value for name, value in DEFAULTS.items()}


@pytest.fixture
def count(soxs, biases, tmp_path, monkeypatch):
    """Run the recipe on its frames, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: soxs("count", *biases, "-o", "out", "--no-plots", *words)


def product() -> Path:
    (path,) = Path("out").glob("*.fits")
    return path.absolute()


def level() -> float:
    return fits.getheader(product(), "DATA")["LEVEL"]


def test_a_configuration_is_written_and_read(count, soxs, tmp_path):
    assert soxs("count", "--create-config", "--level", "4") == (0, "wrote soxs_count.rc\n", "")
    assert read_rc("soxs_count.rc") == FULL | {"soxs.soxs_count.level": "4.0"}
    code, text, err = count("--recipe-config", "soxs_count.rc")
    assert (code, err) == (0, "")
    assert level() == 4.0
    assert f"--recipe-config={tmp_path}/soxs_count.rc" in text.splitlines()[-1]


def test_an_old_configuration_is_kept(soxs, count):
    soxs("count", "--create-config=my.rc", "--level=4")
    soxs("count", "--create-config=my.rc", "--smooth")
    assert read_rc("my.rc") == FULL | {"soxs.soxs_count.smooth": True}
    assert read_rc("my.rc.bak")["soxs.soxs_count.level"] == "4.0"


def test_a_configuration_is_written_and_nothing_run_as_esorex_does(count):
    assert count("--create-config", "--level", "5") == (0, "wrote soxs_count.rc\n", "")
    assert read_rc("soxs_count.rc")["soxs.soxs_count.level"] == "5.0"
    assert not Path("out").exists()
    assert json.loads(count("--create-config", "--json")[1])["config"] == "soxs_count.rc"


def test_a_configuration_as_json_is_that_of_esorex(soxs, count):
    assert soxs("count", "--create-config=c.json", "--level=4")[0] == 0
    level, degrees, _, smooth = json.loads(Path("c.json").read_text())
    assert level == {
        "name": "soxs.soxs_count.level", "value": 4.0, "valtype": "double", "partype": "range", "valmin": 1.0,
        "valmax": 9.0, "display_name": "level", "recipe": "soxs_count",
        "description": "Where values are clipped [sigma] (from 1 to 9).",
    }  # fmt: skip
    assert (degrees["value"], degrees["valtype"], degrees["partype"]) == ("3,3", "string", "value")
    assert (smooth["value"], smooth["valtype"], smooth["partype"]) == (False, "bool", "value")
    assert soxs("count", "--create-config=c.json")[0] == 0
    assert json.loads(Path("c.json.bak").read_text())[0]["value"] == 4.0
    Path("c.json").write_text("{}")
    assert "is no configuration file" in soxs("count", "--create-config=c.json")[2]


def test_what_is_no_configuration_is_left_alone(soxs, count, biases):
    before = biases[0].read_bytes()
    code, _, err = soxs("count", f"--create-config={biases[0]}")
    assert code == 20
    assert "is no configuration file; it is left alone" in err
    assert biases[0].read_bytes() == before
    code, _, err = soxs("count", "--create-config=no/such/folder/x.rc")
    assert code == 20
    assert "cannot be written" in err


def test_what_wins(count):
    Path("s.yaml").write_text("soxs_count:\n  level: 2.0\n  order-deg: 1,1\n")
    Path("c.rc").write_text("soxs.soxs_count.level=4\n")
    count("-s", "s.yaml", "--recipe-config=c.rc")
    assert level() == 4.0
    assert fits.getheader(product(), "DATA")["DEGREES"] == "1,1"
    count("-x", "--recipe-config=c.rc", "--level=6")
    assert level() == 6.0


def test_lines_of_our_other_recipes_are_passed_over(count):
    Path("c.rc").write_text("soxs.soxs_mbias.stack-sigma=8\nsoxs.mflat.x=1\nlevel=5\n")
    code, _, err = count("--recipe-config", "c.rc")
    assert (code, err) == (0, "")
    assert level() == 5.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "c.rc: cannot be read (No such file or directory)"),
        (b"\xff\xfe", "c.rc: is not text"),
        (b"# fine\nlevel 4\n", "c.rc, line 2: expected name=value"),
        (b"soxs.soxs_count.level=99\n", "parameter level = 99: must be from 1 to 9"),
        (b"soxs.soxs_count.plots=maybe\n", "parameter plots = maybe: must be true or false"),
        (b"soxs.soxs_count.levle=4\n", "did you mean level?"),
        (b"xsh.xsh_mbias.level=4\n", "c.rc: xsh.xsh_mbias.level: there is no recipe 'xsh.xsh_mbias'"),
    ],
)
def test_configurations_that_cannot_be_used(count, text, message):
    if text is not None:
        Path("c.rc").write_bytes(text)
    code, out, err = count("--recipe-config", "c.rc")
    assert (code, out) == (20, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("line", "words", "draws"),
    [
        ("", [], True),
        ("soxs.soxs_count.plots=FALSE", [], False),
        ("soxs.soxs_count.plots=FALSE", ["--plots"], True),
    ],
)
def test_plots_of_a_configuration_of_esorex(soxs, biases, tmp_path, monkeypatch, line, words, draws):
    drawn = []
    monkeypatch.setattr(worker, "draw_plots", lambda request: drawn.append(request) or {"plots": []})
    rc = tmp_path / "c.rc"
    rc.write_text(line + "\n")
    assert soxs("count", *biases, "-o", tmp_path / "out", "--recipe-config", rc, *words)[0] == 0
    assert bool(drawn) == draws


@pytest.mark.parametrize("word", ["--params", "--params=TRUE"])
def test_parameters_are_shown(soxs, count, word):
    Path("c.rc").write_text("level=4\n")
    code, text, err = soxs("count", word, "--recipe-config=c.rc", "--smooth=true")
    assert (code, err) == (0, "")
    lines = text.splitlines()
    assert lines[::2] == [
        "--level=4.0  [default: 3.0]",
        "--order-deg=3,3",
        "--wavelength-deg=5,5",
        "--smooth=true  [default: false]",
    ]
    assert lines[1] == "    Where values are clipped [sigma] (from 1 to 9)."


def test_parameters_as_json(soxs):
    document = json.loads(soxs("count", "--params", "--json", "--level", "4")[1])
    assert [entry["name"] for entry in document["parameters"]] == list(FULL)
    assert (document["parameters"][0]["value"], document["parameters"][0]["default"]) == (4.0, 3.0)


def test_the_manual(soxs):
    assert soxs("count", "--man-page") == soxs("man", "count")
    assert "SOXS_COUNT" in soxs("count", "--man-page")[1]


def test_without_frames_there_is_nothing_to_do(soxs):
    for words in ([], ["--level=4"], ["--man-page", "false"], ["--create-config=FALSE"]):
        code, out, err = soxs("count", *words)
        assert (code, out) == (2, "")
        assert "Missing argument 'INPUTS...'" in err


def test_products_are_listed(count):
    code, text, _ = count("--products-sof", "p.sof")
    assert code == 0
    assert f"{'list of products':28s} p.sof" in text
    (entry,) = read_sof("p.sof")
    assert (entry.path, entry.tag, entry.group) == (product(), "FRAME_COUNT_VIS", "")
    # What is there already is listed, too.
    code, text, _ = count("--products-sof", "again.json")
    assert text.startswith("there already")
    assert json.loads(Path("again.json").read_text()) == [{"name": str(product()), "category": "FRAME_COUNT_VIS"}]


def test_links(count):
    code, text, _ = count("--link-dir", "links/here")
    assert code == 0
    (link,) = Path("links/here").iterdir()
    assert link.is_symlink()
    assert link.resolve() == product().resolve()
    assert link.name == product().name
    assert str(link.absolute()) in text
    assert count("-x", "--link-dir", "links/here")[0] == 0, "a link may be made anew"
    link.unlink()
    link.write_text("mine")
    code, _, err = count("-x", "--link-dir", "links/here")
    assert code == 20
    assert "is no link; it is left alone" in err
    assert link.read_text() == "mine"


@pytest.mark.parametrize(
    "words", [[], ["--link-dir=links", "--suppress-link"], ["--link-dir=links", "--suppress-link=TRUE"]]
)
def test_links_are_suppressed(count, words):
    assert count(*words)[0] == 0
    assert not Path("links").exists()


def test_links_need_a_place(count):
    code, _, err = count("--suppress-link=FALSE")
    assert code == 20
    assert "name the folder of the links with --link-dir" in err
    assert not list(Path().glob("out/*.fits"))


def test_the_log_goes_where_it_is_wanted(count):
    count()
    assert "soxs_count" in Path("out/logs/soxs_count.log").read_text()
    count("-x", "--log-dir", "there", "--log-file", "my.log")
    assert "3 BIAS_VIS" in Path("there/my.log").read_text()


def test_how_much_the_log_holds(count):
    count("--log-level", "WARNING")
    assert Path("out/logs/soxs_count.log").read_text() == ""
    document = json.loads(count("-x", "--log-level=off", "--log-dir=none", "--json")[1])
    assert document["log"] is None
    assert not Path("none").exists()
    code, _, err = count("--log-level=loud")
    assert code == 2
    assert "'loud' is not one of" in err


@pytest.mark.parametrize(
    ("level", "shown", "told"),
    [("info", True, True), ("warning", False, True), ("error", False, False), ("off", False, False)],
)
def test_how_much_is_shown(count, level, shown, told):
    code, text, err = count("--msg-level", level)
    assert code == 0
    assert ("soxs_count: UV-VIS arm, 3 BIAS_VIS" in err.splitlines()) == shown
    assert bool(text) == told
    code, _, err = count("-x", "--msg-level", level, "--level", "9")
    assert code == 23
    (line,) = [line for line in err.splitlines() if "went nowhere" in line]
    assert line.startswith("soxs: error: ")


def test_all_is_shown_with_its_level(count):
    assert "INFO: soxs_count: UV-VIS arm, 3 BIAS_VIS" in count("--msg-level=debug")[2].splitlines()


def test_time_and_memory(count):
    assert "  time: " not in count()[1]
    (line,) = [line for line in count("-x", "--time")[1].splitlines() if line.startswith("  time: ")]
    assert line.split()[2:7] == ["s,", line.split()[3], "s", "of", "processor"]
    document = json.loads(count("-x", "--json")[1])
    assert document["cpu_seconds"] > 0
    assert document["peak_mb"] > 10


def test_defaults_from_the_environment(soxs, biases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.rc").write_text("level=4\n")
    names = {"OUTPUT_DIR": "out", "RECIPE_CONFIG": "c.rc", "PRODUCTS_SOF": "p.sof", "LINK_DIR": "links",
             "LOG_DIR": "log", "LOG_FILE": "x.log"}  # fmt: skip
    for name, value in names.items():
        monkeypatch.setenv(f"SOXS_{name}", value)
    assert soxs("count", *biases, "--no-plots")[0] == 0
    assert level() == 4.0
    assert all(Path(name).exists() for name in ("p.sof", "log/x.log"))
    assert len(list(Path("links").iterdir())) == 1
    monkeypatch.setenv("SOXS_SUPPRESS_LINK", "TRUE")
    assert soxs("count", *biases, "-o", "other", "--link-dir", "none", "--no-plots")[0] == 0
    assert not Path("none").exists()


def test_help_is_in_groups(soxs):
    text = soxs("count", "--help")[1]
    titles = ["Parameters:", "Run:", "Files and configuration, as EsoRex has them:", "Messages:", "INPUTS\n"]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    assert places[0] < text.index("--level") < places[1] < text.index("--overwrite") < places[2]
    assert places[2] < text.index("--products-sof") < places[3] < text.index("--verbose") < places[4]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--time x.sof", "--time=TRUE x.sof"),
        ("--time false x.sof", "--time false x.sof"),
        ("x.sof --create-config", "x.sof --create-config=TRUE"),
        ("--create-config=a.rc", "--create-config=a.rc"),
        ("--smooth --time", "--smooth=TRUE --time=TRUE"),
        ("--smooth perhaps", "--smooth perhaps"),
        ("-o out", "-o out"),
    ],
)
def test_switches_may_stand_alone(words, expected):
    switches = [f"--{entry.name}" for entry in CountFrames.declaration.parameters if entry.type is bool]
    assert switches == ["--smooth"]
    assert with_values(words.split(), switches) == expected.split()

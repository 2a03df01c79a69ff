import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soxs_recipes.cli import main as cli_main

pytestmark = pytest.mark.usefixtures("fake_recipes")
CALLS = 18


def test_prep_tells_what_there_is(soxs, complete_night):
    complete_night.written["vis_bias"][0].write_bytes(b"rubbish")
    code, out, err = soxs("prep", complete_night.folder)
    assert code == 0
    assert "2025-11-20\tFLAT_SLIT_VIS\t10" in out
    assert "1 unusable" in out
    assert f"unusable: {complete_night.written['vis_bias'][0]}: does not begin as FITS" in err
    assert (complete_night.folder / "soxs" / "soxs.yaml").is_file()


def test_prep_can_read_all_anew(soxs, complete_night, monkeypatch):
    from soxs_recipes.cascade import night as cascade_night

    read = []
    scan = cascade_night.scan_folder

    def watched(*args, **options):
        result = scan(*args, **options)
        read.append(result.read)
        return result

    monkeypatch.setattr(cascade_night, "scan_folder", watched)
    for words in ((), (), ("--refresh",)):
        assert soxs("prep", complete_night.folder, "-q", *words) == (0, "", "")
    assert read[0] == read[2] > 50
    assert read[1] == 0


def test_prep_speaks_json(soxs, complete_night):
    code, out, _ = soxs("prep", complete_night.folder, "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, 1)
    assert document["frames"] == sum(tag["frames"] for tag in document["tags"]) > 50


def test_reduce_all_shows_targets_and_what_they_stand_on(soxs, complete_night):
    complete_night.written["vis_flatSLIT5.0"][0].unlink()
    for path in complete_night.written["vis_flatSLIT5.0"][1:]:
        path.unlink()
    code, out, err = soxs("reduce", "all", complete_night.folder, "--no-plots")
    assert code == 0
    assert 'SN2026abc\tVIS\tSLIT1.0\t3 x 300 s\t21.5\t0.90"\t-0.25"\tCOMPLETE' in out
    assert 'GD71\tVIS\tSLIT5.0\t1 x 300 s\t21.5\t0.90"\t-0.25"\tPARTIAL' in out
    assert re.search(r"GD71\tVIS\tflat\t2025-11-20/flat/VIS_SLIT1.0\t0\t\d\.\d h before\tflat of another", out)
    assert "PARTIAL  2025-11-20/standard/VIS_GD71_SLIT5.0: flat of another slit" in out
    assert "soxs_mflat\tNIR\t2" in out
    assert "17 recipe calls run" in out
    spectrum = (
        complete_night.folder / "soxs/products/2025-11-20/science/VIS_SN2026abc_SLIT1.0/SCI_SLIT_MERGE1D_VIS.txt"
    )
    assert f"SN2026abc VIS: {spectrum}" in out
    assert spectrum.is_file()
    assert "17/17  COMPLETE" in err


def test_reduce_all_again_does_nothing_and_json_tells_all(soxs, complete_night):
    soxs("reduce", "all", complete_night.folder, "--no-plots", "-q")
    code, out, _ = soxs("reduce", "all", complete_night.folder, "--no-plots", "--json")
    document = json.loads(out)
    assert (code, document["ran"], len(document["calls"])) == (0, [], CALLS)
    science = next(row for row in document["targets"] if (row["target"], row["arm"]) == ("SN2026abc", "NIR"))
    assert science["status"] == "COMPLETE"
    assert {link["name"] for link in science["calibrations"]} == {"dark", "flat", "2-D solution", "response"}
    assert all(link["level"] == 0 for link in science["calibrations"])


def test_overwrite_runs_all_again_and_redo_some(soxs, complete_night):
    where = ("reduce", "all", complete_night.folder, "--no-plots", "--json")
    assert len(json.loads(soxs(*where)[1])["ran"]) == CALLS
    assert json.loads(soxs(*where, "--redo", "bias")[1])["ran"] == ["2025-11-20/bias/VIS_1"]
    code, out, err = soxs(*where, "--redo", "bias", "--redo", "byass")
    assert (code, out) == (20, "")
    assert "no recipe call has 'byass' in its name" in err
    assert len(json.loads(soxs(*where, "-x")[1])["ran"]) == CALLS


def test_a_failed_target_is_named_and_gives_exit_code_one(soxs, complete_night, monkeypatch):
    monkeypatch.setenv("FAKE", "soxs_stare VIS fail")
    code, out, err = soxs("reduce", "all", complete_night.folder, "--no-plots")
    assert code == 1
    assert "FAILED   2025-11-20/science/VIS_SN2026abc_SLIT1.0: the fit went nowhere (points = 3)" in out
    assert 'SN2026abc\tNIR\tSLIT1.0\t3 x 300 s\t21.5\t0.90"\t-0.25"\tCOMPLETE' in out
    assert "FAILED" in err


def test_settings_change_what_depends_on_them(soxs, complete_night, monkeypatch):
    from soxs_recipes.cascade import night as cascade_night

    def parameters(workspace, settings_file):
        level = 4 if settings_file else 3
        return lambda recipe, arm: {"level": level if recipe == "soxs_response" else 3}

    monkeypatch.setattr(cascade_night, "_parameters", parameters)
    where = ("reduce", "all", complete_night.folder, "--no-plots", "--json")
    soxs(*where)
    ran = json.loads(soxs(*where, "-s", "other.yaml")[1])["ran"]
    assert sorted({name.split("/")[1] for name in ran}) == ["response", "science"]


def test_plan_why(soxs, complete_night):
    code, out, _ = soxs("plan", complete_night.folder, "--why")
    assert code == 0
    assert "2025-11-20/flat/VIS_SLIT1.0\tsoxs_mflat\t5\tto do\tnever run" in out
    assert "18 recipe calls, 18 to do" in out
    soxs("reduce", "all", complete_night.folder, "--no-plots", "-q")
    assert "18 recipe calls, 0 to do" in soxs("plan", complete_night.folder)[1]
    document = json.loads(soxs("plan", complete_night.folder, "--why", "--json")[1])
    assert {call["why"] for call in document["calls"]} == {""}


def test_check_tells_what_is_lacking(soxs, complete_night):
    assert soxs("check", complete_night.folder)[0] == 0
    complete_night.written["nir_std"][0].unlink()
    code, out, _ = soxs("check", complete_night.folder)
    assert code == 1
    assert "SN2026abc\tNIR\t0\tno standard star: spectrum in counts" in out


def test_a_folder_without_frames_is_said(soxs, tmp_path):
    code, out, err = soxs("prep", tmp_path)
    assert code == 0
    assert "0 frames" in out
    assert f"{tmp_path}: no FITS files are there" in err
    assert f"{tmp_path}: no FITS files are there" in soxs("plan", tmp_path)[2]
    code, out, err = soxs("reduce", "all", tmp_path)
    assert code == 20
    assert f"{tmp_path}: no FITS files are there" in err
    assert not out


def test_a_folder_of_other_files_is_told_in_a_line(soxs, night):
    """Each is named where they are few."""
    night.folder.mkdir(parents=True, exist_ok=True)
    for number in range(30):
        (night.folder / f"other{number:02d}.fits").write_bytes(b"no FITS")
    (night.folder / "empty.fits").touch()
    told = f"unusable: 30 files (soxs list frames), first {night.folder}/other00.fits: does not begin as FITS"
    for words, stream in ((("prep", night.folder), 2), (("plan", night.folder), 1), (("check", night.folder), 1)):
        lines = [line for line in soxs(*words)[stream].splitlines() if line.startswith("unusable")]
        assert len(lines) == 2
        assert lines[1].startswith(told)
        assert lines[0].startswith(f"unusable: {night.folder}/empty.fits: is empty")
    assert soxs("list", "frames", night.folder)[1].count("does not begin as FITS") == 30
    code, out, err = soxs("reduce", "all", night.folder)
    assert (code, out) == (20, "")
    assert "none of 31 FITS files can be used (soxs prep lists them); first empty.fits: is empty" in err


def test_a_first_run_says_why_it_takes_longer(soxs, complete_night, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    run = ("reduce", "all", complete_night.folder, "--no-plots")
    assert "compiles loops" in soxs(*run)[2]
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "kernel.nbi").touch()
    assert "compiles loops" not in soxs(*run)[2]


def test_explain_a_frame_and_a_product(soxs, complete_night):
    soxs("reduce", "all", complete_night.folder, "--no-plots", "-q")
    code, out, _ = soxs("explain", complete_night.written["vis_bias"][1])
    assert code == 0
    assert "tag: BIAS_VIS" in out
    assert "used by 2025-11-20/bias/VIS_1 (soxs_mbias): COMPLETE\n" in out
    products = list((complete_night.folder / "soxs" / "products").glob("*/science/VIS*/SCI_SLIT_ORDER1D_VIS.fits"))
    assert len(products) == 1
    code, out, _ = soxs("explain", products[0])
    assert code == 0
    assert "made by 2025-11-20/science/VIS_SN2026abc_SLIT1.0" in out
    assert "level 0" in out
    name = str(products[0].parent.relative_to(complete_night.folder / "soxs" / "products"))
    others = {
        kind: complete_night.folder / "soxs" / kind / f"{name}.{kind.rstrip('s')}" for kind in ("logs", "sof")
    }
    plot = complete_night.folder / "soxs" / "plots" / name / "a.pdf"
    for path in (others["logs"], plot):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in (products[0].parent, products[0].with_name("job.json"), *others.values(), plot):
        code, out, _ = soxs("explain", path)
        assert code == 0
        assert f"made by {name} (" in out
        assert out.count("made by") == 1
    code, _, err = soxs("explain", complete_night.folder / "soxs" / "soxs.yaml")
    assert code == 20
    assert "neither of the frames in" in err


def test_words_that_only_look_leave_no_trace(soxs, complete_night, tmp_path):
    folder, frame = complete_night.folder, complete_night.written["vis_bias"][1]
    before = sorted(tmp_path.rglob("*"))
    for words in (
        *(("plan", folder), ("plan", folder, "-o", tmp_path / "elsewhere"), ("check", folder), ("explain", frame)),
        *(("list", word, folder) for word in ("frames", "ob", "sof")),
        *(("session", "ls", "--folder", folder), ("watch", "status", folder), ("watch", "stop", folder)),
    ):
        code, out, err = soxs(*words)
        assert (code in (0, 1), err) == (True, "")
        assert out or words[:2] == ("list", "sof")
        assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "notes.txt").touch()
    for words, told in (
        (("explain", tmp_path / "notes.txt"), "not in a workspace, and no FITS file"),
        (("raw", "sof", frame), "nor of what was made from them"),
        (("raw", "sof", tmp_path / "no.fits"), "there is no such file"),
        (("plan", folder, "--session", "deep"), "no workspace, and so no session 'deep'"),
    ):
        code, _, err = soxs(*words)
        assert (code, told in err) == (20, True)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "notes.txt"])


def test_a_workspace_elsewhere_is_known_without_its_index(soxs, complete_night, tmp_path):
    place = tmp_path / "away" / "elsewhere"
    soxs("reduce", "all", complete_night.folder, "-o", place, "--no-plots", "-q")
    expected = soxs("plan", place)[1]
    assert f"{CALLS} recipe calls, 0 to do" in expected
    (place / "soxs.db").unlink()
    assert soxs("plan", place)[1] == expected


def test_raw_frames_behind_a_product(soxs, complete_night, tmp_path):
    soxs("reduce", "all", complete_night.folder, "--no-plots", "-q")
    (product,) = (complete_night.folder / "soxs" / "products").glob("*/order_centres/VIS/*.fits")
    code, out, _ = soxs("raw", "sof", product, "-o", tmp_path / "bundle")
    assert code == 0
    names = sorted(Path(line).name for line in out.split())
    assert names == [f"SOXS.vis_{name}.fits" for name in
                     ("arc.01", "bias.01", "bias.02", "bias.03", "bias.04", "bias.05", "order.01")]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == names


def test_lists(soxs, complete_night):
    _, out, _ = soxs("list", "frames", complete_night.folder)
    assert len(out.splitlines()) == 2 + sum(len(paths) for paths in complete_night.written.values())
    _, out, _ = soxs("list", "ob", complete_night.folder)
    assert "2025-11-20\t\tSN2026abc\tscience\tNIR 3, VIS 3" in out
    assert soxs("list", "sof", complete_night.folder)[1] == ""
    soxs("reduce", "all", complete_night.folder, "--no-plots", "-q")
    assert len(soxs("list", "sof", complete_night.folder)[1].split()) == CALLS


def test_sessions(soxs, complete_night):
    at = ("--folder", complete_night.folder)
    assert soxs("session", "ls", *at)[1] == "* base\n"
    assert soxs("session", "new", "deep", *at)[1] == "  base\n* deep\n"
    soxs("reduce", "all", complete_night.folder, "--no-plots", "-q")
    assert (complete_night.folder / "soxs" / "sessions" / "deep" / "products").is_dir()
    assert not (complete_night.folder / "soxs" / "products").exists()
    assert soxs("session", "base", *at)[1] == "* base\n  deep\n"
    code, _, err = soxs("session", "shallow", *at)
    assert (code, "base, deep" in err) == (20, True)


def test_two_runs_do_not_mix(soxs, complete_night):
    from soxs_recipes.cascade.night import open_workspace

    workspace = open_workspace(complete_night.folder)
    with workspace.locked():
        code, _, err = soxs("reduce", "all", complete_night.folder)
    workspace.close()
    assert code == 20
    assert f"in use by process {os.getpid()}" in err
    assert err.count("\n") == 1


def test_an_unwritable_place_is_named(soxs, complete_night, monkeypatch):
    def refuse(self, *args, **options):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, _, err = soxs("prep", complete_night.folder)
    assert code == 20
    assert err == (
        f"soxs: error: {complete_night.folder / 'soxs'}: cannot be written (Read-only file system); "
        "choose another place with -o FOLDER\n"
    )


def test_a_defect_is_one_line_unless_asked(soxs, complete_night, monkeypatch):
    from soxs_recipes.cascade import night as cascade_night

    def stumble(*args, **options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(cascade_night, "prepare", stumble)
    code, _, err = soxs("prep", complete_night.folder)
    assert code == 1
    assert err.startswith("soxs: error: unexpected ZeroDivisionError: division by zero")
    assert err.count("\n") == 1
    assert "Traceback" in soxs("prep", complete_night.folder, "-V")[2]


def test_quiet_is_quiet(soxs, complete_night):
    assert soxs("reduce", "all", complete_night.folder, "--no-plots", "-q") == (0, "", "")


RUN_SLOWLY = """
import os, sys
sys.path[:0] = sys.argv[1].split(":")
os.environ["FAKE"] = "soxs_mbias VIS hang"
if __name__ == "__main__":
    from fake_recipes import DECLARATIONS
    from soxs_recipes.cascade import night, run
    from soxs_recipes.cli.main import main
    night.recipe_declarations = lambda: DECLARATIONS
    night._parameters = lambda workspace, settings: lambda recipe, arm: {"level": 3}
    run.RunOptions.__init__.__defaults__ = (*run.RunOptions.__init__.__defaults__[:-1], "fake_calls:run")
    sys.exit(main(["reduce", "all", sys.argv[2], "--no-plots"]))
"""


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def process_fields(pid):
    """(state, parent) of a process, None when there is none."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:2]
    except OSError:
        return None
    return state, int(parent)


def is_running(pid):
    fields = process_fields(pid)
    return fields is not None and fields[0] != "Z"


def children_of(pid):
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [one for one in pids if is_running(one) and (process_fields(one) or ("", 0))[1] == pid]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to look at processes")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_a_signal_ends_all_processes_and_the_next_run_goes_on(complete_night, tmp_path, soxs, number, code):
    script = tmp_path / "slow.py"
    script.write_text(RUN_SLOWLY)
    place = str(Path(cli_main.__file__).parents[2])
    fakes = str(Path(__file__).parent.parent / "cascade")
    with subprocess.Popen(
        [sys.executable, str(script), f"{place}:{fakes}", str(complete_night.folder)],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            products = complete_night.folder / "soxs" / "products"
            wait_for(lambda: list(products.glob("*/flat/NIR*/job.json")) or process.poll() is not None)
            children = children_of(process.pid)
            assert children
            begin = time.monotonic()
            process.send_signal(number)
            _, err = process.communicate(timeout=45)
        finally:
            process.kill()
    assert time.monotonic() - begin < 30.0  # the call that hangs would take a minute
    assert process.returncode == code
    assert number == signal.SIGKILL or f"stopped by {signal.Signals(number).name}" in err
    wait_for(lambda: not any(is_running(child) for child in children))
    assert number == signal.SIGKILL or not (complete_night.folder / "soxs" / "tmp").exists()
    finished = len(list(products.glob("*/*/*/job.json")))
    result, out, _ = soxs("reduce", "all", complete_night.folder, "--no-plots", "--json")
    assert result == 0
    assert len(json.loads(out)["ran"]) == CALLS - finished
    assert not (complete_night.folder / "soxs" / "tmp").exists()

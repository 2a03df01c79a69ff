"""Disks and folders that refuse: one line that names the place, nothing half-written, the next run succeeds."""

import contextlib
import errno
import io
import os
import subprocess
import sys

import pytest
from astropy.io import fits

# Runs the command without the powers of root, so that a folder's mode means something whoever runs the tests.
POWERLESS = """
import ctypes, sys
library = ctypes.CDLL(None)
for capability in (1, 2, 3):
    library.prctl(24, capability, 0, 0, 0)
import os
os.execv(sys.executable, [sys.executable, "-m", "soxs_recipes.cli", *sys.argv[1:]])
"""


def powerless(*words, **more):
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | more
    command = [sys.executable, "-c", POWERLESS, *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)


@pytest.fixture
def read_only(tmp_path, raws):
    """A folder of frames in which nothing can be written."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for path in raws["bias"]:
        os.link(path, folder / path.name)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def test_read_only_raw_folder(read_only, tmp_path):
    before = sorted(read_only.iterdir())
    refused = powerless("reduce", "all", read_only, "--no-plots")
    assert refused.returncode == 20
    (line,) = [one for one in refused.stderr.splitlines() if one.startswith("soxs: error: ")]
    assert str(read_only) in line
    assert "-o FOLDER" in line
    done = powerless("reduce", "all", read_only, "-o", tmp_path / "ws", "--no-plots")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "ws").glob("products/**/*MASTER_BIAS*.fits"))) == 1
    assert sorted(read_only.iterdir()) == before


def test_read_only_output_of_a_recipe(read_only, tmp_path):
    answer = powerless("mbias", read_only, "-o", read_only / "out", "--no-plots")
    assert answer.returncode == 20
    assert f"{read_only / 'out'}: cannot be written (Permission denied)" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_unreadable_frame(read_only, tmp_path):
    hidden = read_only / "bias2.fits"
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in read_only.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / hidden.name).chmod(0)
    answer = powerless("mbias", copy, "-o", tmp_path / "out", "--no-plots")
    assert answer.returncode in (20, 22)
    assert "bias2.fits" in answer.stderr
    assert "Permission denied" in answer.stderr
    done = powerless("reduce", "all", copy, "-o", tmp_path / "ws", "--no-plots", "-j", "1")
    assert done.returncode == 0, done.stderr
    assert "bias2.fits: " in done.stdout + done.stderr
    assert len(list((tmp_path / "ws").glob("products/**/*MASTER_BIAS*.fits"))) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MB, where the system lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no right to mount a small disk; the injected faults below stand for it")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_full_disk(small_disk, soxs, raws, write_sof):
    sof, out = write_sof(*raws["bias"]), small_disk / "out"
    filler = small_disk / "filler"
    filler.write_bytes(bytes(4_000_000))
    answer = soxs("mbias", sof, "-o", out, "--no-plots")
    assert answer.code == 20
    assert "disk is full" in answer.error or "No space left" in answer.error
    assert str(small_disk) in answer.error
    assert not list(out.rglob("*.fits"))
    filler.unlink()
    large = soxs("mbias", sof, "-o", out, "--no-plots")
    assert large.code in (0, 20)
    for path in out.rglob("*.fits"):
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")


def test_a_full_disk_ends_a_night_before_it_starts(small_disk, soxs, raws):
    answer = soxs("reduce", "all", raws["bias"][0].parent, "-o", small_disk / "ws", "--no-plots", "-j", "1")
    assert answer.code == 20
    assert str(small_disk) in answer.error
    assert "make room" in answer.error
    assert not list((small_disk / "ws").rglob("*.fits"))


class FailingDisk:
    """Fails the n-th durable write; counts all."""

    def __init__(self, number, code):
        self.number, self.code, self.count = number, code, 0

    def __call__(self, original):
        def write_atomic(path, write):
            self.count += 1
            return original(path, self.half_of(write) if self.count == self.number else write)

        return write_atomic

    def half_of(self, write):
        def write_half(stream):
            whole = io.BytesIO()
            write(whole)
            content = whole.getvalue()
            # Half of it is on the disk when it fails.
            stream.write(content[: len(content) // 2])
            stream.flush()
            raise OSError(self.code, os.strerror(self.code), stream.name)

        return write_half


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_each_write_may_fail(code, raws, reduce_sof, left, monkeypatch, tmp_path):
    """Fail the first, second, third... write until the run passes; after each all is clean."""
    from soxs_recipes.fits_files import writing

    original = writing._write_atomic
    numbers = range(1, 20) if code == errno.ENOSPC else (1, 2, 99)
    outcomes = []
    for number in numbers:
        disk = FailingDisk(number, code)
        monkeypatch.setattr(writing, "_write_atomic", disk(original))
        answer = reduce_sof("mbias", *raws["bias"])
        outcomes.append(answer.code)
        if disk.count < number:
            break
        assert answer.code == 20
        assert "cannot be written" in answer.error
        assert left() == []
    assert outcomes[-1] == 0
    assert len(outcomes) >= 3
    assert set(outcomes[:-1]) == {20}
    assert len([name for name in left() if name.endswith(".fits")]) == 2


def test_output_that_is_a_file(raws, soxs, write_sof, tmp_path):
    (tmp_path / "out").write_text("in the way")
    answer = soxs("mbias", write_sof(*raws["bias"]), "-o", tmp_path / "out")
    assert answer.code == 20
    assert str(tmp_path / "out") in answer.error
    assert (tmp_path / "out").read_text() == "in the way"


@pytest.mark.parametrize("name", ["with blanks", "наблюдения", "a'quote", "-leading"])
def test_odd_names_of_folders(name, raws, soxs, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    for path in raws["bias"][:2]:
        os.link(path, folder / path.name)
    answer = soxs("mbias", folder, "-o", folder / "out", "--no-plots")
    assert answer.code == 0, answer.err
    assert len(list((folder / "out").glob("*.fits"))) == 2


def test_an_austere_environment(raws, tmp_path):
    """No HOME, no TERM, no DISPLAY, C locale, umask 077."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for path in raws["bias"]:
        os.link(path, folder / path.name)
    command = [sys.executable, "-m", "soxs_recipes.cli", "reduce", "all", str(folder), "-j", "1"]
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=kept | {"LC_ALL": "C"}, umask=0o077, check=False
    )
    assert done.returncode == 0, done.stderr
    products = list((folder / "soxs").glob("products/**/*.fits"))
    assert len(products) == 2
    with contextlib.suppress(NotImplementedError):
        assert all(path.stat().st_mode & 0o077 == 0 for path in products)

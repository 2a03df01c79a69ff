from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.cascade.sums_ahead import SumsAhead
from soxs_recipes.cascade.worker import call_recipe
from soxs_recipes.errors import InputError
from soxs_recipes.eso import signing


def raw_frames(folder, count):
    paths = []
    for number in range(count):
        path = folder / f"raw{number}.fits"
        fits.PrimaryHDU(np.full((40, 50), number, np.int16)).writeto(path)
        paths.append(str(path))
    return paths


@pytest.fixture
def nothing_known(monkeypatch):
    monkeypatch.setattr(signing, "_known", {})


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_sums_are_found_ahead_and_told(tmp_path, nothing_known):
    paths = raw_frames(tmp_path, 3)
    stated = tmp_path / "stated.fits"
    fits.PrimaryHDU(np.zeros((4, 4)), fits.Header([("DATAMD5", "f" * 32)])).writeto(stated)
    sums = SumsAhead([str(tmp_path / "gone.fits"), str(stated), *paths])
    with sums.running():
        wait_for(lambda: len(signing._known) == 3)
        told = sums.hand_out([*paths[:2], str(stated)])
    assert {path for path, *_ in told} == set(paths[:2])  # what the header states is not looked for
    assert [md5 for *_, md5 in told] == [signing._computed_md5(path) for path in paths[:2]]


def test_what_is_handed_out_is_left_to_who_takes_it(tmp_path, nothing_known):
    paths = raw_frames(tmp_path, 2)
    sums = SumsAhead(paths)
    assert sums.hand_out(paths[:1]) == []
    with sums.running():
        wait_for(lambda: signing._known)
    assert {path for path, *_ in signing._known} == {paths[1]}


def test_frames_that_are_left_are_not_waited_for(tmp_path, nothing_known, monkeypatch):
    begun, may_go_on = threading.Event(), threading.Event()

    def slow(_path):
        begun.set()
        may_go_on.wait(10)

    monkeypatch.setattr("soxs_recipes.cascade.sums_ahead.data_md5", slow)
    sums = SumsAhead(raw_frames(tmp_path, 5))
    with sums.running():
        assert begun.wait(10)
        threading.Timer(0.2, may_go_on.set).start()
    assert len(sums._left) == 4


def test_a_worker_takes_what_it_is_told(tmp_path, nothing_known):
    (path,) = raw_frames(tmp_path, 1)
    state = signing._state(path)
    with pytest.raises(InputError, match="there is no recipe"):
        call_recipe({"recipe": "none", "md5s": [(*state, "told")]})
    assert signing.data_md5(path) == "told"
    fits.setval(path, "OBJECT", value="an edited frame is looked at again")
    assert signing.data_md5(path) == signing._computed_md5(path)

"""What a worker process does to itself to be quick changes no product."""

import gc
import subprocess
import sys
import weakref

from soxs_recipes.cascade import worker

_PROGRAM = """
import hashlib, io, sys
import numpy as np
from astropy.config import ConfigItem
from astropy.io import fits
from soxs_recipes.cascade import worker
from soxs_recipes.fits_files import table_hdu
from soxs_recipes.fits_files.signed import write_signed

if sys.argv[1] == "warm":
    worker.warm_up()
left = sum(isinstance(item, ConfigItem) for item in vars(type(fits.conf)).values())
header = fits.Header([("HIERARCH ESO QC A B", 1.25, "[px] what"), ("OBJECT", "it's  ", "odd")])
columns = {"WAVE": np.arange(5.0), "NAME": np.array(["a ", "bc", "", "d", "e"])}
content = io.BytesIO()
write_signed(content, [table_hdu("T", columns, {"WAVE": "nm"}, {"WAVE": "vacuum"})], header)
print(left, hashlib.md5(content.getvalue()).hexdigest())
"""


def _run(how: str) -> tuple[int, str]:
    words = [sys.executable, "-c", _PROGRAM, how]
    left, digest = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return int(left), digest


def test_settled_settings_write_the_same_bytes():
    (cold, first), (warm, second) = _run("cold"), _run("warm")
    assert cold > 3
    assert warm == 0
    assert first == second


def test_circles_of_a_call_are_let_go_and_what_is_kept_is_not_searched_again():
    left = []

    class Node:
        pass

    def call(_):
        node = Node()
        node.own = node
        left.append(weakref.ref(node))
        return {}

    try:
        for _ in range(3):
            worker._answer(call, {})
        worker._let_go()
        assert [one() for one in left] == [None] * 3
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()


class _Requests:
    """What stands for a connection: requests of these kinds, then its end."""

    def __init__(self, kinds):
        self.kinds, self.answers = list(kinds), []

    def recv(self):
        if not self.kinds:
            raise EOFError
        return self.kinds.pop(0), {}

    def send(self, answer):
        self.answers.append(answer)


def test_room_is_given_back_before_and_after_recipes_but_not_between_plots(monkeypatch):
    done = []
    monkeypatch.setattr(worker, "_let_go", lambda: done.append("let go"))
    monkeypatch.setattr(worker, "draw_plots", lambda request: done.append("plots") or {})
    monkeypatch.setattr(worker, "_resolved", lambda target: lambda request: done.append("recipe") or {})
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    monkeypatch.setattr(worker, "keep_freed", lambda: None)
    requests = _Requests(["recipe", "plots", "plots", "plots", "recipe"])
    worker.serve(requests, "elsewhere:call")
    assert len(requests.answers) == 5
    assert done == ["let go", "recipe", "let go", "plots", "plots", "plots", "let go", "recipe"]

"""What a process holds after images were let go, beside small arrays that stay."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from soxs_recipes.memory import keep_images_apart, return_freed

if "apart" in sys.argv:
    keep_images_apart()
start = int(Path("/proc/self/statm").read_text().split()[1])
images, small = [], []
for _ in range(20):
    images.append(np.ones(16_000_000, np.uint8))
    small.append(np.ones(1_000_000, np.uint8))
images.clear()
if "return" in sys.argv:
    return_freed()
print((int(Path("/proc/self/statm").read_text().split()[1]) - start) * 4096 / 16e6 - 20 / 16)
"""


def images_kept(*words):
    """Room, in images, that a process does not give back; glibc cuts them from one heap, as it does in the end."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
    command = [sys.executable, "-c", SCRIPT, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
@pytest.mark.parametrize("word", ["apart", "return"])
def test_the_room_of_images_goes_back(word):
    assert images_kept() > 10, "glibc would have done it without us"
    assert images_kept(word) < 1

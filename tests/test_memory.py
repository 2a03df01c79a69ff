"""What a process keeps of the room of images that were let go."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from soxs_recipes.memory import keep_freed, return_freed

if "keep" in sys.argv:
    keep_freed()
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
    """Room, in images, that a process does not give back; by itself it gives each image back."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 22)}
    command = [sys.executable, "-c", SCRIPT, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_the_room_of_images_is_kept_until_it_is_returned():
    assert images_kept() < 1
    assert images_kept("keep") > 18
    assert images_kept("keep", "return") < 1

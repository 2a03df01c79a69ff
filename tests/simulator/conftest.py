"""Models shared by the simulator's tests; geometry is computed once per module run."""

import pytest

from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.spectrograph import Spectrograph


@pytest.fixture(scope="session", params=["VIS", "NIR"])
def spectrograph(request):
    return Spectrograph.of_seed(request.param, 3, Effects())


@pytest.fixture(scope="session")
def clean_vis():
    """Only geometry, PSF, blaze and slit: no flaws of detector, sky or atmosphere."""
    return Spectrograph.of_seed("VIS", 3, Effects.none())

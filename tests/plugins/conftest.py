import pytest
from bias_frames import write_biases


@pytest.fixture(scope="session")
def bias_sof(tmp_path_factory):
    """A set of five binned biases of the UV-VIS arm."""
    folder = tmp_path_factory.mktemp("biases")
    sof = folder / "bias.sof"
    lines = [f"{name} BIAS_VIS\n" for name in write_biases(folder)]
    sof.write_text("# as pyesorex takes it: no groups\n" + "".join(lines))
    return sof

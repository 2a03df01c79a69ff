"""Build every static calibration: `python static_calib/scripts/build.py --help`.

Nothing is downloaded: the wheels come from PyPI (`pip download --no-deps <name>==<version>`), the folder from an
installed soxspipe. Versions and hashes of what was read are written into each table.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from sources import Sources

BUILDERS = ("spectral_format", "arc_lines", "sky", "standards", "extinction", "bad_pixels")


def main() -> None:
    """Run the builders named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soxspipe", type=Path, required=True, help="its folder resources/static_calibrations")
    for name in ("pypeit", "desispec", "scopesim"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"the {name} wheel")
    parser.add_argument("builders", nargs="*", default=BUILDERS, metavar="builder", help=", ".join(BUILDERS))
    arguments = parser.parse_args()
    sources = Sources(arguments.soxspipe, arguments.pypeit, arguments.desispec, arguments.scopesim)
    for name in arguments.builders:
        if name not in BUILDERS:
            parser.error(f"no builder {name!r}; there are {', '.join(BUILDERS)}")
        import_module(name).build(sources)
        sources.take()


if __name__ == "__main__":
    main()

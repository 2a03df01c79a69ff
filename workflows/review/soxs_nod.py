"""Reflex's PythonActor that shows what soxs_nod made and lets one repeat it: see docs/review.md."""

import sys

from soxs_recipes.review.actor import main

if __name__ == "__main__":
    sys.exit(main("soxs_nod"))

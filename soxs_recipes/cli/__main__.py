"""`python -m soxs_recipes.cli` is `soxs`."""

from soxs_recipes.cli.main import run

if __name__ == "__main__":
    run()

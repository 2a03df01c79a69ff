"""A room imports only from floors below its own: read from the imports, function-level ones included."""

import ast
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

import soxs_recipes

PACKAGE = Path(soxs_recipes.__file__).parent

FLOORS = {
    "cli": 7,
    "monitor": 6,
    "review": 6,
    "integration": 6,
    "cascade": 5,
    "plugins": 5,
    "recipes": 4,
    "reduction": 3,
    "plots": 3,
    "fits_files": 3,
    "simulator": 3,
    "data": 2,
    "eso": 1,
    "instrument": 1,
    "errors": 0,
    "threads": 0,
}
# Rooms within rooms: each imports only from those before it ("" are the recipes themselves).
WITHIN = {
    "recipes": ("framework", "steps", ""),
    "reduction": (
        "numerics",
        "frames",
        "orders",
        "flat",
        "dispersion",
        "sky",
        "profiles",
        "extraction",
        "exposures",
        "flexure",
        "flux",
        "rectified",
    ),
}
# Rooms of the same floor that may be used by a neighbour, and what is forbidden although it lies below.
SIDEWAYS = {("simulator", "fits_files")}
FORBIDDEN_MODULES = {
    "reduction": ("astropy.io.fits", "matplotlib", "soxs_recipes.fits_files", "soxs_recipes.eso"),
    "data": ("astropy", "matplotlib", "scipy"),
    "plots": ("astropy.io.fits", "soxs_recipes.fits_files"),
    "instrument": ("numpy", "astropy", "scipy", "matplotlib"),
}


def imported_modules(path):
    """Absolute names of everything that a file imports, at any depth, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module):
    """The room a module of ours stands in, None for other packages and the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == "soxs_recipes" and len(parts) > 1 else None


def violations(path, room):
    found = []
    for module in imported_modules(path):
        if any(module == name or module.startswith(name + ".") for name in FORBIDDEN_MODULES.get(room, ())):
            found.append(f"{path.name} imports {module}")
        other = room_of(module)
        if other is None or other == room or other not in FLOORS:
            continue
        allowed = FLOORS[other] < FLOORS[room] or (room, other) in SIDEWAYS
        if not allowed:
            found.append(f"{path.name} ({room}, floor {FLOORS[room]}) imports {module} (floor {FLOORS[other]})")
        if other == "simulator" and room in {"reduction", "recipes"}:
            found.append(f"{path.name} imports the simulator")
    return found


ROOMS = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name in FLOORS)


def test_every_room_has_a_floor():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert rooms, "no rooms found"
    assert rooms <= set(FLOORS)


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_from_below(room):
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    assert [line for path in files for line in violations(path, room)] == []


def test_only_the_choice_of_implementation_imports_cpl():
    """And the file that pyesorex reads, which is of no use without it."""
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in files
        if any(module.split(".")[0] == "cpl" for module in imported_modules(path))
    }
    assert found == {"eso/__init__.py", "plugins/pyesorex/soxs_pyesorex.py"}


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("reduction", "from soxs_recipes.recipes import base"),
        ("reduction", "def f():\n    from astropy.io import fits"),
        ("data", "import soxs_recipes.reduction.sky.sky_model"),
        ("recipes", "from soxs_recipes import simulator"),
        ("plots", "from soxs_recipes.fits_files import read_frame"),
    ],
)
def test_a_breach_is_seen(tmp_path, room, line):
    path = tmp_path / "breach.py"
    path.write_text(line)
    assert violations(path, room)


def inner_room(package, parts):
    """Which of a package's rooms a module or file stands in; "" for the package itself."""
    return parts[0] if parts and parts[0] in WITHIN[package] else ""


def inner_breaches(package, room, path):
    """Imports of rooms of the same package that come later."""
    rank = WITHIN[package].index
    found = []
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[:2] != ["soxs_recipes", package] or len(parts) == 2:
            continue
        other = inner_room(package, parts[2:])
        if rank(other) > rank(room):
            found.append(f"{path.name} ({room}) imports {module}")
    return found


@pytest.mark.parametrize("package", WITHIN)
def test_rooms_within_a_room_import_in_their_order(package):
    folder = PACKAGE / package
    files = sorted(path for path in folder.rglob("*.py") if path.stem != "__init__")
    assert len(files) > 40
    assert {path.name for path in folder.iterdir() if (path / "__init__.py").exists()} <= set(WITHIN[package])
    rooms = {path: inner_room(package, path.relative_to(folder).parts) for path in files}
    assert set(rooms.values()) == set(WITHIN[package])
    assert [line for path, room in rooms.items() for line in inner_breaches(package, room, path)] == []


@pytest.mark.parametrize(
    ("package", "room", "line"),
    [
        ("reduction", "sky", "from soxs_recipes.reduction.extraction import refit"),
        ("reduction", "numerics", "def f():\n    from soxs_recipes.reduction.sky.order_pixels import OrderPixels"),
        ("recipes", "steps", "import soxs_recipes.recipes.stare"),
        ("recipes", "framework", "from soxs_recipes.recipes.steps.beams import subtract"),
    ],
)
def test_a_breach_within_is_seen(tmp_path, package, room, line):
    path = tmp_path / "breach.py"
    path.write_text(line)
    assert inner_breaches(package, room, path)


@pytest.mark.parametrize("room", ["fits_files", "instrument", "simulator"])
def test_no_lazy_name_is_a_module(room):
    """Once the module is loaded, the name means the module."""
    package = import_module(f"soxs_recipes.{room}")
    modules = {module.name for module in iter_modules(package.__path__)}
    assert len(modules) > 3
    assert not modules & set(package.__all__)

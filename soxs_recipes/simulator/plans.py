"""What a simulated night observes: templates, their offset patterns, and named plans of them.

Offsets are displacements of the target on the slit [I]: CUMOFF Y along it (towards positive slit positions),
CUMOFF X across it (towards positive dispersion coordinates), as no public source tells their signs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from soxs_recipes.errors import InputError

__all__ = ["FAILURES", "PLANS", "PLAN_EFFECTS", "Pattern", "Template", "night_plan"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where a template's exposures look.

    Attributes
    ----------
    mode : {"STARE", "NOD", "OFFSET", "MAP"}
    beams : str
        A letter an exposure: A and B of a nod, O (object) and S (sky) of an offset, M of a map.
    throw : float [arcsec]
        Between A and B along the slit.
    jitter : float [arcsec]
        Width of the box from which each pair draws its common displacement along the slit.
    fixed_offset : (ra, dec) [arcsec]
        From the object to the sky field.
    steps : tuple of (x, y) [arcsec]
        Displacements of the target of each exposure of a map or of a user's own pattern.
    typed_sky : bool
        Whether sky exposures say SKY as `DPR TYPE`; otherwise they say OBJECT and the offset tells.
    """

    mode: str = "STARE"
    beams: str = ""
    throw: float = 0.0
    jitter: float = 0.0
    fixed_offset: tuple[float, float] = (0.0, 0.0)
    steps: tuple[tuple[float, float], ...] = ()
    typed_sky: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """Exposures that one template takes.

    Attributes
    ----------
    arm, kind : str
    count : int
        Not used when `pattern` has beams.
    off_count : int
        Lamp-off frames after them.
    slit : str
    lamp : {"QTH", "D2"}
    exposure_time : float or None [s]
        None: the usual one.
    pattern : Pattern
    target : str
        Object of a science template; "" for the demonstration supernova.
    source : {"supernova", "faint", "galaxy", "none"}
        What a science template finds there.
    moon : float or None
        None: drawn.
    varying : bool
        Whether seeing, clouds and airglow change from exposure to exposure and the instrument bends with time.
    at_night : bool
        A lamp template between those on sky.
    flexure : (dx, dy) or None [px]
        Of all its exposures, each axis to a side that the seed draws; None: drawn.
    drift : (dx, dy) [px/h]
        Added to the flexure from the beginning of the night on, with signs that the seed draws.
    exposure_times : tuple of float [s]
        One an exposure, in place of `exposure_time`.
    middles : tuple of float [s]
        Mid-times of the exposures after the beginning of the night; empty: one after the other.
    """

    arm: str
    kind: str
    count: int = 1
    off_count: int = 0
    slit: str | None = None
    lamp: str = "QTH"
    exposure_time: float | None = None
    pattern: Pattern = Pattern()
    target: str = ""
    source: str = "supernova"
    moon: float | None = None
    varying: bool = False
    at_night: bool = False
    flexure: tuple[float, float] | None = None
    drift: tuple[float, float] = (0.0, 0.0)
    exposure_times: tuple[float, ...] = ()
    middles: tuple[float, ...] = ()

    @property
    def exposures(self) -> int:
        """Exposures without the lamp-off frames."""
        return len(self.pattern.beams) or self.count

    @property
    def on_sky(self) -> bool:
        """Whether it needs the night sky."""
        return self.kind in ("standard", "science")


_ARMS = ("VIS", "NIR")
_STARE_STANDARD = ("standard", Pattern())
_NOD_STANDARD = ("standard", Pattern("NOD", "AB", throw=5.0))
_OFFSET = Pattern("OFFSET", "OSSO", jitter=1.0, fixed_offset=(25.0, 15.0))
_OFFSET_STANDARD = ("standard", replace(_OFFSET, beams="OS", jitter=0.0))
_NOD = Pattern("NOD", "ABBA", throw=5.0, jitter=1.0)
_MAP = Pattern("MAP", "MMMMM", steps=tuple((float(x), 0.0) for x in (-2, -1, 0, 1, 2)))
_BENDING = (1.7, 1.2)  # px/h: over 1 px in half an hour
_GENERIC = Pattern("OFFSET", "OSOS", steps=((0.0, 1.0), (30.0, 0.0), (0.0, -1.0), (-25.0, 10.0)))


def _calibrations(arm: str, repeats: int = 5) -> list[Template]:
    """Those of the afternoon, with flats of both slits."""
    if arm == "VIS":
        start = [Template(arm, "bias", repeats)]
        off = {}
    else:
        times = (20.0, 180.0, 600.0)
        start = [Template(arm, "dark", repeats, exposure_time=time) for time in times]
        off = {"off_count": 1}
    return [
        *start,
        Template(arm, "pinhole_arc", **off),
        Template(arm, "pinhole_flat", **off),
        Template(arm, "slit_flat", repeats, slit="SLIT1.0", **({"off_count": repeats} if off else {})),
        Template(arm, "slit_flat", repeats, slit="SLIT5.0", **({"off_count": repeats} if off else {})),
        Template(arm, "multi_pinhole_arc", **off),
    ]


def _arm_templates(arm: str, exposures: int, repeats: int) -> list[Template]:
    return [
        *_calibrations(arm, repeats),
        Template(arm, "standard", slit="SLIT5.0"),
        Template(arm, "science", exposures, slit="SLIT1.0"),
    ]


def _both(exposures: int, repeats: int) -> list[Template]:
    return [*_arm_templates("VIS", exposures, repeats), *_arm_templates("NIR", exposures, repeats)]


def _without(templates: list[Template], kind: str, slit: str | None = None) -> list[Template]:
    return [t for t in templates if t.kind != kind or (slit is not None and t.slit != slit)]


def _full() -> list[Template]:
    deuterium = [Template("VIS", "slit_flat", 5, slit=slit, lamp="D2") for slit in ("SLIT1.0", "SLIT5.0")]
    other = [Template(arm, "slit_flat", 5, slit="SLIT1.5") for arm in _ARMS]
    other += [Template(arm, "science", 3, slit="SLIT1.5") for arm in _ARMS]
    return _both(4, 5) + deuterium + other


def _observing(*science: dict[str, object], standard: tuple[str, Pattern] = _STARE_STANDARD) -> list[Template]:
    """Calibrations, a standard and science templates of both arms under a changing sky."""
    templates = []
    for arm in _ARMS:
        templates += _calibrations(arm)
        templates.append(Template(arm, standard[0], slit="SLIT5.0", pattern=standard[1], varying=True))
        templates += [Template(arm, "science", **{"slit": "SLIT1.0", "varying": True, **one}) for one in science]
    return templates


def _linearity() -> list[Template]:
    """Pairs of flats of rising exposure time up to saturation, with biases or lamp-off frames."""
    times = {
        "VIS": (1, 2, 4, 7, 10, 14, 18, 22, 26, 30, 34, 38, 46, 60),
        "NIR": (2, 4, 8, 12, 16, 20, 26, 32, 38, 44, 50, 58),
    }
    templates = [Template("VIS", "bias", 5)]
    for arm, series in times.items():
        pairs = tuple(float(time) for time in series for _ in range(2))
        templates.append(Template(arm, "linearity", len(pairs), slit="SLIT5.0", exposure_times=pairs))
    off = (2.0, 2.0, 20.0, 20.0, 58.0, 58.0)
    templates.append(Template("NIR", "linearity", 0, off_count=6, slit="SLIT5.0", exposure_times=off))
    return templates


def _one_science(**science: object) -> list[Template]:
    """Calibrations and one science template of both arms, without a standard."""
    dark = Template("NIR", "dark", 5, exposure_time=science.get("exposure_time"))
    templates = []
    for arm in _ARMS:
        templates += [*_calibrations(arm), *([dark] if arm == "NIR" else [])]
        templates.append(Template(arm, "science", slit="SLIT1.0", **science))
    return templates


def _between_arcs(kind: str) -> list[Template]:
    """A science exposure between two arcs of the user's own, 1 px of flexure apart."""
    templates = _one_science(exposure_time=1800.0, varying=True, flexure=(0.0, 0.0), drift=_BENDING)
    arc = {"at_night": True, "flexure": (0.0, 0.0), "drift": _BENDING}
    return [
        one
        for template in templates
        for one in (
            (
                Template(template.arm, kind, slit="SLIT1.0", **arc),
                template,
                Template(template.arm, kind, slit="SLIT1.0", **arc),
            )
            if template.kind == "science"
            else (template,)
        )
    ]


def _faint() -> list[Template]:
    """A target of r = 20 for an hour without moon."""
    times = {"VIS": (4, 900.0), "NIR": (6, 600.0)}
    dark = {"source": "faint", "moon": 0.0, "target": "SN2026faint"}
    templates = _observing(dark)
    return [
        replace(t, count=times[t.arm][0], exposure_time=times[t.arm][1]) if t.kind == "science" else t
        for t in templates
    ]


def _synchronised() -> list[Template]:
    """Exposures of both arms about the same mid-times, of different lengths."""
    templates = _observing({"count": 3, "middles": (1400.0, 2400.0, 3400.0)})
    return [t if t.kind != "science" or t.arm == "VIS" else replace(t, exposure_time=600.0) for t in templates]


def _modes() -> list[Template]:
    """One night with every mode and its calibrations once."""
    return _observing(
        {"count": 2, "target": "SN2026abc"},
        {"pattern": _NOD, "target": "SN2026abd"},
        {"pattern": _OFFSET, "target": "SN2026abe"},
    )


PLANS: dict[str, Callable[[], list[Template]]] = {
    "demo": lambda: _both(3, 5),
    "full": _full,
    "vis": lambda: _arm_templates("VIS", 3, 5),
    "nir": lambda: _arm_templates("NIR", 3, 5),
    "tiny": lambda: _both(1, 5),
    "no-standard": lambda: _without(_both(3, 5), "standard"),
    "no-wide-flat": lambda: _without(_both(3, 5), "slit_flat", "SLIT5.0"),
    "dead-xenon-lamp": lambda: _both(3, 5),
    "dead-arc-lamps": lambda: _both(3, 5),
    "dead-flat-lamp": lambda: _both(3, 5),
    "modes": _modes,
    "nod": lambda: _observing({"pattern": _NOD}, standard=_NOD_STANDARD),
    "offset": lambda: _observing({"pattern": _OFFSET}, standard=_OFFSET_STANDARD),
    "offset-sky": lambda: _observing({"pattern": replace(_OFFSET, typed_sky=True)}, standard=_OFFSET_STANDARD),
    "generic-offset": lambda: _observing({"pattern": _GENERIC}),
    "synchronised": _synchronised,
    "user-arcs": lambda: _between_arcs("slit_arc"),
    "user-pinhole-arcs": lambda: _between_arcs("pinhole_arc"),
    "flexure": lambda: _observing({"count": 2, "flexure": (1.0, 1.0)}),
    "faint": _faint,
    "empty": lambda: _observing({"source": "none"}),
    "lingain": _linearity,
    "mapping": lambda: _observing({"pattern": _MAP, "target": "NGC2997", "source": "galaxy"}),
}
# What the lamps of the NIR arm then do: changes of their requests, by the kind of lamp.
FAILURES: dict[str, tuple[str, dict[str, object]]] = {
    "dead-xenon-lamp": ("arc", {"dead_lamp": "Xe"}),
    "dead-arc-lamps": ("arc", {"lamp_scale": 1e-6}),
    "dead-flat-lamp": ("continuum", {"lamp_scale": 1e-6}),
}


# Effects that a plan is there to show, where the caller names none.
PLAN_EFFECTS = {"lingain": {"curvature": 1.0}}


def night_plan(name: str) -> list[Template]:
    """The templates of a plan; InputError lists the plans."""
    if name not in PLANS:
        raise InputError(f"there is no plan {name!r}; plans are {', '.join(PLANS)}")
    return PLANS[name]()

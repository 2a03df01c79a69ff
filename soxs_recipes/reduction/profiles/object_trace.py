"""Where an object runs along the slit and how wide it is, in all orders together.

Every order's pixels, cut into chunks along the order, give normal equations for (centre, ln width, tail, optics)
about the present profile, with amplitude and sky pedestal eliminated. One ridge regression over all chunks then
moves a common curve (low order in wavelength: atmospheric dispersion, seeing) and what each order adds to it.
Orders with signal follow their own trace, orders without follow the others, and with no signal at all the start is
kept: the ladder of fallbacks is the prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import legvander

from soxs_recipes.compiled import compiled
from soxs_recipes.reduction.profiles.flux_errors import flux_errors
from soxs_recipes.reduction.profiles.profile_bend import Bend, bend_equations, eliminate
from soxs_recipes.reduction.profiles.slit_profile import (
    OPTICS_RANGE,
    TAIL_RANGE,
    ProfileAverages,
    SlitProfile,
    legendre_matrix,
    series_at,
)
from soxs_recipes.reduction.sky.order_pixels import OrderGrid, OrderPixels

__all__ = [
    "ChunkEquations",
    "ProfileStep",
    "TraceQuality",
    "bending_equations",
    "chunk_equations",
    "start_profiles",
    "update_profiles",
]

_CHUNKS = 12
_MIDDLES = (2.0 * np.arange(_CHUNKS) + 1.0) / _CHUNKS - 1.0  # of the chunks, with the order from -1 to 1
_AT_MIDDLES = legendre_matrix(_MIDDLES)
_NODES = np.linspace(-1.0, 1.0, 9)  # where profiles are moved
_OWN_TRACE = 15.0  # Signal-to-noise of an order's centroid information that makes the trace its own.
_CENTRE_PRIORS = (0.6, 0.25, 0.12)  # arcsec: common curve, P0 P1 P2 of wavelength
_CENTRE_ORDER_PRIORS = (0.10, 0.08, 0.05, 0.03)
_WIDTH_PRIORS = (0.4, 0.3)  # ln width: constant, slope against ln wavelength
_WIDTH_ORDER_PRIORS = (0.04, 0.03, 0.02)
_TAIL_PRIOR = 0.1
_OPTICS_PRIOR = 0.012  # arcsec^2
_SHAPE = 4  # centre, ln width, tail, optics
_AT_ONCE = 128  # pixels whose columns stay in the processor's cache
_HELD = 1e12  # 1/prior^2 of what may not move
_SEEING_SLOPE = -0.2


@dataclass(frozen=True, slots=True)
class ChunkEquations:
    """Normal equations of (centre, ln width, tail, optics) in the chunks of one order.

    Attributes
    ----------
    curvature : ndarray (chunks, 4, 4)
    gradient : ndarray (chunks, 4)
    response : ndarray (chunks, 4)
        Relative change of the source's flux by a unit of each.
    information : ndarray (chunks,)
        Squared signal-to-noise of the flux where the profile is known.
    position : ndarray (chunks,) [bins]
    wavelength : ndarray (chunks,) [nm]
    bend : Bend or None
        None where the profile stays as bent as it is.
    """

    curvature: np.ndarray
    gradient: np.ndarray
    response: np.ndarray
    information: np.ndarray
    position: np.ndarray
    wavelength: np.ndarray
    bend: Bend | None = None


@dataclass(frozen=True, slots=True)
class TraceQuality:
    """How an order's trace came about.

    Attributes
    ----------
    rung : str
        "own", "joint" (shared with the other orders) or "expected" (nothing to follow).
    centre_error : float [arcsec]
        Of the trace, from the posterior.
    residual : float [arcsec]
        Weighted rms of the last centre steps of the chunks.
    """

    rung: str
    centre_error: float
    residual: float


class ProfileStep(NamedTuple):
    """What one step of the fit made of a source's profiles.

    Attributes
    ----------
    profiles : list of SlitProfile
        One an order.
    quality : list of TraceQuality
    errors : ndarray (orders, causes)
        Of the fluxes, as from `flux_errors`.
    gain : float
        By how much the step lowers chi2, priors included and bends left out, were all linear.
    """

    profiles: list[SlitProfile]
    quality: list[TraceQuality]
    errors: np.ndarray
    gain: float


def start_profiles(
    grids: list[OrderGrid], position: float, fwhm: float, tail: float = 0.2, slope: float = _SEEING_SLOPE
) -> list[SlitProfile]:
    """First profiles: one slit position, width going as wavelength^slope."""
    reference = float(np.median([np.median(grid.wavelength) for grid in grids]))
    profiles = []
    for grid in grids:
        scaled = np.linspace(-1, 1, 9)
        wavelength = np.interp((scaled + 1) * 0.5 * grid.size, np.arange(grid.size), grid.wavelength)
        log_width = np.log(fwhm) + slope * np.log(wavelength / reference)
        coefficients = np.linalg.lstsq(legvander(scaled, 2), log_width, rcond=None)[0]
        profiles.append(SlitProfile(np.array([position, 0.0, 0.0, 0.0]), coefficients, tail, grid.size))
    return profiles


def chunk_equations(
    pixels: OrderPixels,
    profile: ProfileAverages,
    residual: np.ndarray,
    weight: np.ndarray,
    scale: np.ndarray,
    *,
    companions: Sequence[tuple[ProfileAverages, np.ndarray]] = (),
    nuisance: Sequence[np.ndarray] = (),
) -> ChunkEquations:
    """Equations of one order.

    Parameters
    ----------
    pixels : OrderPixels
    profile : ProfileAverages
        Of these pixels.
    residual : ndarray (pixels,) [e-]
        Data minus model.
    weight : ndarray (pixels,)
        1/variance, 0 where masked.
    scale : ndarray (pixels,) [e- arcsec]
        flat * footprint * flux: what a profile of 1/arcsec would leave in each pixel.
    companions : sequence of (ProfileAverages, ndarray (pixels,))
        Sources of the same shape with their scales: all move and widen together, each with a flux of its own.
    nuisance : sequence of ndarray (pixels,) [e-]
        Further light whose brightness in each chunk is free.
    """
    members = [(profile, scale), *companions]
    shapes = [member.profile for member, _ in members]
    curves = np.array([[shape.centre_in_bins(), 5.0 * shape.fwhm_in_bins()] for shape in shapes])
    near, ends = _near_by_chunk(*pixels.place, pixels.position, pixels.slit, weight, curves, _CHUNKS)
    products = _chunk_products(
        near,
        ends,
        _rows([member.with_derivatives(pixels, near) for member, _ in members]),
        _rows([own for _, own in members]),
        np.array(nuisance).reshape(-1, weight.size),
        residual,
        weight,
    )
    return ChunkEquations(
        *eliminate(products[:, :-1, :-1], products[:, :-1, -1], _SHAPE), *_chunk_middles(pixels.grid)
    )


def bending_equations(
    pixels: OrderPixels,
    tables: ProfileAverages,
    residual: np.ndarray,
    weight: np.ndarray,
    scale: np.ndarray,
    *,
    nuisance: Sequence[np.ndarray] = (),
) -> ChunkEquations:
    """Equations of one order whose profile the data may bend, too; parameters as for `chunk_equations`."""
    shape, bend = bend_equations(pixels, tables, residual, weight, scale, _MIDDLES, nuisance=nuisance)
    return ChunkEquations(*shape, *_chunk_middles(pixels.grid), bend)


def _chunk_middles(grid):
    """Of the chunks: [bins] and [nm]."""
    middle = 0.5 * (_MIDDLES + 1.0) * grid.size
    return middle, np.interp(middle, np.arange(grid.size), grid.wavelength)


def _rows(arrays):
    """Arrays in one, without a copy of a single one: they are large."""
    return np.array(arrays) if len(arrays) > 1 else arrays[0][None]


@compiled
def _near_by_chunk(below, share, position, slit, weight, curves, chunks):
    """Pixels with weight that are near any source, chunk by chunk; where the chunks begin and end.

    curves : ndarray (sources, 2, bins) [arcsec]
        Centre and reach of each.
    """
    last = curves.shape[2] - 1
    found, part = np.empty(slit.size, np.intp), np.empty(slit.size, np.uint8)
    ends, count, per_bin = np.zeros(chunks + 1, np.intp), 0, chunks / (last + 1)
    for i in range(slit.size):
        a, b = below[i], min(below[i] + 1, last)
        near = False
        for source in range(len(curves)):
            centre, reach = curves[source]
            middle = centre[a] + share[i] * (centre[b] - centre[a])
            near |= abs(slit[i] - middle) < reach[a] + share[i] * (reach[b] - reach[a])
        if near and weight[i] > 0:
            found[count], part[count] = i, min(max(int(position[i] * per_bin), 0), chunks - 1)
            ends[part[count] + 1] += 1
            count += 1
    ends = np.cumsum(ends)
    ordered, place = np.empty(count, np.intp), ends.copy()
    for k in range(count):
        ordered[place[part[k]]] = found[k]
        place[part[k]] += 1
    return ordered, ends


@compiled(any_order=True)
def _chunk_products(near, ends, profiles, scales, nuisance, residual, weight):
    """Weighted products of what shape and brightness leave in the pixels, chunk by chunk: (chunks, m, m).

    near, ends
        From `_near_by_chunk`.
    profiles : ndarray (sources, 5, near)
        Of each source and its derivatives by centre, ln width, tail and optics.
    scales, nuisance, residual, weight
        In all pixels, as for `chunk_equations`.

    The columns: the four derivatives of all sources together, each source, their pedestal, nuisance and residual.
    They are made for some pixels at a time, so that they stay at hand.
    """
    sources, others = len(scales), len(nuisance)
    pedestal = _SHAPE + sources
    size = pedestal + others + 2
    result, columns = np.zeros((ends.size - 1, size, size)), np.empty((size, _AT_ONCE))
    for chunk in range(ends.size - 1):
        products = result[chunk]
        for first in range(ends[chunk], ends[chunk + 1], _AT_ONCE):
            many = min(ends[chunk + 1] - first, _AT_ONCE)
            columns[: pedestal + 1] = 0.0
            for k in range(many):
                j = first + k
                i = near[j]
                root = np.sqrt(weight[i])
                for source in range(sources):
                    scale = root * scales[source, i]
                    for shape in range(_SHAPE):
                        columns[shape, k] += scale * profiles[source, 1 + shape, j]
                    columns[_SHAPE + source, k] = scale * profiles[source, 0, j]
                    columns[pedestal, k] += scale
                for other in range(others):
                    columns[pedestal + 1 + other, k] = root * nuisance[other, i]
                columns[-1, k] = root * residual[i]
            for a in range(size):
                for b in range(a + 1):
                    total = 0.0
                    for k in range(many):
                        total += columns[a, k] * columns[b, k]
                    products[a, b] += total
        for a in range(size):
            products[:a, a] = products[a, :a]
    return result


def update_profiles(
    profiles: list[SlitProfile],
    equations: list[ChunkEquations],
    *,
    start: list[SlitProfile],
    fit_centre: bool = True,
    fit_width: bool = True,
    fit_tail: bool = True,
    fit_optics: bool = True,
) -> ProfileStep:
    """One ridge step for all orders of one source, and bends of the profiles whose equations hold them.

    Parameters
    ----------
    profiles : list of SlitProfile
        Present state, one an order.
    equations : list of ChunkEquations
    start : list of SlitProfile
        What the priors pull towards.
    fit_centre, fit_width, fit_tail, fit_optics : bool
        Which may move.
    """
    layout = _Layout(equations)
    precision = layout.precision(centre=fit_centre, width=fit_width, tail=fit_tail, optics=fit_optics)
    normal = np.diag(precision)
    # The priors pull towards the start; what is held stays where it is.
    right = np.where(precision < _HELD, -precision * layout.held(profiles, start), 0.0)
    transfer = layout.transfer.reshape(-1, layout.size)
    curvature = np.stack([equation.curvature for equation in equations])
    normal += transfer.T @ (curvature @ layout.transfer).reshape(-1, layout.size)
    right += np.concatenate([equation.gradient.ravel() for equation in equations]) @ transfer
    bends = [(order, equation.bend) for order, equation in enumerate(equations) if equation.bend is not None]
    for order, bend in bends:
        taken = bend.taken(layout.transfer[order])
        normal -= taken[0]
        right -= taken[1]
    covariance = np.linalg.inv(normal)
    step = covariance @ right
    quality = [layout.judge(order, equation, covariance, step) for order, equation in enumerate(equations)]
    moved = layout.apply(profiles, step)
    for order, bend in bends:
        moved[order] = bend.bent(moved[order], _moves(profiles[order], moved[order]))
    errors = flux_errors(equations, layout.transfer, covariance)
    return ProfileStep(moved, quality, errors, float(right @ step))


def _moves(before, now):
    """What a profile's centre, ln width, tail and optics moved by in each chunk (chunks, 4)."""
    curves = [
        series_at(_AT_MIDDLES, new) - series_at(_AT_MIDDLES, old)
        for new, old in ((now.centre, before.centre), (now.log_width, before.log_width))
    ]
    shape = (np.full(_CHUNKS, step) for step in (now.tail - before.tail, now.optics - before.optics))
    return np.stack([*curves, *shape], axis=1)


class _Layout:
    """Which unknown of the ridge regression is which."""

    def __init__(self, equations: list[ChunkEquations]):
        self.wavelength = np.stack([equation.wavelength for equation in equations])
        self.low, self.high = self.wavelength.min(), self.wavelength.max()
        self.reference = float(np.median(self.wavelength))
        self.common = len(_CENTRE_PRIORS) + len(_WIDTH_PRIORS) + 2
        self.own = len(_CENTRE_ORDER_PRIORS) + len(_WIDTH_ORDER_PRIORS)
        self.size = self.common + self.own * len(equations)
        self.curves = self._curves()
        self.transfer = self._transfer()

    def precision(self, *, centre=True, width=True, tail=True, optics=True):
        """1/prior^2 of the unknowns; what shall not move is held."""
        free = [centre] * len(_CENTRE_PRIORS) + [width] * len(_WIDTH_PRIORS) + [tail, optics]
        free += ([centre] * len(_CENTRE_ORDER_PRIORS) + [width] * len(_WIDTH_ORDER_PRIORS)) * len(self.wavelength)
        common = np.array([*_CENTRE_PRIORS, *_WIDTH_PRIORS, _TAIL_PRIOR, _OPTICS_PRIOR])
        own = np.array([*_CENTRE_ORDER_PRIORS, *_WIDTH_ORDER_PRIORS])
        values = np.concatenate([common, np.tile(own, len(self.wavelength))]) ** -2.0
        return np.where(free, values, _HELD)

    def _curves(self):
        """How the unknowns move Legendre coefficients of centre and of ln width: (2, orders, 4, unknowns).

        What is common goes with the wavelength, as far as such a polynomial can follow: were the equations told
        anything else than what `apply` does, the difference would grow from step to step.
        """
        tau = 2.0 * (self.wavelength - self.low) / max(self.high - self.low, 1e-9) - 1.0
        width = np.stack([np.ones_like(tau), np.log(self.wavelength / self.reference)], axis=-1)
        result = np.zeros((2, len(tau), len(_CENTRE_ORDER_PRIORS), self.size))
        first, a = self.common, 0
        for curves, common, own in zip(
            result,
            (legvander(tau, len(_CENTRE_PRIORS) - 1), width),
            (_CENTRE_ORDER_PRIORS, _WIDTH_ORDER_PRIORS),
            strict=True,
        ):
            curves[:, : len(own), a : a + common.shape[2]] = (
                np.linalg.pinv(legvander(_MIDDLES, len(own) - 1)) @ common
            )
            a += common.shape[2]
            for order, rows in enumerate(curves):
                start = first + order * self.own
                rows[: len(own), start : start + len(own)] = np.eye(len(own))
            first += len(own)
        return result

    def _transfer(self):
        """(orders, chunks, 4, unknowns): how the unknowns move centre, ln width, tail and optics in the chunks."""
        matrix = np.zeros((*self.wavelength.shape, _SHAPE, self.size))
        for k, curves in enumerate(self.curves):
            matrix[:, :, k] = legvander(_MIDDLES, curves.shape[1] - 1) @ curves
        matrix[:, :, 2, self.common - 2] = matrix[:, :, 3, self.common - 1] = 1.0
        return matrix

    def held(self, profiles, start):
        """Present distance of the unknowns from the priors' means, by least squares over the orders."""
        now, before = (
            np.array([[series_at(_AT_MIDDLES, curve) for curve in (one.centre, one.log_width)] for one in group])
            for group in (profiles, start)
        )
        pairs = zip(profiles, start, strict=True)
        shape = np.array([[one.tail - first.tail, one.optics - first.optics] for one, first in pairs])
        target = np.empty(self.transfer.shape[:3])
        target[:, :, :2], target[:, :, 2:] = np.swapaxes(now - before, 1, 2), shape[:, None]
        design, target = self.transfer.reshape(-1, self.size), target.ravel()
        if not np.any(target):
            return np.zeros(self.size)
        normal = design.T @ design * 1e8 + np.diag(self.precision())
        return np.linalg.solve(normal, design.T @ target * 1e8)

    def apply(self, profiles, step):
        """The profiles moved by a step of the unknowns."""
        curves = legvander(_NODES, self.curves.shape[2] - 1)
        to_coefficients = np.linalg.pinv(curves)
        shift, swell = (
            np.clip(curves @ more.T, -most, most).T @ to_coefficients.T
            for more, most in zip(self.curves @ step, (0.5, 0.4), strict=True)
        )
        fatter = np.clip(step[self.common - 2], -0.15, 0.15)
        blur = np.clip(step[self.common - 1], -0.025, 0.025)
        return [
            replace(
                profile,
                centre=_add(profile.centre, more),
                log_width=_add(profile.log_width, wider),
                tail=float(np.clip(profile.tail + fatter, *TAIL_RANGE)),
                optics=float(np.clip(profile.optics + blur, *OPTICS_RANGE)),
            )
            for profile, more, wider in zip(profiles, shift, swell, strict=True)
        ]

    def judge(self, order, equation, covariance, step) -> TraceQuality:
        information = equation.curvature[:, 0, 0].sum()
        middle = self.transfer[order, _CHUNKS // 2, 0]
        error = float(np.sqrt(middle @ covariance @ middle))
        own = np.sqrt(max(information, 0.0)) * 0.3  # centroid precision in units of a 0.3 arcsec scatter
        rung = "joint" if error < 0.25 else "expected"
        if own > _OWN_TRACE:
            rung = "own"
        good = equation.curvature[:, 0, 0] > 0
        residual = float("nan")
        if good.sum() > 4:
            moves = (self.transfer[order, :, 0] @ step)[good]
            weight = equation.curvature[good, 0, 0]
            own_steps = equation.gradient[good, 0] / weight
            residual = float(np.sqrt(np.average((own_steps - moves) ** 2, weights=weight)))
        return TraceQuality(rung, error, residual)


def _add(coefficients, change):
    """Legendre coefficients and four more, of the lowest degrees, together."""
    result = np.zeros(max(coefficients.size, change.size))
    result[: coefficients.size] = coefficients
    result[: change.size] += change
    return result

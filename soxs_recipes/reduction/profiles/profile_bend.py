"""How the data bend a profile away from a blurred Moffat function, told together with its centre, width and wings.

A bend can do what a step of width or tail does, and both see the same residuals: found one after the other from
them they take up twice what is left, and swing. So the equations of a bend hold those of the shape, and who moves
the shape eliminates the bend first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from soxs_recipes.reduction.profiles.slit_profile import REACH, ProfileAverages, SlitProfile
from soxs_recipes.reduction.profiles.slit_profile_kernels import bend_products
from soxs_recipes.reduction.sky.order_pixels import OrderPixels

__all__ = ["Bend", "Eliminated", "bend_equations", "eliminate"]

_PRIOR = 0.006  # 1/FWHM, expected size of a bend: noise alone bends little
_HELD = 3  # outermost splines on either side that stay 0, so that the bend fades into the wings
_SHAPE = 4


@dataclass(frozen=True, slots=True)
class Bend:
    """Equations of a bend, constant and linear along the order, and their coupling with those of the shape.

    Attributes
    ----------
    coupling : ndarray (chunks, 4, 2 * n)
        Of centre, ln width, tail and optics in each chunk with the n splines, constant and then linear.
    gradient : ndarray (2 * n,)
        The prior included.
    inverse : ndarray (2 * n, 2 * n)
        Covariance of the bend where the shape is known.
    held : ndarray (2 * n,)
        Present coefficients.
    size : int
        Splines with those that stay 0.
    step : float [FWHM]
        Between their knots.
    response : ndarray (chunks, 2 * n)
        Relative change of the source's flux in each chunk by a unit of each coefficient.
    """

    coupling: np.ndarray
    gradient: np.ndarray
    inverse: np.ndarray
    held: np.ndarray
    size: int
    step: float
    response: np.ndarray

    def taken(self, transfer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a free bend takes off the normal equations of unknowns (n,), which move the shape by `transfer`.

        `transfer` is (chunks, 4, n); returns (n, n) and (n,).
        """
        coupling = np.tensordot(transfer, self.coupling, ((0, 1), (0, 1)))
        through = coupling @ self.inverse
        return through @ coupling.T, through @ self.gradient

    def bent(self, profile: SlitProfile, moves: np.ndarray) -> SlitProfile:
        """The profile bent as the data tell, its shape having moved by `moves` (chunks, 4)."""
        found = self.held + self.inverse @ (self.gradient - np.tensordot(moves, self.coupling, 2))
        coefficients = np.zeros((self.size, 2))
        coefficients[_HELD : self.size - _HELD] = found.reshape(2, -1).T
        return replace(profile, correction=coefficients, correction_step=self.step)


def bend_equations(
    pixels: OrderPixels,
    tables: ProfileAverages,
    residual: np.ndarray,
    weight: np.ndarray,
    scale: np.ndarray,
    middles: np.ndarray,
    *,
    nuisance: Sequence[np.ndarray] = (),
) -> tuple[Eliminated, Bend]:
    """Normal equations of one order's shape in chunks, and of its bend.

    Parameters
    ----------
    pixels, residual, weight, scale, nuisance
        As for `object_trace.chunk_equations`.
    tables : ProfileAverages
        Of the profile in these pixels.
    middles : ndarray (chunks,)
        Of the chunks, with the order from -1 to 1.

    Returns
    -------
    shape : Eliminated
        Of centre, ln width, tail and optics for a bend that stays, the brightness of source, sky and nuisance
        eliminated in each chunk.
    bend : Bend
    """
    profile, step = tables.profile, tables.profile.correction_step
    if profile.correction is None:
        step = max(0.33, 0.6 * float(np.median(pixels.footprint) / np.median(profile.fwhm_in_bins())))
    size = max(round(2.0 * REACH / step), 4) + 3
    products = bend_products(
        pixels.slit,
        pixels.position,
        pixels.footprint,
        *tables.tables(slopes=True),
        weight,
        np.array([scale, *nuisance]),
        residual,
        REACH,
        size,
        middles.size,
    )
    free = np.concatenate([np.arange(_SHAPE), _SHAPE + np.arange(_HELD, size - _HELD)])
    kept = np.concatenate([free, np.arange(_SHAPE + size, products.shape[1])])
    products = products[:, kept[:, None], kept]
    curvature, gradient, response, information = eliminate(products[:, :-1, :-1], products[:, :-1, -1], free.size)
    held = np.zeros(2 * (free.size - _SHAPE))
    if profile.correction is not None:
        held = profile.correction[_HELD : size - _HELD].T.ravel()
    powers = middles ** np.arange(3)[:, None]
    among = np.tensordot(powers, curvature[:, _SHAPE:, _SHAPE:], 1)
    normal = np.block([[among[0], among[1]], [among[1], among[2]]])
    normal[np.diag_indices_from(normal)] += _PRIOR**-2
    coupling = curvature[:, :_SHAPE, _SHAPE:]
    # A profile is of unit integral, to which a spline adds its knots' spacing.
    bending = response[:, _SHAPE:] + 2.0 * REACH / (size - 3)
    return (
        Eliminated(curvature[:, :_SHAPE, :_SHAPE], gradient[:, :_SHAPE], response[:, :_SHAPE], information),
        Bend(
            np.concatenate([coupling, middles[:, None, None] * coupling], axis=2),
            (powers[:2] @ gradient[:, _SHAPE:]).ravel() - _PRIOR**-2 * held,
            np.linalg.inv(normal),
            held,
            size,
            step,
            np.concatenate([bending, middles[:, None] * bending], axis=1),
        ),
    )


class Eliminated(NamedTuple):
    """Normal equations (chunks, m, m) of which the unknowns behind the first m have been eliminated.

    Attributes
    ----------
    curvature : ndarray (chunks, m, m)
    gradient : ndarray (chunks, m)
    response : ndarray (chunks, m)
        What the first of the eliminated moves by for a unit of each that is kept.
    information : ndarray (chunks,)
        1/variance of it where those that are kept are known.
    """

    curvature: np.ndarray
    gradient: np.ndarray
    response: np.ndarray
    information: np.ndarray


def eliminate(normal: np.ndarray, right: np.ndarray, keep: int) -> Eliminated:
    """Schur complement of equations (chunks, m, m), (chunks, m): unknowns from `keep` on follow the others."""
    inner = normal[:, keep:, keep:]
    trace = np.trace(inner, axis1=1, axis2=2)
    inner = inner + (1e-9 * trace + 1e-30)[:, None, None] * np.eye(inner.shape[1])
    coupling = normal[:, :keep, keep:]
    first = np.zeros((*right[:, keep:].shape, 1))
    first[:, 0] = 1.0
    sides = [np.swapaxes(coupling, 1, 2), right[:, keep:, None], first]
    solved = np.linalg.solve(inner, np.concatenate(sides, axis=2))
    curvature = normal[:, :keep, :keep] - coupling @ solved[:, :, :keep]
    gradient = right[:, :keep] - (coupling @ solved[:, :, keep : keep + 1])[:, :, 0]
    return Eliminated(curvature, gradient, -solved[:, 0, :keep], 1.0 / solved[:, 0, -1])

"""A dispersion solution from measured lines: a smooth correction of the format that predicted them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import legvander

from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution, scaled
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.dispersion.line_levers import false_levers
from soxs_recipes.reduction.dispersion.order_deviations import fit_order_deviations, split_block
from soxs_recipes.reduction.numerics.grouped_regression import GroupedRegression, Scatter

__all__ = ["DispersionFit", "LineSample", "fit_dispersion"]

# Expected size [px] of a correction's coefficient, by total degree in (order, wavelength), at mid-slit.
_EXPECTED = (60.0, 30.0, 10.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.3, 0.2)
_EXPECTED_SLIT = (1.0, 0.2, 0.05, 0.02)  # the same for higher degrees along the slit, relative
_REJECT = 6.0  # standardised residual beyond which a line counts as rejected
_LEAST_ERROR = 0.002  # [px] below which no line error is believed


@dataclass(frozen=True, slots=True)
class LineSample:
    """Measured places of known lines, an entry each.

    Attributes
    ----------
    order : ndarray (n,) int
    wavelength : ndarray (n,) float64 [nm, vacuum]
    slit : ndarray (n,) float64 [arcsec]
    x, y, x_error, y_error : ndarray (n,) float64 [px]
    """

    order: np.ndarray
    wavelength: np.ndarray
    slit: np.ndarray
    x: np.ndarray
    y: np.ndarray
    x_error: np.ndarray
    y_error: np.ndarray

    def __len__(self) -> int:
        return self.order.size

    def select(self, index: np.ndarray) -> LineSample:
        """Chosen lines (integers or boolean)."""
        return LineSample(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class DispersionFit:
    """A solution and how well the lines agree with it.

    Attributes
    ----------
    solution : DispersionSolution
    x_residual, y_residual : ndarray (n,) float64 [px]
        Measured minus fitted.
    weight : ndarray (n,) float64
        1 for lines that agree, towards 0 for others (the smaller of both axes).
    kept : ndarray (n,) bool
        Lines that were not rejected as deviant.
    wavelength_scatter : dict of int to float
        Per order: scatter of the lines' wavelengths beyond the centring errors [nm].
    degrees : dict of int to tuple of int
        Per order: highest (order, wavelength, slit) degree of the correction used along the dispersion.
    notes : tuple of str
        What was not done as usual.
    """

    solution: DispersionSolution
    x_residual: np.ndarray
    y_residual: np.ndarray
    weight: np.ndarray
    kept: np.ndarray
    wavelength_scatter: dict[int, float]
    degrees: dict[int, tuple[int, int, int]]
    notes: tuple[str, ...]


def fit_dispersion(
    prior: DispersionSolution,
    lines: LineSample,
    *,
    dispersion_axis: int,
    wavelength_degrees: tuple[int, int] = (2, 7),
    order_degrees: tuple[int, int] = (2, 6),
    slit_degrees: tuple[int, int] = (1, 2),
    choose_degrees: bool = True,
) -> DispersionFit:
    """Correct a prior solution by what the lines show.

    Parameters
    ----------
    prior : DispersionSolution
        Already moved to within some pixels of the truth.
    lines : LineSample
        All at one slit position (only the mid-slit curve is corrected) or at several (the slit terms too).
    dispersion_axis : int
    wavelength_degrees, order_degrees, slit_degrees : (low, high)
        Bounds of the correction's degrees, within which cross-validation chooses.
    choose_degrees : bool
        False takes the upper bounds and leaves the rest to the priors: quicker, for a first solution.

    Returns
    -------
    DispersionFit
        Rows as in `lines`. An order without lines keeps the prior's shape, moved with its block.

    Raises
    ------
    AlgorithmError
        With fewer than four lines in all.

    Notes
    -----
    Linear in a Legendre basis, with errors shared by all appearances of a line (its listed wavelength), robust
    weights, and priors on the coefficients that fall with their degree: beyond the last line the solution goes
    over into the prior's shape instead of swinging away. Left-out groups of lines choose the degrees.
    """
    if len(lines) < 4:
        raise AlgorithmError("too few arc lines for a dispersion solution", lines=len(lines), needed=4)
    false = _false_levers(prior, lines, dispersion_axis)
    if false.any():
        options = (wavelength_degrees, order_degrees, slit_degrees, choose_degrees)
        return _without(prior, lines, false, dispersion_axis, options)
    group = np.unique(lines.wavelength, return_inverse=True)[1]
    bounds = _Bounds(order_degrees, wavelength_degrees, slit_degrees, choose_degrees)
    fits = []
    for block in prior.blocks:
        rows = np.flatnonzero(np.isin(lines.order, block.orders))
        fits.append(_fit_block(block, lines.select(rows), group[rows], rows, dispersion_axis, bounds))
    return _assemble(prior, lines, fits)


def _false_levers(prior, lines, dispersion_axis):
    """Boolean (n,): lines at one slit position that alone bend an order's curve along the dispersion."""
    false = np.zeros(len(lines), dtype=bool)
    if np.ptp(lines.slit) > 0:
        return false
    for number in np.unique(lines.order):
        own = np.flatnonzero(lines.order == number)
        if np.unique(lines.wavelength[own]).size < own.size:
            continue
        surface = prior.surface(int(number))
        predicted = surface.evaluate(lines.wavelength[own], lines.slit[own])
        along = 1 - dispersion_axis
        value = (lines.x, lines.y)[along][own] - predicted[along]
        error = np.maximum((lines.x_error, lines.y_error)[along][own], _LEAST_ERROR)
        false[own] = false_levers(
            legvander(scaled(lines.wavelength[own], surface.wavelength_domain), 7), value, error
        )
    return false


def _without(prior, lines, false, dispersion_axis, options):
    """The fit without some lines, which are written down as rejected."""
    names = ("wavelength_degrees", "order_degrees", "slit_degrees", "choose_degrees")
    options = dict(zip(names, options, strict=True))
    fit = fit_dispersion(prior, lines.select(~false), dispersion_axis=dispersion_axis, **options)
    x, y = fit.solution.evaluate(lines.order, lines.wavelength, lines.slit)
    weight, kept = np.zeros(len(lines)), np.zeros(len(lines), dtype=bool)
    weight[~false], kept[~false] = fit.weight, fit.kept
    return replace(fit, x_residual=lines.x - x, y_residual=lines.y - y, weight=weight, kept=kept)


@dataclass(frozen=True, slots=True)
class _Bounds:
    order: tuple[int, int]
    wavelength: tuple[int, int]
    slit: tuple[int, int]
    choose: bool


@dataclass(frozen=True, slots=True)
class _BlockFit:
    """Fitted blocks that stand for one block of the prior."""

    blocks: tuple[DispersionBlock, ...]
    rows: np.ndarray
    weight: np.ndarray
    deviation: np.ndarray
    scatter: float
    degrees: tuple[int, int, int]
    notes: tuple[str, ...]


def _fit_block(block, lines, group, rows, dispersion_axis, bounds):
    """Correct one block; without lines it is returned as it is."""
    if rows.size == 0:
        note = f"no line in order {', '.join(map(str, block.orders))}: shape of the format kept"
        return _BlockFit((block,), rows, np.zeros(0), np.zeros(0), float("nan"), (0, 0, 0), (note,))
    group = np.unique(group, return_inverse=True)[1]
    terms = _candidate_terms(block, bounds, several_slits=np.ptp(lines.slit) > 0)
    axes = [_axis_problem(block, lines, group, terms, axis, dispersion_axis) for axis in (0, 1)]
    results = [_choose_and_fit(problem, terms, bounds, echelle=len(block.orders) > 1) for problem in axes]
    notes = tuple(note for result in results for note in result.notes)
    blocks: tuple[DispersionBlock, ...] = ()
    if len(block.orders) > 1:
        results, blocks = _with_deviations(block, lines, axes, terms, results)
    if blocks:
        notes += (f"orders {', '.join(map(str, block.orders))} each follow a curve of their own",)
    else:
        blocks = (_corrected(block, terms, results),)
        if len(block.orders) > 1 and bounds.choose:
            blocks, order_notes = _order_corrections(blocks[0], lines, group, dispersion_axis, results)
            notes += order_notes
    weight = np.minimum(*(result.weight.prod(axis=1) for result in results))
    along = 1 - dispersion_axis  # axis 0 of the frame is y, the second of (x, y)
    deviation = np.maximum(*(_deviation(blocks, lines, result, axes[k], k) for k, result in enumerate(results)))
    degrees = tuple(int(d) for d in terms[results[along].columns].max(axis=0))
    return _BlockFit(blocks, rows, weight, deviation, results[along].scatter.shared, degrees, notes)


def _with_deviations(block, lines, axes, terms, results):
    """(results, blocks of single orders) where orders deviate from a common surface; no blocks otherwise."""
    deviations = tuple(
        fit_order_deviations(problem, result.columns, block, lines.order, lines.wavelength, lines.slit)
        for problem, result in zip(axes, results, strict=True)
    )
    if not any(fit.worthwhile for fit in deviations):
        return results, ()
    weighted = [
        replace(result, weight=fit.weight, scatter=fit.scatter)
        for result, fit in zip(results, deviations, strict=True)
    ]
    return weighted, split_block(block, terms, deviations)


def _candidate_terms(block, bounds, *, several_slits):
    """All terms that a correction may hold, (n, 3)."""
    orders = bounds.order[1] if len(block.orders) > 1 else 0
    slits = bounds.slit[1] if several_slits else 0
    top = max(orders, bounds.wavelength[1])
    terms = [
        (i, j, k)
        for k in range(slits + 1)
        for i in range(orders + 1)
        for j in range(bounds.wavelength[1] + 1)
        if i + j <= (top + 1 if k == 0 else 4 - k)
    ]
    return np.array(terms)


def _expected_size(terms):
    total = (terms[:, 0] + terms[:, 1]).clip(0, len(_EXPECTED) - 1)
    return np.array(_EXPECTED)[total] * np.array(_EXPECTED_SLIT)[terms[:, 2].clip(0, len(_EXPECTED_SLIT) - 1)]


def _axis_problem(block, lines, group, terms, axis, dispersion_axis):
    """Regression of measured minus prior along x (axis 0) or y (axis 1)."""
    basis = replace(block, terms=terms)
    design = basis.design_matrix(lines.order, lines.wavelength, lines.slit)
    measured, error = (lines.x, lines.x_error) if axis == 0 else (lines.y, lines.y_error)
    predicted = np.empty(len(lines))
    lever = np.empty(len(lines))
    for number in np.unique(lines.order):
        own = lines.order == number
        surface = block.order_surface(int(number))
        predicted[own] = surface.evaluate(lines.wavelength[own], lines.slit[own])[axis]
        lever[own] = surface.wavelength_derivative(lines.wavelength[own], lines.slit[own])[axis]
    if axis == dispersion_axis:  # x is axis 0 here, the frame's numpy axis 1: across the dispersion
        lever = np.zeros(len(lines))
    return GroupedRegression(
        design, measured - predicted, np.maximum(error, _LEAST_ERROR), lever, group, _expected_size(terms)
    )


@dataclass(frozen=True, slots=True)
class _AxisFit:
    columns: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    weight: np.ndarray
    scatter: Scatter
    notes: tuple[str, ...]


def _subsets(terms, bounds, *, echelle):
    """Column sets of rising freedom: first the mid-slit degrees, slit terms of one common form with them."""
    sets = []
    lowest = [(i, j) for i in range(bounds.order[0], bounds.order[1] + 1) for j in _degrees(bounds.wavelength)]
    pairs = lowest if echelle else [(0, j) for j in _degrees(bounds.wavelength)]
    for i, j in pairs:
        if echelle and not -2 <= j - i <= 3:
            continue
        middle = (terms[:, 2] > 0) | (
            (terms[:, 0] <= i) & (terms[:, 1] <= j) & (terms[:, 0] + terms[:, 1] <= max(i, j) + 1)
        )
        sets.append(np.flatnonzero(middle))
    return sorted(sets, key=len)


def _degrees(bounds):
    return range(bounds[0], bounds[1] + 1)


def _slit_subsets(terms, columns):
    """Column sets that differ in how the slit terms may change along the order; the mid-slit terms stay."""
    chosen = terms[columns]
    sets = []
    highest = int(terms[:, 2].max())
    for first in range(4):
        for second in range(-1, 3 if highest > 1 else 0):
            limits = {0: 99, 1: first}
            total = chosen[:, 0] + chosen[:, 1]
            keep = np.array([t <= limits.get(k, second) for t, k in zip(total, chosen[:, 2], strict=True)])
            sets.append(columns[keep])
    return sorted(sets, key=len)


def _choose_and_fit(problem, terms, bounds, *, echelle):
    """Degrees by cross-validation, then the robust fit."""
    everything = np.arange(len(terms))
    first = problem.robust_fit(everything)
    if not bounds.choose:
        return _AxisFit(everything, *first, ())
    _, _, weight, scatter = first
    sets = [c for c in _subsets(terms, bounds, echelle=echelle) if _affordable(terms[c], problem)]
    notes = ()
    if not sets:
        sets = [np.flatnonzero(terms[:, 0] + terms[:, 1] <= 1)]
        notes = (f"only {problem.groups} lines: a shift and a slope were fitted",)
    columns = _least_loss(problem, sets, weight, scatter)
    if terms[:, 2].max() > 0:
        columns = _least_loss(problem, _slit_subsets(terms, columns), weight, scatter)
    return _AxisFit(columns, *problem.robust_fit(columns, weight=weight), notes)


def _affordable(terms, problem):
    """The mid-slit terms must be fewer than the lines."""
    return int((terms[:, 2] == 0).sum()) < problem.groups


def _least_loss(problem, sets, weight, scatter):
    """The simplest set whose validation loss is within a fifth of its error of the least."""
    losses = problem.validation_losses(sets, weight, scatter)
    best, error = min(losses)
    return next(c for c, (loss, _) in zip(sets, losses, strict=True) if loss <= best + 0.2 * error)


def _corrected(block, terms, results):
    """Prior block plus correction, in the union of both sets of terms."""
    used = np.unique(np.concatenate([result.columns for result in results]))
    union = np.unique(np.concatenate([block.terms, terms[used]]), axis=0)
    place = {tuple(term): k for k, term in enumerate(union)}
    arrays = []
    for prior, result in zip((block.x_coefficients, block.y_coefficients), results, strict=True):
        coefficients = np.zeros(len(union))
        covariance = np.zeros((len(union), len(union)))
        coefficients[[place[tuple(term)] for term in block.terms]] = prior
        index = np.array([place[tuple(term)] for term in terms[result.columns]], dtype=int)
        coefficients[index] += result.coefficients
        covariance[np.ix_(index, index)] = result.covariance
        arrays += [coefficients, covariance]
    return replace(
        block,
        terms=union,
        x_coefficients=arrays[0],
        x_covariance=arrays[1],
        y_coefficients=arrays[2],
        y_covariance=arrays[3],
    )


def _order_corrections(block, lines, group, dispersion_axis, results):
    """Low-degree corrections per order where left-out lines ask for them; (blocks, notes)."""
    corrections = {}
    scatters = [result.scatter for result in results]
    for number in block.orders:
        own = lines.order == number
        if own.sum() < 12:
            continue
        single = block_of_one_order(block, number)
        sample, sample_group = lines.select(own), np.unique(group[own], return_inverse=True)[1]
        terms = np.array([(0, j, 0) for j in range(4)])
        fits = []
        for axis in (0, 1):
            problem = _axis_problem(single, sample, sample_group, terms, axis, dispersion_axis)
            problem = replace(problem, expected=np.full(4, 0.1))
            fits.append(_worthwhile(problem, results[axis].weight[own], scatters[axis]))
        if any(fit is not None for fit in fits):
            corrections[number] = _corrected(single, terms, [fit or _no_correction() for fit in fits])
    if not corrections:
        return (block,), ()
    others = tuple(number for number in block.orders if number not in corrections)
    blocks = tuple(corrections.values())
    if others:
        blocks = (replace(block, orders=others), *blocks)
    names = ", ".join(map(str, corrections))
    return blocks, (f"orders {names} got a correction of their own",)


def _no_correction():
    empty = np.zeros(0, dtype=int)
    return _AxisFit(empty, np.zeros(0), np.zeros((0, 0)), np.zeros((0, 2)), Scatter(), ())


def _worthwhile(problem, weight, scatter):
    """A fit of the residuals when it lowers the validation loss clearly, else None."""
    residual = np.minimum(problem.standardised(problem.value, scatter) ** 2, 9.0)
    best = None
    target = 0.85 * float(residual.mean())
    sets = [np.arange(degree + 1) for degree in range(4)]
    for columns, (loss, _) in zip(sets, problem.validation_losses(sets, weight, scatter), strict=True):
        if loss < target:
            best, target = columns, loss
    if best is None:
        return None
    coefficients, covariance, weight, _ = problem.robust_fit(best, scatter)
    return _AxisFit(best, coefficients, covariance, weight, scatter, ())


def block_of_one_order(block: DispersionBlock, order: int) -> DispersionBlock:
    """One order of a block as a block of its own, the order dependence summed away exactly."""
    surface = block.order_surface(order)
    shape = surface.x_matrix.shape
    terms = np.array([(0, j, k) for j in range(shape[0]) for k in range(shape[1])])
    weights = np.zeros((len(terms), len(block.terms)))
    basis = replace(block, terms=np.array([(i, 0, 0) for i in range(int(block.terms[:, 0].max()) + 1)]))
    along_order = basis.design_matrix(np.array([order]), np.array([0.0]), np.array([0.0]))[0]
    for column, (i, j, k) in enumerate(block.terms):
        weights[j * shape[1] + k, column] = along_order[i]
    return DispersionBlock(
        orders=(order,),
        terms=terms,
        x_coefficients=surface.x_matrix.ravel().copy(),
        y_coefficients=surface.y_matrix.ravel().copy(),
        x_covariance=weights @ block.x_covariance @ weights.T,
        y_covariance=weights @ block.y_covariance @ weights.T,
        order_domain=(float(order), float(order)),
        wavelength_domain=surface.wavelength_domain,
        slit_domain=block.slit_domain,
        echelle=False,
    )


def _predicted(blocks, lines, axis):
    predicted = np.empty(len(lines))
    for block in blocks:
        for number in block.orders:
            own = lines.order == number
            if own.any():
                surface = block.order_surface(number)
                predicted[own] = surface.evaluate(lines.wavelength[own], lines.slit[own])[axis]
    return predicted


def _deviation(blocks, lines, result, problem, axis):
    """Standardised residuals along one axis."""
    measured = lines.x if axis == 0 else lines.y
    return np.abs(problem.standardised(measured - _predicted(blocks, lines, axis), result.scatter))


def _assemble(prior, lines, fits):
    solution = replace(prior, blocks=tuple(block for fit in fits for block in fit.blocks))
    weight, deviation = np.zeros(len(lines)), np.full(len(lines), np.inf)
    scatter, degrees, notes = {}, {}, []
    for fit in fits:
        weight[fit.rows], deviation[fit.rows] = fit.weight, fit.deviation
        notes += fit.notes
        for block in fit.blocks:
            for number in block.orders:
                scatter[number], degrees[number] = fit.scatter, fit.degrees
    x, y = solution.evaluate(lines.order, lines.wavelength, lines.slit)
    return DispersionFit(
        solution,
        lines.x - x,
        lines.y - y,
        weight,
        deviation <= _REJECT,
        scatter,
        degrees,
        tuple(notes),
    )

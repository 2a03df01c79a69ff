"""Fits of pixel-integrated Gaussians, one after the other: to stamps of spots and to cross sections of orders.

A spot's parameters are flux, x, y, ln(sigma_x), ln(sigma_y), shear and the plane under it (level, slope in x and
in y over half a stamp). Stamps are (k, k), their corner in frame pixels; their arrays are handed down as work
space, so that nothing is allocated for a spot.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from soxs_recipes.compiled import compiled

__all__ = [
    "FLUX",
    "LEVEL",
    "MINIMUM_PIXELS",
    "SHEAR",
    "WIDTH_RANGE",
    "WX",
    "WY",
    "X",
    "Y",
    "first_fluxes",
    "fit_cross_sections",
    "fit_round",
    "judge_spots",
    "paint_spots",
]

FLUX, X, Y, WX, WY, SHEAR, LEVEL, SLOPE_X, SLOPE_Y = range(9)
_PARAMETERS = 9
_HELD = (X, Y, WX, WY, SHEAR)  # parameters that may have a prior
# Along a row, each parameter's derivative is one of five functions of the column times a number of the row: the
# profile, its derivative by the centre, by ln(width), one, and the distance from the stamp's middle.
_FUNCTIONS = 5
_FUNCTION_OF = (0, 1, 0, 2, 0, 1, 3, 4, 3)
_LARGEST_SHEAR = 0.8
WIDTH_RANGE = (np.log(0.25), np.log(6.0))  # of sigma [px]: beyond it a spot is not a spot
MINIMUM_PIXELS = 12
_CONVERGED = 1.0e-6  # of chi-square to be gained: a thousandth of a parameter's error

_END, _PER_UNIT = 8.0, 32  # of the tables of the Gaussian, in sigma
_NODES = np.arange(-_END * _PER_UNIT, _END * _PER_UNIT + 1) / _PER_UNIT
_INTEGRAL = ndtr(_NODES)
_DENSITY = np.exp(-0.5 * _NODES**2) / np.sqrt(2.0 * np.pi)
_INTEGRAL[0], _INTEGRAL[-1], _DENSITY[0], _DENSITY[-1] = 0.0, 1.0, 0.0, 0.0


@compiled
def _gaussian(t):
    """Integral of the unit Gaussian up to t, and its density at t, to 1e-11: Taylor series about tabled places.

    Without a branch, so that a loop over places runs on vector units.
    """
    t = t if t > -_END else -_END  # NaN too
    t = t if t < _END else _END
    k = np.int32((t + _END) * _PER_UNIT + 0.5)
    node = k * (1.0 / _PER_UNIT) - _END
    d, square = t - node, node * node
    second = (square - 1.0) * (1.0 / 2.0)
    third = node * (square - 3.0) * (1.0 / 6.0)
    fourth = ((square - 6.0) * square + 3.0) * (1.0 / 24.0)
    density = 1.0 - d * (node - d * (second - d * (third - d * fourth)))
    bend = second * (1.0 / 3.0) - d * (third * 0.25 - d * fourth * 0.2)
    integral = d * (1.0 - d * (node * 0.5 - d * bend))
    return _INTEGRAL[k] + _DENSITY[k] * integral, _DENSITY[k] * density


@compiled
def _profile(corner, centre, sigma, share, by_centre, by_width):
    """Share of the light on each pixel along one axis, and its derivatives by the centre and by ln(sigma)."""
    scale = 1.0 / sigma
    start = (corner - 0.5 - centre) * scale
    before, density = _gaussian(start)
    for i in range(share.size):
        share[i], by_centre[i] = _gaussian(start + (i + 1) * scale)
    # From values at the pixels' upper ends to differences.
    for i in range(share.size - 1, 0, -1):
        t = start + i * scale
        share[i] -= share[i - 1]
        by_width[i] = t * by_centre[i - 1] - (t + scale) * by_centre[i]
        by_centre[i] = (by_centre[i - 1] - by_centre[i]) * scale
    share[0] -= before
    by_width[0] = start * density - (start + scale) * by_centre[0]
    by_centre[0] = (density - by_centre[0]) * scale


@compiled
def _profiles(x0, y0, p, across, up):
    """Profiles along x of each row, into `across` (3, k, k), and along y, into `up` (3, k)."""
    sigma_x = np.exp(p[WX])
    _profile(y0, p[Y], np.exp(p[WY]), up[0], up[1], up[2])
    for r in range(up.shape[1]):
        centre = p[X] + p[SHEAR] * (y0 + r - p[Y])
        _profile(x0, centre, sigma_x, across[0, r], across[1, r], across[2, r])


@compiled
def paint_spots(image, parameters, x0, y0, size):
    """Spots without their planes, of parameters (n, 9), added to an image (ny, nx)."""
    across, up = np.empty((3, size, size)), np.empty((3, size))
    for n in range(len(parameters)):
        p = parameters[n]
        _profiles(x0[n], y0[n], p, across, up)
        for r in range(max(0, -y0[n]), min(size, image.shape[0] - y0[n])):
            light = p[FLUX] * up[0, r]
            for c in range(max(0, -x0[n]), min(size, image.shape[1] - x0[n])):
                image[y0[n] + r, x0[n] + c] += light * across[0, r, c]


@compiled
def first_fluxes(data, usable, x0, y0, parameters):
    """Fluxes set to those that fit the stamps (n, k, k) best, everything else as it is; at least 1."""
    k = data.shape[1]
    across, up = np.empty((3, k, k)), np.empty((3, k))
    for n in range(len(data)):
        _profiles(x0[n], y0[n], parameters[n], across, up)
        excess, norm = 0.0, 0.0
        for r in range(k):
            for c in range(k):
                if usable[n, r, c]:
                    share = up[0, r] * across[0, r, c]
                    excess += (data[n, r, c] - parameters[n, LEVEL]) * share
                    norm += share * share
        parameters[n, FLUX] = max(excess / max(norm, 1.0e-12), 1.0)


@compiled
def _take_off_others(data, image, x0, y0, p, across, up, spot, others, target):
    """The spot by itself, what the other spots of an image put on its stamp, and the data without these."""
    _profiles(x0, y0, p, across, up)
    k = up.shape[1]
    for r in range(k):
        for c in range(k):
            spot[r, c] = p[FLUX] * up[0, r] * across[0, r, c]
            others[r, c] = 0.0
            if 0 <= y0 + r < image.shape[0] and 0 <= x0 + c < image.shape[1]:
                others[r, c] = image[y0 + r, x0 + c] - spot[r, c]
            target[r, c] = data[r, c] - others[r, c]


@compiled
def _row_sums(weights, target, across, light, level, slope, sums, pulls):
    """Weighted sums over a row: of its functions with each other (5, 5), lower half, and with residuals (5,)."""
    middle = 0.5 * (weights.size - 1)
    aa = ab = ac = au = a1 = bb = bc = bu = b1 = cc = cu = c1 = uu = u1 = ww = 0.0
    ra = rb = rc = ru = r1 = chi = 0.0
    for i in range(weights.size):
        w, u = weights[i], (i - middle) / middle
        a, b, c = across[0, i], across[1, i], across[2, i]
        residual = target[i] - light * a - level - slope * u
        wa, wb, wc, wu, wr = w * a, w * b, w * c, w * u, w * residual
        chi += wr * residual
        ra, rb, rc, ru, r1 = ra + wr * a, rb + wr * b, rc + wr * c, ru + wr * u, r1 + wr
        aa, ab, ac, au, a1 = aa + wa * a, ab + wa * b, ac + wa * c, au + wa * u, a1 + wa
        bb, bc, bu, b1 = bb + wb * b, bc + wb * c, bu + wb * u, b1 + wb
        cc, cu, c1 = cc + wc * c, cu + wc * u, c1 + wc
        uu, u1, ww = uu + wu * u, u1 + wu, ww + w
    sums[0, 0], sums[1, 0], sums[1, 1] = aa, ab, bb
    sums[2, 0], sums[2, 1], sums[2, 2] = ac, bc, cc
    sums[3, 0], sums[3, 1], sums[3, 2], sums[3, 3] = a1, b1, c1, ww
    sums[4, 0], sums[4, 1], sums[4, 2], sums[4, 3], sums[4, 4] = au, bu, cu, u1, uu
    pulls[0], pulls[1], pulls[2], pulls[3], pulls[4] = ra, rb, rc, r1, ru
    return chi


@compiled
def _normal_equations(target, weights, x0, y0, p, mean, inverse, across, up, normal, gradient):
    """Lower half of the normal matrix (9, 9), gradient (9,), and chi-square (returned), prior included.

    The profiles are those of `p` already.
    """
    k = up.shape[1]
    middle = 0.5 * (k - 1)
    for i in range(_PARAMETERS):
        gradient[i] = 0.0
        for j in range(i + 1):
            normal[i, j] = 0.0
    chi = 0.0
    f = np.empty(_FUNCTIONS)
    f[3] = 1.0
    sums, pulls, number = np.empty((_FUNCTIONS, _FUNCTIONS)), np.empty(_FUNCTIONS), np.empty(_PARAMETERS)
    for r in range(k):
        v = (r - middle) / middle
        light = p[FLUX] * up[0, r]
        chi += _row_sums(
            weights[r], target[r], across[:, r], light, p[LEVEL] + p[SLOPE_Y] * v, p[SLOPE_X], sums, pulls
        )
        number[FLUX], number[X], number[Y] = up[0, r], light, p[FLUX] * up[1, r]
        number[WX], number[WY], number[SHEAR] = light, p[FLUX] * up[2, r], light * (y0 + r - p[Y])
        number[LEVEL], number[SLOPE_X], number[SLOPE_Y] = 1.0, 1.0, v
        for i in range(_PARAMETERS):
            a = _FUNCTION_OF[i]
            gradient[i] += number[i] * pulls[a]
            for j in range(i + 1):
                b = _FUNCTION_OF[j]
                normal[i, j] += number[i] * number[j] * sums[max(a, b), min(a, b)]
    return chi + _tied(p, mean, inverse, normal, gradient)


@compiled
def _tied(p, mean, inverse, normal, gradient):
    """What y does to the rows' centres by the shear, and the priors, added; the priors' chi-square."""
    shear = p[SHEAR]
    cross = normal[Y, X]
    normal[Y, Y] += shear * (shear * normal[X, X] - 2.0 * cross)
    for j in range(_PARAMETERS):
        if j < Y:
            normal[Y, j] -= shear * normal[max(X, j), min(X, j)]
        elif j > Y:
            normal[j, Y] -= shear * normal[j, X]
    gradient[Y] -= shear * gradient[X]
    chi = 0.0
    for k in range(len(_HELD)):
        i = _HELD[k]
        pull = mean[k] - p[i]
        normal[i, i] += inverse[k]
        gradient[i] += pull * inverse[k]
        chi += pull * pull * inverse[k]
    return chi


@compiled
def _factorise(normal, damping, factor, scale):
    """Cholesky factor of the matrix scaled to unit diagonal, with `damping` on it; `scale` is that scaling."""
    n = scale.size
    for i in range(n):
        scale[i] = 1.0 / np.sqrt(max(normal[i, i], 1.0e-30))
    for i in range(n):
        for j in range(i + 1):
            value = normal[i, j] * scale[i] * scale[j] if j < i else 1.0 + damping
            for m in range(j):
                value -= factor[i, m] * factor[j, m]
            factor[i, j] = value / factor[j, j] if j < i else np.sqrt(max(value, 1.0e-12))


@compiled
def _solve(factor, scale, gradient, step):
    """Step (9,) that the factorised normal equations ask for; what it gains in chi-square is returned."""
    n = scale.size
    gain = 0.0
    for i in range(n):
        step[i] = gradient[i] * scale[i]
        for m in range(i):
            step[i] -= factor[i, m] * step[m]
        step[i] /= factor[i, i]
    for i in range(n - 1, -1, -1):
        for m in range(i + 1, n):
            step[i] -= factor[m, i] * step[m]
        step[i] /= factor[i, i]
    for i in range(n):
        step[i] *= scale[i]
        gain += step[i] * gradient[i]
    return gain


@compiled
def _errors(factor, scale, unit, column, error):
    """1 sigma of each parameter, from the factorised normal matrix; two vectors of work space."""
    for i in range(scale.size):
        for j in range(scale.size):
            unit[j] = 1.0 if i == j else 0.0
        error[i] = np.sqrt(max(_solve(factor, scale, unit, column), 0.0))


@compiled
def _set_weights(usable, base, target, others, spot, x0, y0, p, first, residual, variance, weights):
    """Inverse model variance (k, k); deviant pixels (cosmic rays, undetected neighbours) get none.

    A real spot is not exactly Gaussian: some per cent of its peak is no sign of a cosmic ray where the pixel
    opposite, seen from the spot's centre, deviates alike; where it does not, less is allowed. In the first round
    places are not known yet: only what stands in the wings and outshines half the spot is deviant.
    """
    k = usable.shape[0]
    middle = 0.5 * (k - 1)
    peak = 0.0
    for r in range(k):
        for c in range(k):
            peak = max(peak, spot[r, c])
            plane = p[LEVEL] + p[SLOPE_X] * (c - middle) / middle + p[SLOPE_Y] * (r - middle) / middle
            model = spot[r, c] + plane
            residual[r, c] = target[r, c] - model
            variance[r, c] = base + max(model + others[r, c], 0.0)
    across, up = int(np.rint(2.0 * (p[X] - x0))), int(np.rint(2.0 * (p[Y] - y0)))
    kept = 0
    for r in range(k):
        for c in range(k):
            square = residual[r, c] ** 2
            if first:
                deviant = (
                    spot[r, c] < 0.2 * peak and residual[r, c] > 0.5 * peak and square > 36.0 * variance[r, c]
                )
            else:
                shape = (0.15 * spot[r, c]) ** 2 + (0.06 * peak) ** 2 + (0.1 * others[r, c]) ** 2
                deviant = square > 36.0 * variance[r, c] + shape
                row, column = up - r, across - c
                if not deviant and residual[r, c] > 0 and 0 <= row < k and 0 <= column < k and usable[row, column]:
                    shape = (0.02 * peak) ** 2 + (0.05 * spot[r, c]) ** 2 + (0.05 * others[r, c]) ** 2
                    allowed = 25.0 * variance[r, c] + shape
                    lopsided = residual[r, c] - residual[row, column]
                    deviant = square > allowed and lopsided**2 > allowed + 25.0 * variance[row, column]
            weights[r, c] = 0.0 if deviant or not usable[r, c] else 1.0 / variance[r, c]
            kept += weights[r, c] > 0.0
    if kept < max(MINIMUM_PIXELS, 0.6 * k * k):
        for r in range(k):
            for c in range(k):
                weights[r, c] = 1.0 / variance[r, c] if usable[r, c] else 0.0


@compiled
def _put_back(image, marks, mark, others, flux, x0, y0, across, up):
    """A stamp of the image made anew, of a spot's present profiles and the other spots, and marked."""
    k = up.shape[1]
    for r in range(max(0, -y0), min(k, image.shape[0] - y0)):
        light = flux * up[0, r]
        for c in range(max(0, -x0), min(k, image.shape[1] - x0)):
            image[y0 + r, x0 + c] = others[r, c] + light * across[0, r, c]
            marks[y0 + r, x0 + c] = mark


@compiled
def _touched(marks, mark, x0, y0, k):
    """Whether a stamp (k, k) holds a mark so late."""
    for row in range(max(0, y0), min(y0 + k, marks.shape[0])):
        for column in range(max(0, x0), min(x0 + k, marks.shape[1])):
            if marks[row, column] >= mark:
                return True
    return False


@compiled
def _bounded(p, step, trial):
    """A step of bounded length taken, widths and shear kept in their ranges."""
    for i in range(_PARAMETERS):
        trial[i] = p[i] + step[i]
    for i in (X, Y):
        trial[i] = p[i] + min(max(step[i], -1.0), 1.0)
    for i in (WX, WY):
        trial[i] = min(max(p[i] + min(max(step[i], -0.4), 0.4), WIDTH_RANGE[0]), WIDTH_RANGE[1])
    trial[SHEAR] = min(max(trial[SHEAR], -_LARGEST_SHEAR), _LARGEST_SHEAR)


@compiled
def fit_round(data, usable, base, x0, y0, image, marks, parameters, damping, settled, mean, inverse, turn, steps):
    """New weights and some Levenberg-Marquardt steps of every spot, in place, each against the others as they are.

    From the third turn on, settled spots are passed over where nothing has changed since they were looked at.

    Parameters
    ----------
    data, usable : ndarray (n, k, k) float64, bool
    base : ndarray (n,) float64
        Variance that does not come from the signal.
    x0, y0 : ndarray (n,) int64
    image : ndarray (ny, nx) float64
        Of all spots; kept up to date.
    marks : ndarray (ny, nx) uint8
        Filled: the turn after that in which a spot changed here last.
    parameters, damping : ndarray (n, 9), (n,) float64
        Changed in place; a step that does not lower chi-square is not taken.
    settled : ndarray (n,) bool
        Changed in place: spots that no step would improve.
    mean, inverse : ndarray (n, 5) float64
        Priors of x, y, widths and shear, and their inverse variances.
    turn, steps : int
        Turns are counted from 0.
    """
    k = data.shape[1]
    across, up = np.empty((3, k, k)), np.empty((3, k))
    stamp, matrix, vector = (
        np.empty((6, k, k)),
        np.empty((3, _PARAMETERS, _PARAMETERS)),
        np.empty((5, _PARAMETERS)),
    )
    spot, others, target, residual, variance, weights = stamp[0], stamp[1], stamp[2], stamp[3], stamp[4], stamp[5]
    normal, new_normal, factor = matrix[0], matrix[1], matrix[2]
    gradient, new_gradient, scale, step, trial = vector[0], vector[1], vector[2], vector[3], vector[4]
    for n in range(len(data)):
        if turn > 1 and settled[n] and not _touched(marks, turn, x0[n], y0[n], k):
            continue
        p = parameters[n]
        _take_off_others(data[n], image, x0[n], y0[n], p, across, up, spot, others, target)
        _set_weights(
            usable[n], base[n], target, others, spot, x0[n], y0[n], p, turn == 0, residual, variance, weights
        )
        chi = _normal_equations(
            target, weights, x0[n], y0[n], p, mean[n], inverse[n], across, up, normal, gradient
        )
        changed, accepted = False, False
        for _ in range(steps):
            _factorise(normal, damping[n] + 1.0e-9, factor, scale)
            settled[n] = _solve(factor, scale, gradient, step) < _CONVERGED
            if settled[n]:
                break
            _bounded(p, step, trial)
            _profiles(x0[n], y0[n], trial, across, up)
            new_chi = _normal_equations(
                target, weights, x0[n], y0[n], trial, mean[n], inverse[n], across, up, new_normal, new_gradient
            )
            accepted = new_chi <= chi
            changed = changed or accepted
            if accepted:
                for i in range(_PARAMETERS):
                    p[i] = trial[i]
                chi = new_chi
                normal, new_normal = new_normal, normal
                gradient, new_gradient = new_gradient, gradient
                damping[n] = max(0.1 * damping[n], 1.0e-7)
            else:
                damping[n] = min(10.0 * damping[n], 1.0e4)
        if changed:
            if not accepted:  # the profiles are those of a step that was not taken
                _profiles(x0[n], y0[n], p, across, up)
            _put_back(image, marks, turn + 1, others, p[FLUX], x0[n], y0[n], across, up)


@compiled
def judge_spots(data, usable, base, x0, y0, image, parameters, mean, inverse):
    """What may be believed of fitted spots; arguments as those of `fit_round`.

    Returns
    -------
    error : ndarray (n, 9) float64
        1 sigma of each parameter.
    chi_square : ndarray (n,) float64
    pixels : ndarray (n,) int64
        That had weight.
    peak : ndarray (n,) float64
        Largest pixel of the spot.
    seen : ndarray (n,) float64
        Light of the spot on usable pixels.
    """
    k = data.shape[1]
    across, up = np.empty((3, k, k)), np.empty((3, k))
    stamp, matrix, vector = (
        np.empty((6, k, k)),
        np.empty((2, _PARAMETERS, _PARAMETERS)),
        np.empty((3, _PARAMETERS)),
    )
    spot, others, target, residual, variance, weights = stamp[0], stamp[1], stamp[2], stamp[3], stamp[4], stamp[5]
    normal, factor = matrix[0], matrix[1]
    gradient, scale, column = vector[0], vector[1], vector[2]
    count = len(data)
    error, chi_square, pixels = np.zeros((count, _PARAMETERS)), np.empty(count), np.zeros(count, np.int64)
    peak, seen = np.empty(count), np.zeros(count)
    for n in range(count):
        p = parameters[n]
        _take_off_others(data[n], image, x0[n], y0[n], p, across, up, spot, others, target)
        _set_weights(usable[n], base[n], target, others, spot, x0[n], y0[n], p, False, residual, variance, weights)
        chi_square[n] = _normal_equations(
            target, weights, x0[n], y0[n], p, mean[n], inverse[n], across, up, normal, gradient
        )
        _factorise(normal, 1.0e-10, factor, scale)
        _errors(factor, scale, gradient, column, error[n])
        peak[n] = 0.0
        for r in range(k):
            for c in range(k):
                peak[n] = max(peak[n], spot[r, c])
                pixels[n] += weights[r, c] > 0.0
                seen[n] += spot[r, c] if usable[n, r, c] else 0.0
    return error, chi_square, pixels, peak, seen


_ITERATIONS = 25
_SECTION = 4  # parameters of a cross section: flux, centre, sigma, level
_LOWEST = (0.0, -6.0, 0.15, -np.inf)
_HIGHEST = (np.inf, 6.0, 6.0, np.inf)


@compiled
def fit_cross_sections(offset, value, good, floor, parameters, rounds):
    """Fit a Gaussian on a constant to each block of rows, with weights from the model's own variance.

    Parameters
    ----------
    offset : ndarray (n, rows, columns) float64 [px]
        Of pixel centres; a row's pixels follow one another.
    value : ndarray (n, rows, columns) float64
    good : ndarray (n, rows, columns) bool
    floor : ndarray (n,) float64
        Variance that does not come from the light.
    parameters : ndarray (n, 4) float64
        Flux of a row, centre, sigma and level; starts, changed in place.
    rounds : int
        Pixels that deviate from the last round's fit are left out.

    Returns
    -------
    error : ndarray (n, 4) float64
        With the square root of reduced chi-square where that exceeds 1.
    converged : ndarray (n,) bool
    """
    count, rows, columns = value.shape
    shape, weights, pull = np.empty((3, columns)), np.empty((rows, columns)), np.empty(rows * columns)
    error, converged = np.ones((count, _SECTION)), np.zeros(count, np.bool_)
    for n in range(count):
        p = parameters[n]
        for r in range(rows):
            for c in range(columns):
                weights[r, c] = 1.0 / floor[n] if good[n, r, c] else 0.0
        for turn in range(rounds):
            converged[n] = _fit_section(offset[n], value[n], weights, p, shape, error[n])
            if turn < rounds - 1:
                _weigh_section(offset[n], value[n], good[n], floor[n], p, shape, pull, weights)
    return error, converged


@compiled
def _section_equations(offset, value, weights, p, shape, normal, gradient):
    """Lower half of the normal matrix (4, 4), gradient (4,), and chi-square (returned)."""
    for i in range(_SECTION):
        gradient[i] = 0.0
        for j in range(i + 1):
            normal[i, j] = 0.0
    chi = 0.0
    flux, sigma = p[0], p[2]
    d = np.empty(_SECTION)
    d[3] = 1.0
    for r in range(offset.shape[0]):
        _profile(offset[r, 0], p[1], sigma, shape[0], shape[1], shape[2])
        for c in range(offset.shape[1]):
            w = weights[r, c]
            d[0], d[1], d[2] = shape[0, c], flux * shape[1, c], flux * shape[2, c] / sigma
            residual = value[r, c] - flux * shape[0, c] - p[3]
            chi += w * residual * residual
            for i in range(_SECTION):
                weighted = w * d[i]
                gradient[i] += weighted * residual
                for j in range(i + 1):
                    normal[i, j] += weighted * d[j]
    return chi


@compiled
def _fit_section(offset, value, weights, p, shape, error):
    """Levenberg-Marquardt on one block, in place; whether it arrived on enough pixels."""
    matrix, vector = np.empty((3, _SECTION, _SECTION)), np.empty((5, _SECTION))
    normal, new_normal, factor = matrix[0], matrix[1], matrix[2]
    gradient, new_gradient, scale, step, trial = vector[0], vector[1], vector[2], vector[3], vector[4]
    for i in range(_SECTION):
        p[i] = min(max(p[i], _LOWEST[i]), _HIGHEST[i])
    chi = _section_equations(offset, value, weights, p, shape, normal, gradient)
    damping, arrived = 1.0e-2, False
    for _ in range(_ITERATIONS):
        _factorise(normal, damping + 1.0e-10, factor, scale)
        _solve(factor, scale, gradient, step)
        for i in range(_SECTION):
            trial[i] = min(max(p[i] + step[i], _LOWEST[i]), _HIGHEST[i])
        new_chi = _section_equations(offset, value, weights, trial, shape, new_normal, new_gradient)
        if new_chi <= chi:
            arrived = chi - new_chi < 1.0e-6 * chi + 1.0e-9
            for i in range(_SECTION):
                p[i] = trial[i]
            chi = new_chi
            normal, new_normal = new_normal, normal
            gradient, new_gradient = new_gradient, gradient
            damping = max(0.2 * damping, 1.0e-9)
            if arrived:
                break
        else:
            damping = min(8.0 * damping, 1.0e9)
    freedom = -_SECTION
    for r in range(weights.shape[0]):
        for c in range(weights.shape[1]):
            freedom += weights[r, c] > 0.0
    # A parameter that no pixel feels has no error to give.
    if freedom <= 0 or min(normal[0, 0], normal[1, 1], normal[2, 2], normal[3, 3]) <= 1.0e-30:
        return False
    _factorise(normal, 1.0e-12, factor, scale)
    _errors(factor, scale, gradient, step, error)
    for i in range(_SECTION):
        error[i] *= np.sqrt(max(chi / freedom, 1.0))
    return arrived


@compiled
def _weigh_section(offset, value, good, floor, p, shape, pull, weights):
    """New weights: inverse variance of the model; deviant pixels get none.

    Weights that followed the data's own noise would pull the profile down. What the Gaussian cannot follow scales
    with the flux; a hit stands far above that and the scatter.
    """
    rows, columns = value.shape
    for r in range(rows):
        _profile(offset[r, 0], p[1], p[2], shape[0], shape[1], shape[2])
        for c in range(columns):
            light = p[0] * shape[0, c]
            variance = floor + max(light, 0.0)
            weights[r, c] = 1.0 / variance if good[r, c] else 0.0
            pull[r * columns + c] = np.abs(value[r, c] - light - p[3]) / np.sqrt(variance) if good[r, c] else 0.0
    scatter = max(1.0, 1.4826 * np.median(pull))
    for r in range(rows):
        for c in range(columns):
            if weights[r, c] > 0.0:
                light = 1.0 / weights[r, c] - floor
                allowed = np.hypot(6.0 * scatter, 0.1 * (light + p[3]) * np.sqrt(weights[r, c]))
                if pull[r * columns + c] >= allowed:
                    weights[r, c] = 0.0

"""Where light of a given order, wavelength and slit position falls: (order, nm, arcsec) -> (x, y)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import legder, legvander

from soxs_recipes.data.legendre_sums import legendre_sums

__all__ = ["DispersionBlock", "DispersionSolution", "scaled"]


def scaled(values: np.ndarray, domain: tuple[float, float]) -> np.ndarray:
    """Map `domain` to [-1, 1]; a domain of no width maps to 0."""
    low, high = domain
    values = np.asarray(values, dtype=np.float64)
    if high <= low:
        return np.zeros_like(values)
    return (2.0 * values - (low + high)) / (high - low)


@dataclass(frozen=True, slots=True)
class DispersionBlock:
    """One polynomial surface for one order, or for a family of orders of one grating.

    x and y are sums over terms of c_t P_i(order) P_j(wavelength) P_k(slit) with Legendre polynomials of the
    scaled variables. In an echelle block the wavelength variable is order * wavelength, in which all orders of
    one grating nearly coincide.

    Attributes
    ----------
    orders : tuple of int
    terms : ndarray (n, 3) int
        Degrees (order, wavelength, slit) of each term.
    x_coefficients, y_coefficients : ndarray (n,) float64 [px]
    x_covariance, y_covariance : ndarray (n, n) float64 [px^2]
        Zeros when unknown (a prior).
    order_domain, wavelength_domain, slit_domain : (low, high)
        What [-1, 1] means; wavelength in nm, or order * nm for an echelle block; slit in arcsec.
    echelle : bool
    """

    orders: tuple[int, ...]
    terms: np.ndarray
    x_coefficients: np.ndarray
    y_coefficients: np.ndarray
    x_covariance: np.ndarray
    y_covariance: np.ndarray
    order_domain: tuple[float, float]
    wavelength_domain: tuple[float, float]
    slit_domain: tuple[float, float]
    echelle: bool = False

    def design_matrix(self, order: np.ndarray, wavelength: np.ndarray, slit: np.ndarray) -> np.ndarray:
        """(points, terms) float64; arguments broadcast to one length."""
        order, wavelength, slit = np.broadcast_arrays(
            np.asarray(order, float), np.asarray(wavelength, float), np.asarray(slit, float)
        )
        spectral = order * wavelength if self.echelle else wavelength
        degrees = self.terms.max(axis=0)
        bases = [
            legvander(scaled(values.ravel(), domain), int(degree))
            for values, domain, degree in zip(
                (order, spectral, slit),
                (self.order_domain, self.wavelength_domain, self.slit_domain),
                degrees,
                strict=True,
            )
        ]
        return bases[0][:, self.terms[:, 0]] * bases[1][:, self.terms[:, 1]] * bases[2][:, self.terms[:, 2]]

    def order_surface(self, order: int) -> OrderSurface:
        """The surface of one order, with the order dependence summed away: quick to evaluate."""
        weights = legvander(scaled(np.array([float(order)]), self.order_domain), int(self.terms[:, 0].max()))[0]
        shape = (int(self.terms[:, 1].max()) + 1, int(self.terms[:, 2].max()) + 1)
        matrices = []
        for coefficients in (self.x_coefficients, self.y_coefficients):
            matrix = np.zeros(shape)
            np.add.at(matrix, (self.terms[:, 1], self.terms[:, 2]), coefficients * weights[self.terms[:, 0]])
            matrices.append(matrix)
        factor = float(order) if self.echelle else 1.0
        low, high = self.wavelength_domain
        return OrderSurface(matrices[0], matrices[1], (low / factor, high / factor), self.slit_domain)


@dataclass(frozen=True, slots=True)
class OrderSurface:
    """x and y of one order as Legendre series in (wavelength, slit).

    Attributes
    ----------
    x_matrix, y_matrix : ndarray (wavelength degree + 1, slit degree + 1) float64 [px]
    wavelength_domain : (low, high) [nm]
    slit_domain : (low, high) [arcsec]
    """

    x_matrix: np.ndarray
    y_matrix: np.ndarray
    wavelength_domain: tuple[float, float]
    slit_domain: tuple[float, float]

    def evaluate(self, wavelength: np.ndarray, slit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) [px] of broadcast wavelengths [nm] and slit positions [arcsec]."""
        return self._series(self.x_matrix, self.y_matrix, wavelength, slit)

    def wavelength_derivative(self, wavelength: np.ndarray, slit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(dx/dlambda, dy/dlambda) [px/nm]."""
        return self._derivative(0, self.wavelength_domain, wavelength, slit)

    def slit_derivative(self, wavelength: np.ndarray, slit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(dx/ds, dy/ds) [px/arcsec]."""
        return self._derivative(1, self.slit_domain, wavelength, slit)

    def _derivative(self, axis, domain, wavelength, slit):
        low, high = domain
        scale = 2.0 / (high - low) if high > low else 0.0
        matrices = []
        for matrix in (self.x_matrix, self.y_matrix):
            # A constant has derivative zero; legder returns an empty axis only for length-1 input of old numpy.
            derived = legder(matrix, axis=axis) * scale if matrix.shape[axis] > 1 else np.zeros((1, 1))
            matrices.append(derived)
        return self._series(*matrices, wavelength, slit)

    def _series(self, x_matrix, y_matrix, wavelength, slit):
        wavelength, slit = np.broadcast_arrays(np.asarray(wavelength, float), np.asarray(slit, float))
        u, v = scaled(wavelength, self.wavelength_domain).ravel(), scaled(slit, self.slit_domain).ravel()
        x, y = legendre_sums(np.array([x_matrix, y_matrix]), u, v)
        return x.reshape(wavelength.shape), y.reshape(wavelength.shape)


@dataclass(frozen=True, slots=True)
class DispersionSolution:
    """The dispersion solution of one arm.

    Attributes
    ----------
    blocks : tuple of DispersionBlock
        Each order is in exactly one block.
    binning : (y, x)
        In whose pixels x and y are counted.
    """

    blocks: tuple[DispersionBlock, ...]
    binning: tuple[int, int] = (1, 1)

    @property
    def orders(self) -> tuple[int, ...]:
        """All order numbers, ascending."""
        return tuple(sorted(order for block in self.blocks for order in block.orders))

    def block_of(self, order: int) -> DispersionBlock:
        """The block that holds `order`; KeyError names the orders there are."""
        for block in self.blocks:
            if order in block.orders:
                return block
        raise KeyError(f"order {order} is not in this solution, which holds {self.orders}")

    def surface(self, order: int) -> OrderSurface:
        """The surface of one order."""
        return self.block_of(order).order_surface(order)

    def evaluate(
        self, order: np.ndarray, wavelength: np.ndarray, slit: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) [px, trimmed frame, 0-based centres] of broadcast (order, wavelength [nm], slit [arcsec])."""
        order, wavelength, slit = np.broadcast_arrays(
            np.asarray(order), np.asarray(wavelength, float), np.asarray(slit, float)
        )
        x = np.full(order.shape, np.nan)
        y = np.full(order.shape, np.nan)
        for number in np.unique(order):
            chosen = order == number
            x[chosen], y[chosen] = self.surface(int(number)).evaluate(wavelength[chosen], slit[chosen])
        return x, y

    def prediction_error(
        self, order: np.ndarray, wavelength: np.ndarray, slit: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """1 sigma (x, y) [px] of `evaluate`, from the coefficients' covariance; 0 where that is unknown."""
        order, wavelength, slit = np.broadcast_arrays(
            np.asarray(order), np.asarray(wavelength, float), np.asarray(slit, float)
        )
        x, y = np.full(order.shape, np.nan), np.full(order.shape, np.nan)
        for block in self.blocks:
            chosen = np.isin(order, block.orders)
            if chosen.any():
                design = block.design_matrix(order[chosen], wavelength[chosen], slit[chosen])
                for error, covariance in ((x, block.x_covariance), (y, block.y_covariance)):
                    error[chosen] = np.sqrt(np.maximum(((design @ covariance) * design).sum(axis=1), 0.0))
        return x, y

    def shifted(self, dx: float, dy: float) -> DispersionSolution:
        """The same solution moved by (dx, dy) [px], as flexure moves an exposure."""
        return replace(self, blocks=tuple(_moved(block, dx, dy) for block in self.blocks))

    def rebinned(self, binning: tuple[int, int]) -> DispersionSolution:
        """The same solution counted in pixels of another binning (y, x)."""
        if tuple(binning) == tuple(self.binning):
            return self
        factors = self.binning[1] / binning[1], self.binning[0] / binning[0]
        blocks = tuple(_scaled_pixels(block, *factors) for block in self.blocks)
        # Pixel centres: x_new + 1/2 = (x_old + 1/2) * factor.
        moved = replace(self, blocks=blocks, binning=tuple(binning))
        return moved.shifted(0.5 * factors[0] - 0.5, 0.5 * factors[1] - 0.5)


def _moved(block: DispersionBlock, dx: float, dy: float) -> DispersionBlock:
    constant = np.flatnonzero((block.terms == 0).all(axis=1))
    if constant.size != 1:
        raise ValueError("a block needs exactly one constant term")
    x, y = block.x_coefficients.copy(), block.y_coefficients.copy()
    x[constant] += dx
    y[constant] += dy
    return replace(block, x_coefficients=x, y_coefficients=y)


def _scaled_pixels(block: DispersionBlock, x_factor: float, y_factor: float) -> DispersionBlock:
    return replace(
        block,
        x_coefficients=block.x_coefficients * x_factor,
        y_coefficients=block.y_coefficients * y_factor,
        x_covariance=block.x_covariance * x_factor**2,
        y_covariance=block.y_covariance * y_factor**2,
    )

"""Exposures added up on the detector, pixel by pixel, as if they were one long exposure.

A pixel that one exposure has lost is made good by the others and by the models' difference: sky and seeing change
from exposure to exposure, and a plain mean over those that are left would be off by as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from soxs_recipes.data.frame import Frame, FrameMeta

__all__ = ["FrameSum", "exposure_weights"]

_LEAST = 0.2  # Share of the readout's variance that the base of the sum holds at least: first models may be 0.


def exposure_weights(times: Sequence[float], throughput: Sequence[float], variance: Sequence[float]) -> np.ndarray:
    """Weights with which exposures are added: signal over variance, so that clouds cost least.

    Parameters
    ----------
    times : sequence of float [s]
    throughput : sequence of float
        Relative, mean 1.
    variance : sequence of float [e-^2]
        Typical variance of a pixel under the object.

    Returns
    -------
    ndarray
        Such that the sum of weight * time * throughput is the total time: 1 for equal exposures.
    """
    times, throughput = np.asarray(times, float), np.asarray(throughput, float)
    signal = times * np.maximum(throughput, 1e-3)
    weight = signal / np.maximum(np.asarray(variance, float), 1e-9)
    return weight * times.sum() / (weight * signal).sum()


class FrameSum:
    """The weighted sum of exposures, which are handed in one by one.

    Parameters
    ----------
    weights : sequence of float
        From `exposure_weights`.
    signals : sequence of float
        Time times throughput of each exposure: what a lost exposure would have added to the object.
    """

    def __init__(self, weights: Sequence[float], signals: Sequence[float]):
        self._weights = np.asarray(weights, dtype=np.float64)
        self._signals = self._weights * np.asarray(signals, dtype=np.float64)
        self._metas: list[FrameMeta] = []
        self._images: dict[str, np.ndarray] = {}

    def add(self, frame: Frame, base_variance: np.ndarray, model: np.ndarray, hits: np.ndarray) -> None:
        """Add the next exposure.

        Parameters
        ----------
        frame : Frame
            Bias, dark and scattered light subtracted, not flat-fielded [e-].
        base_variance : ndarray (ny, nx) [e-^2]
            Variance but for the photon noise of sky and objects, shared variance included.
        model : ndarray (ny, nx) [e-]
            Sky and objects in every pixel of the orders, 0 elsewhere.
        hits : ndarray (ny, nx) bool
        """
        weight, signal = self._weights[len(self._metas)], self._signals[len(self._metas)]
        good = (frame.usable & ~hits).astype(np.float32)
        shared = np.zeros(frame.shape, np.float32) if frame.shared_variance is None else frame.shared_variance
        self._accumulate("model", weight * model)
        self._accumulate("residual", weight * good * (frame.data - model))
        self._accumulate("signal", np.float32(signal) * good)
        own = np.maximum(base_variance - shared, 0.0)
        self._accumulate("readout", weight**2 * good * own)
        self._accumulate("photons", weight**2 * good * np.maximum(model, 0.0))
        self._accumulate("shared", weight * good * np.sqrt(shared))
        self._combine_quality(frame.quality, good > 0)
        self._metas.append(frame.meta)

    def _accumulate(self, name: str, image: np.ndarray) -> None:
        if name in self._images:
            self._images[name] += image
        else:
            self._images[name] = np.array(image, dtype=np.float32)

    def _combine_quality(self, quality, good):
        """Bits of the pixels that take part; where none does, the bits of all."""
        inform = np.where(good, quality, 0).astype(np.int32)
        lost = quality.astype(np.int32)
        if "inform" in self._images:
            self._images["inform"] |= inform
            self._images["lost"] |= lost
        else:
            self._images["inform"], self._images["lost"] = inform, lost

    def result(self) -> tuple[Frame, np.ndarray]:
        """(the sum, its base variance), as an extraction takes them; exposure time is that of all.

        The base variance plus the sum's own photons is the variance of the sum, whatever the weights and however
        many exposures a pixel has; a little less than stated where faint exposures stand for a bright one.
        """
        images, total = self._images, self._signals.sum()
        reached = images["signal"] > 0
        share = np.where(reached, total / np.where(reached, images["signal"], 1.0), 0.0).astype(np.float32)
        data = images["model"] + share * images["residual"]
        shared = (share * images["shared"]) ** 2
        readout = share**2 * images["readout"]
        more_photons = share**2 * images["photons"] - np.maximum(images["model"], 0.0)
        base = np.maximum(readout + more_photons, _LEAST * readout) + shared
        quality = np.where(reached, images["inform"], images["lost"])
        frame = Frame(
            np.where(reached, data, 0.0).astype(np.float32),
            (base + np.maximum(data, 0.0)).astype(np.float32),
            quality,
            self._meta(),
            shared.astype(np.float32),
        )
        return frame, base.astype(np.float32)

    def _meta(self) -> FrameMeta:
        first, times = self._metas[0], np.array([meta.exposure_time for meta in self._metas])
        noise = np.array([meta.read_noise for meta in self._metas])
        airmass = np.array([meta.airmass for meta in self._metas])
        return replace(
            first,
            name=f"{first.name} and {len(self._metas) - 1} more",
            exposure_time=float(times.sum()),
            mjd_start=min(meta.mjd_start for meta in self._metas),
            mjd_end=max(meta.mjd_end for meta in self._metas),
            read_noise=float(np.sqrt((self._weights**2 * noise**2).sum())),
            saturation=min(meta.saturation for meta in self._metas),
            airmass=float((airmass * times).sum() / max(times.sum(), 1e-9)),
            combined=sum(meta.combined for meta in self._metas),
        )

"""Mathematics that several rooms need: banded least squares, penalised splines, regression, fits of Gaussians."""

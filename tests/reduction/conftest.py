"""Scenes that several rooms of the reduction are tested on."""

from echelle_scene import echelle, quasi_orders
from slit_scene import line_profile, scene_of, width_of

__all__ = ["echelle", "line_profile", "quasi_orders", "scene_of", "width_of"]

"""The faces that other programs need: EDPS, OCA rules and Reflex workflows, made from the declarations."""

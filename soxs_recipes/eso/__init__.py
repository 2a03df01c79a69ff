"""CPL's world: recipes' user interface, sets of frames, product headers."""

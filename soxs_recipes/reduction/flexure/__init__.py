"""How far an exposure moved against its calibrations: by sky lines, tellurics, the slit's ends, arcs."""

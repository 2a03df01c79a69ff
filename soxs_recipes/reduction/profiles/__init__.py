"""What lies on the slit: sources, their traces and how their light spreads."""

"""Files by which ESO's runners find the recipes, each alone in a folder of its own, and how they are installed."""

"""Windows in which a person judges a step of the reduction, changes parameters, and repeats it."""

"""Where the orders run and where the slit ends in each."""

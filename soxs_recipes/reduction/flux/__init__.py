"""Response, extinction, slit loss: from counts to flux."""

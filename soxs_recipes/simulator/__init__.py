"""Raw frames with known truth, written as the instrument writes them."""

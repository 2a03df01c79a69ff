"""The pixels of an order, its sky, and the joint fit of sky and objects."""

"""The master flat: blaze, lamp, pixel response, scattered light."""

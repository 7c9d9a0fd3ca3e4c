"""Measurements, each of which prints the figures that the documentation quotes."""

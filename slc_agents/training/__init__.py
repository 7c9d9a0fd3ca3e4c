"""Training: the loop, what it collects with, where it stands, how it evaluates. It knows no framework."""

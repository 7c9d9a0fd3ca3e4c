"""The PyTorch backend: the algorithms' mathematics, the networks they are written over, and what makes them run."""

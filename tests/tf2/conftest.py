"""The TensorFlow backend's own tests. What it has in common with PyTorch's is in tests/learner."""

import slc_agents.tf2  # noqa: F401 - before TensorFlow, which it makes silent

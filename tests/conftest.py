"""What all tests share: the modules in tests/support can be imported by their names."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from hypothesis import settings

# Appended, and in a folder of its own, so that nothing of ours can stand in the way of a package of the same name.
sys.path.append(str(Path(__file__).parent / "support"))

# A shell that starts us in the background makes us ignore Ctrl-C, which some tests press.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no error, and a failure is one that everybody sees.
settings.register_profile("slc", deadline=None, derandomize=True)
settings.load_profile("slc")

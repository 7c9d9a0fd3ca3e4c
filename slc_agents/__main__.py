"""`python -m slc_agents` is the command `slc-agents`."""

from __future__ import annotations

import sys

from slc_agents.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

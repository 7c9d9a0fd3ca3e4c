"""What the command's exit codes mean."""

from __future__ import annotations

FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

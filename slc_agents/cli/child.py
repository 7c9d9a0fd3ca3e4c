"""`python -m slc_agents.cli.child ARGUMENTS` is the command `slc-agents` as the child of another process.

When the pipe to its standard input closes, it is as if Ctrl-C had come. So it ends in good order, with a checkpoint,
when its parent asks for it, and also when its parent is killed; on every system alike.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading

from slc_agents.cli.main import main

__all__ = ["interrupt_at_end_of_input"]


def interrupt_at_end_of_input() -> None:
    """Lets Ctrl-C come when standard input ends."""
    # A shell that starts a command in the background lets it, and so its children, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait() -> None:
        while os.read(0, 1024):
            pass
        main_thread = threading.main_thread().ident
        if main_thread is not None and hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main_thread, signal.SIGINT)  # which also wakes it where it waits for something
        else:
            _thread.interrupt_main()

    threading.Thread(target=wait, name="end of input", daemon=True).start()


if __name__ == "__main__":
    interrupt_at_end_of_input()
    sys.exit(main())

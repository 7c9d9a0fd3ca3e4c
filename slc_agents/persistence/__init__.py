"""Files: the agent archive, which can't carry code, and checkpoints."""

from slc_agents.persistence.archive import Archive, read_archive, write_archive

__all__ = ["Archive", "read_archive", "write_archive"]

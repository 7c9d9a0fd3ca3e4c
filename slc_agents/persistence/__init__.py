"""Files: the agent archive, which runs no code when it is read."""

from slc_agents.persistence.archive import Archive, ArchivedArray, is_archive, read_archive, write_archive
from slc_agents.persistence.encoding import Decoder, encode
from slc_agents.persistence.progress import show_progress

__all__ = [
    "Archive",
    "ArchivedArray",
    "Decoder",
    "encode",
    "is_archive",
    "read_archive",
    "show_progress",
    "write_archive",
]

"""Files: the agent archive, which runs no code when it is read."""

from slc_agents.persistence.archive import Archive, is_archive, read_archive, write_archive
from slc_agents.persistence.encoding import Decoder, encode

__all__ = ["Archive", "Decoder", "encode", "is_archive", "read_archive", "write_archive"]

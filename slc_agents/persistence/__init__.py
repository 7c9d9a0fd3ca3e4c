"""Files: the agent archive, which runs no code when it is read."""

from slc_agents.persistence.archive import Archive, read_archive, write_archive
from slc_agents.persistence.encoding import Decoder, encode

__all__ = ["Archive", "Decoder", "encode", "read_archive", "write_archive"]

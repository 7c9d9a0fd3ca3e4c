"""Files: the agent archive, which can't carry code, and checkpoints."""

from slc_agents.persistence.archive import Archive, read_archive, write_archive
from slc_agents.persistence.encoding import Decoder, encode

__all__ = ["Archive", "Decoder", "encode", "read_archive", "write_archive"]

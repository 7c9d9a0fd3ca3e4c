"""The command `slc-agents`: one file a command."""

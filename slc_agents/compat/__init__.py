"""Other libraries' names and files in, ours out."""

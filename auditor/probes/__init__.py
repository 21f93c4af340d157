"""See the docstrings of the modules within."""

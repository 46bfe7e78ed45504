"""The ``genesis-segment`` command: parses, asks, shows; the engine does the work."""

"""The process that serves the engine: commands in on stdin, events out on stdout (:mod:`..core.protocol`)."""

"""What the module decides, without Qt and without MRML: states, commands, and what the panel has to show."""

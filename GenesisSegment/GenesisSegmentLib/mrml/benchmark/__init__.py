"""How fast and how large the module's work on Slicer's scene is: ``python -m GenesisSegmentLib.mrml.benchmark``."""

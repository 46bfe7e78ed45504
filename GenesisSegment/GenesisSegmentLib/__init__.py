"""GenesisSegment: CT segmentation that learns from corrections, on one workstation."""

__version__ = "0.1.0"

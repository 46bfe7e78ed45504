"""The MRML scene: CT in, segmentation out, corrections written through Slicer's editor logic. No Qt."""

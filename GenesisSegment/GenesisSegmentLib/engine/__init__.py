"""The engine: networks, inference, measurement, export and learning. Never imports slicer, vtk or qt."""

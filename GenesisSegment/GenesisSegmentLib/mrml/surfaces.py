"""The 3D surfaces of a segmentation: they are made anew at every edit, which takes about a second, so they pause.

All of them take half a minute, in which Slicer does not answer: none are made before the person asks for them.
"""

from __future__ import annotations

from typing import Any

import slicer

from .nodes import modifying

_SUSPENDED = "GenesisSegment.SurfacesSuspended"


def closed_surface() -> str:
    """Name of the representation that 3D views show."""
    return slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


def has_surfaces(node: Any) -> bool:
    """Whether surfaces are there, and so kept up to date."""
    return bool(node.GetSegmentation().ContainsRepresentation(closed_surface()))


def suspend(node: Any) -> None:
    """Takes the surfaces away until :func:`show`; the node, and a saved scene, remember that they were there."""
    if has_surfaces(node):
        node.SetAttribute(_SUSPENDED, "1")
        node.GetSegmentation().RemoveRepresentation(closed_surface())


def are_suspended(node: Any) -> bool:
    """Whether the surfaces were taken away and nobody has made them since."""
    return bool(node.GetAttribute(_SUSPENDED)) and not has_surfaces(node)


def show(node: Any) -> None:
    """Makes the surfaces, anew where they are there, and shows them in 3D views."""
    node.RemoveAttribute(_SUSPENDED)
    with modifying(node):
        if has_surfaces(node):
            node.GetSegmentation().RemoveRepresentation(closed_surface())
        node.CreateClosedSurfaceRepresentation()
        node.CreateDefaultDisplayNodes()  # somebody may have removed it
        display = node.GetDisplayNode()
        display.SetPreferredDisplayRepresentationName3D(closed_surface())
        display.SetVisibility3D(True)

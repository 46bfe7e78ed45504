"""The 3D surfaces of a segmentation: they are made anew at every edit, which takes about a second, so they pause."""

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
    """Takes the surfaces away, and remembers that they were there."""
    if has_surfaces(node):
        node.SetAttribute(_SUSPENDED, "1")
        node.GetSegmentation().RemoveRepresentation(closed_surface())


def resume(node: Any) -> None:
    """Makes the surfaces again where :func:`suspend` took them away; takes seconds for many segments."""
    if node.GetAttribute(_SUSPENDED):
        node.RemoveAttribute(_SUSPENDED)
        node.CreateClosedSurfaceRepresentation()


def show(node: Any) -> None:
    """Makes the surfaces, anew where they are there, and shows them in 3D views."""
    node.RemoveAttribute(_SUSPENDED)
    with modifying(node):
        if has_surfaces(node):
            node.GetSegmentation().RemoveRepresentation(closed_surface())
        node.CreateClosedSurfaceRepresentation()
        display = node.GetDisplayNode()
        display.SetPreferredDisplayRepresentationName3D(closed_surface())
        display.SetVisibility3D(True)

"""Finding, marking and changing nodes of the scene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import slicer

from ..core.errors import GenesisError
from ..core.i18n import _

PART = "GenesisSegment.Part"
"""Attribute that says what a node is for us: one of the values below."""
SEGMENTATION, PROPOSAL, DIFFERENCE, PARTIAL = "segmentation", "proposal", "difference", "partial"
EXPORT, PREVIEW = "export", "preview"
PROPOSAL_ROLE, TABLE_ROLE = "GenesisSegment.Proposal", "GenesisSegment.Measurements"
"""Node references of our segmentation. That to the CT is Slicer's own: the reference image geometry."""
EARLIER_ROLE = "GenesisSegment.EarlierProposal"
"""Node reference to what the run before proposed: Undo brings its segments back. Not saved, for Undo is not either."""
OWNER_ROLE = "GenesisSegment.Segmentation"
"""Node reference of a proposal back to the segmentation it belongs to."""


class GoneError(GenesisError):
    """A node that was worked with is no longer in the scene."""

    code = "gone"


def nodes_of(scene: Any, class_name: str) -> list[Any]:
    """All nodes of a class and of those derived from it (``slicer.util.getNodesByClass`` looks in one scene only)."""
    return [scene.GetNthNodeByClass(n, class_name) for n in range(scene.GetNumberOfNodesByClass(class_name))]


def volume_role() -> str:
    """Role under which a segmentation refers to the volume that gives its grid."""
    return slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()


def volume_of(node: Any) -> Any:
    """The CT that a segmentation belongs to.

    Raises:
        GoneError: it is not in the scene.
    """
    volume = node.GetNodeReference(volume_role())
    if volume is None:
        raise GoneError(
            _("The CT of {name} is no longer in the scene.").format(name=node.GetName()), _("Load the CT again.")
        )
    return volume


def parts_of(scene: Any, volume_id: str, part: str) -> list[Any]:
    """Our segmentation nodes of one kind that belong to a volume, oldest first."""
    return [
        node
        for node in nodes_of(scene, "vtkMRMLSegmentationNode")
        if node.GetAttribute(PART) == part and node.GetNodeReferenceID(volume_role()) == volume_id
    ]


def segmentation_node(scene: Any, segmentation_id: str) -> Any:
    """The segmentation node of an ID.

    Raises:
        GoneError: it is not in the scene.
    """
    node = scene.GetNodeByID(segmentation_id) if segmentation_id else None
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        raise GoneError(_("The segmentation is no longer in the scene."), _("Segment the CT again, or undo."))
    return node


def segment_of(node: Any, segment_id: str) -> Any:
    """The segment of an ID.

    Raises:
        GoneError: the segmentation has no such segment.
    """
    segment = node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise GoneError(_("The segment is no longer there."), _("Choose another segment."))
    return segment


@contextmanager
def modifying(*nodes: Any) -> Iterator[None]:
    """Has observers of the nodes told once, at the end, that they were modified."""
    states = [(node, node.StartModify()) for node in nodes]
    try:
        yield
    finally:
        for node, state in reversed(states):
            node.EndModify(state)


def hide_from_lists(node: Any) -> None:
    """Keeps a node out of selectors and of the Data module's tree."""
    node.SetHideFromEditors(True)
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyExcludeFromTreeAttributeName()
    node.SetAttribute(name, "1")


def put_beside(node: Any, neighbour: Any) -> None:
    """Places a node under the same parent as another one in the subject hierarchy: the study of a CT."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item, beside = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(neighbour)
    if item and beside:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(beside))


def remove_node(node: Any) -> None:
    """Takes a node out of the scene together with its display and storage nodes; nothing where it is gone already."""
    scene = node.GetScene()
    if scene is None:
        return
    attached = (
        [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
        if hasattr(node, "GetNumberOfDisplayNodes")
        else []
    )
    attached.append(node.GetStorageNode())
    scene.RemoveNode(node)
    for other in attached:
        if other is not None and other.GetScene() is not None:
            scene.RemoveNode(other)

"""The CTs of the scene as the controller sees them: the part of the scene port that is about volumes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ..core.errors import GenesisError, InputError
from ..core.geometry import Geometry
from ..core.i18n import _
from ..core.pieces import Pieces, steady
from ..core.workflow.ports import Snapshot
from .copying import copying
from .volumes import Fingerprints, check_node, ct_node, frame_note, is_from_dicom, placement, version_of


class SceneVolumes:
    """Volumes of an MRML scene. They are named by ID, and looked up at every call."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._fingerprints = Fingerprints()

    def copying(self, volume_id: str) -> Pieces[Snapshot]:
        """Copies a CT, or says why it cannot be used; anew where it changes: :func:`.copying.copying`."""
        check_node(ct_node(self._scene, volume_id))
        return self._copying(volume_id)

    def _copying(self, volume_id: str) -> Pieces[Snapshot]:
        def version() -> Hashable:
            node = self._scene.GetNodeByID(volume_id)
            return version_of(node) if node is not None and node.GetImageData() is not None else None

        _version, snapshot = yield from steady(
            version, lambda: copying(ct_node(self._scene, volume_id), self._fingerprints)
        )
        return snapshot

    def problem(self, volume_id: str) -> str:
        """Why this volume cannot be segmented, or an empty string; without copying it."""
        try:
            check_node(ct_node(self._scene, volume_id))
        except GenesisError as error:
            return str(error)
        return ""

    def note(self, volume_id: str) -> str:
        """Which frame of a sequence a volume shows, or an empty string."""
        return frame_note(ct_node(self._scene, volume_id))

    def geometry(self, volume_id: str) -> Geometry:
        """Grid of a CT in the world, without looking at its voxels."""
        return placement(ct_node(self._scene, volume_id)).geometry

    def is_dicom(self, volume_id: str) -> bool:
        """Whether a volume came from Slicer's DICOM database, which a DICOM SEG refers to."""
        return is_from_dicom(ct_node(self._scene, volume_id))

    def fingerprint(self, volume_id: str) -> str | None:
        """The fingerprint now, or None where the volume is gone."""
        node = self._scene.GetNodeByID(volume_id)
        return self._fingerprints.of(node) if node is not None else None

    def unchanged(self, snapshot: Snapshot) -> Any:
        """The node of a CT that is still as it was copied.

        Raises:
            GoneError: it was removed meanwhile.
            InputError: it was changed meanwhile.
        """
        volume = ct_node(self._scene, snapshot.node_id)
        if self._fingerprints.of(volume) != snapshot.fingerprint:
            raise InputError(
                _("{name} was changed while it was segmented, so the result does not fit it any more.").format(
                    name=volume.GetName()
                ),
                _("Segment it again."),
            )
        return volume

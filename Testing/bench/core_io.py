"""`app.coreIOManager()` on MRML's storage, for `slicer.util.loadVolume`, `loadSegmentation`, `saveNode`, `saveScene`.

File types are named as in Slicer. A type that is not listed here is refused with a message, as an unknown one is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject

from .standin import StandIn

_TYPE_OF_SUFFIX = {".seg.nrrd": "SegmentationFile", ".mrb": "SceneFile", ".mrml": "SceneFile", ".csv": "TableFile"}


class qSlicerCoreIOManager(StandIn, QObject):
    """Reads and writes nodes of the current scene."""

    def fileType(self, path):
        """The type of a file by its name; a volume where nothing else fits."""
        return next((kind for end, kind in _TYPE_OF_SUFFIX.items() if str(path).lower().endswith(end)), "VolumeFile")

    def fileWriterFileType(self, node, fileFormat=""):
        """The type under which a node is written."""
        return node.GetClassName().removeprefix("vtkMRML").removesuffix("Node") + "File"

    def loadNodes(self, file_type, properties, loaded=None, messages=None):
        """Read a file into the scene and put its node into the collection `loaded`."""
        import slicer

        path = Path(properties["fileName"])
        if file_type == "SceneFile":
            slicer.mrmlScene.SetURL(str(path))
            clear = properties.get("clear", True)
            if path.suffix == ".mrb":
                return bool(slicer.mrmlScene.ReadFromMRB(str(path), clear))
            return bool(slicer.mrmlScene.Connect() if clear else slicer.mrmlScene.Import())
        reader = getattr(self, f"_read_{file_type}", None)
        node = reader(path, properties) if reader and path.is_file() else None
        if node is None:
            self._complain(messages, f"no {file_type} could be read from {path}")
            return False
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def saveNodes(self, file_type, properties, messages=None):
        """Write a node, or the scene."""
        import slicer

        path = str(properties["fileName"])
        if file_type == "SceneFile":
            return bool(slicer.mrmlScene.WriteToMRB(path) if path.endswith(".mrb") else slicer.mrmlScene.Commit(path))
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(path)
        node.GetStorageNode().SetUseCompression(bool(properties.get("useCompression", True)))
        if not node.GetStorageNode().WriteData(node):
            self._complain(messages, f"{node.GetName()} could not be written to {path}")
            return False
        return True

    def _read_VolumeFile(self, path: Path, properties: dict[str, Any]) -> Any:
        import slicer

        options = int(bool(properties.get("labelmap")))
        name = properties.get("name") or path.name.split(".")[0]
        return slicer.modules.volumes.logic().AddArchetypeVolume(str(path), name, options)

    def _read_SegmentationFile(self, path: Path, properties: dict[str, Any]) -> Any:
        import slicer

        name = properties.get("name") or path.name.split(".")[0]
        return slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), True, name)

    def _read_TableFile(self, path: Path, properties: dict[str, Any]) -> Any:
        import slicer

        return slicer.modules.tables.logic().AddTable(str(path))

    @staticmethod
    def _complain(messages: Any, text: str) -> None:
        import vtk

        if messages is not None:
            messages.AddMessage(vtk.vtkCommand.ErrorEvent, text)

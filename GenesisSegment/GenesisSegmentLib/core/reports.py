"""What the events of the protocol are made of: packages, devices, models, layers and measurements in plain types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .classes import FIRST_OWN, StructureClass, structures

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Package:
    """A Python package of the engine. ``needed_for`` "engine" (always), "onnx", "torch" or "export".

    ``note`` is a sentence where the verdict is not "ok".
    """

    name: str
    version: str | None
    needed_for: Literal["engine", "onnx", "torch", "export"]
    verdict: Literal["ok", "missing", "unfit"]
    note: str = ""


@dataclass(frozen=True)
class DeviceInfo:
    """A processor or GPU: ``name`` is what commands take, memory in bytes (0 where it cannot be told)."""

    name: str
    title: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class ModelInfo:
    """A model of the catalogue. ``state``: bundled, installed, missing, damaged or unchecked.

    ``note`` is what the person must know, such as "not for clinical use". Licence answers None: not known. ``own`` are
    the names of the classes from 33 on, which a person taught and ``offered`` leaves out.
    """

    id: str
    title: str
    purpose: str
    note: str
    state: str
    usable_for: Literal["segmentation", "initialisation"]
    offered: tuple[int, ...]
    is_onnx: bool
    size_bytes: int | None
    licence: str
    licence_url: str | None
    licence_summary: str
    commercial_use: bool | None
    clinical_use: bool | None
    url: str | None
    page: str | None
    citation: str
    own: tuple[str, ...] = ()

    @property
    def drawn(self) -> tuple[int, ...]:
        """All that the model can draw: the classes that it offers, and the structures of ``own``."""
        return (*self.offered, *range(FIRST_OWN, FIRST_OWN + len(self.own)))

    @property
    def structures(self) -> Mapping[int, StructureClass]:
        """What each class is, structures of one's own included."""
        return structures(self.own)


@dataclass(frozen=True)
class LayerFile:
    """A label layer: raw uint8, i fastest, whose values are class indices. ``classes`` says which lie in it."""

    file: str
    classes: tuple[int, ...]


@dataclass(frozen=True)
class MeasurementRow:
    """One row of the table: a class (``lesion`` None) or one of its lesions, numbered from 1.

    Lengths in mm, positions in RAS mm. None: does not apply or cannot be told.
    """

    index: int
    name: str
    lesion: int | None
    voxels: int
    volume_ml: float
    mean_hu: float | None
    sd_hu: float | None
    touches_border: bool
    lesion_count: int | None = None
    longest_mm: float | None = None
    perpendicular_mm: float | None = None
    centroid_ras: Point | None = None

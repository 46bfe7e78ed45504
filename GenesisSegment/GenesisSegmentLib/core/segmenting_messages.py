"""The part of :mod:`.protocol` that belongs to CTs and their segmentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .reports import LayerFile, MeasurementRow

Recipe = Literal["fast", "published"]
Cleaning = Literal["safe", "published"]
RuntimeName = Literal["torch", "onnx"]
Index = tuple[int, int, int]


@dataclass(frozen=True)
class LoadVolume:
    """Makes a CT in a bulk folder known under its ``fingerprint``. Answer: :class:`Done`.

    ``name`` is for people; ``series_uid`` the DICOM SeriesInstanceUID where there is one.
    """

    type: ClassVar[str] = "load_volume"
    id: str
    folder: str
    fingerprint: str
    name: str = ""
    series_uid: str = ""


@dataclass(frozen=True)
class Estimate:
    """Asks what segmenting would take. Answer: :class:`Estimated`.

    ``volume`` is a fingerprint. For a CT that is not loaded, ``shape`` and ``spacing`` in mm say enough, both in the
    order of the axes R, A, S; nothing is known then of the air around the body, so that the answer is an upper limit.
    """

    type: ClassVar[str] = "estimate"
    id: str
    volume: str
    model: str = "starter"
    classes: tuple[int, ...] | None = None
    device: str = "auto"
    runtime: RuntimeName | None = None
    recipe: Recipe = "fast"
    shape: Index | None = None
    spacing: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Segment:
    """Segments a loaded CT. Answers: :class:`Progress` and :class:`Partial` on the way, then :class:`Result`.

    ``volume`` is a fingerprint, ``folder`` an existing folder that takes the files of the result (the client gives one
    where it is empty), ``model`` a name in the catalogue or a file, ``classes`` None all that the model offers,
    ``overlap`` None the model's own.
    """

    type: ClassVar[str] = "segment"
    id: str
    volume: str
    folder: str = ""
    model: str = "starter"
    classes: tuple[int, ...] | None = None
    device: str = "auto"
    runtime: RuntimeName | None = None
    recipe: Recipe = "fast"
    postprocess: Cleaning = "safe"
    overlap: float | None = None


@dataclass(frozen=True)
class Unload:
    """Forgets a volume, or with an empty fingerprint all volumes and all warm models. Answer: :class:`Done`."""

    type: ClassVar[str] = "unload"
    id: str
    volume: str = ""


@dataclass(frozen=True)
class Partial:
    """One class before the run ends: its mask inside the box ``start``..``stop``, raw uint8 0/1, i fastest.

    ``is_preliminary``: the mask of the result may differ.
    """

    type: ClassVar[str] = "partial"
    id: str
    index: int
    start: Index
    stop: Index
    file: str
    is_preliminary: bool = False


@dataclass(frozen=True)
class Result:
    """A finished segmentation on the grid of the volume with the fingerprint ``volume``.

    ``classes`` were looked for; each lies in exactly one layer. ``present`` were found. ``seconds`` per stage. ``own``
    are the names of the classes from 33 on.
    """

    type: ClassVar[str] = "result"
    id: str
    volume: str
    shape: Index
    layers: tuple[LayerFile, ...]
    classes: tuple[int, ...]
    present: tuple[int, ...]
    measurements: tuple[MeasurementRow, ...]
    notes: tuple[str, ...]
    device: str
    model: str
    model_title: str
    model_sha256: str
    recipe: Recipe
    postprocess: str
    windows: int
    seconds: dict[str, float] = field(default_factory=dict)
    own: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimated:
    """What a run would take. ``seconds`` None: not known yet, and a note says so. ``device`` is where it would run."""

    type: ClassVar[str] = "estimated"
    id: str
    seconds: float | None
    host_bytes: int
    device_bytes: int
    device: str
    notes: tuple[str, ...] = ()

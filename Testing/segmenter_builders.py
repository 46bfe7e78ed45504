"""A small abdomen whose organs are known, and segmenters that find them by a threshold on the intensity."""

from __future__ import annotations

import numpy as np

from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.volume import Volume
from GenesisSegmentLib.engine.inference.segmenter import Segmenter
from GenesisSegmentLib.engine.inference.spec import ModelSpec
from inference_builders import ROTATIONS, SPEC, FreeMemory, StandIn, a_volume, above, ball_distance, grid

CENTER = (12.0, -30.0, 400.0)
LIVER_AT, SPLEEN_AT = (21.0, -33.0, 404.0), (0.0, -26.0, 397.0)
FUNCTIONS = (above(140), above(140), above(140), above(90), above(220))
"""The channels of SPEC on the abdomen below: spleen, both kidneys, liver, kidney tumour."""


def abdomen(geometry: Geometry) -> Volume:
    """A body of soft tissue, a larger organ on the right ("liver"), a smaller and denser one on the left ("spleen")."""
    voxels = np.full(geometry.shape, -1000.0)
    voxels[ball_distance(geometry, CENTER, 23.0) > 0] = 40
    voxels[liver_depth(geometry) > 0] = 140
    voxels[spleen_depth(geometry) > 0] = 240
    return a_volume(voxels, geometry)


def liver_depth(geometry: Geometry) -> np.ndarray:
    return ball_distance(geometry, LIVER_AT, 9.0)


def spleen_depth(geometry: Geometry) -> np.ndarray:
    return ball_distance(geometry, SPLEEN_AT, 7.0)


def a_grid(degrees=ROTATIONS[1]) -> Geometry:
    return grid((34, 30, 17), (1.5, 1.7, 3.0), degrees, CENTER)


def a_segmenter(
    runtime: StandIn | None = None, spec: ModelSpec = SPEC, device: str = "cpu", machine=None, job: Job | None = None
) -> Segmenter:
    runtime = runtime or StandIn(FUNCTIONS)
    return Segmenter(spec, lambda name: runtime, device, machine or FreeMemory(), job or Job())

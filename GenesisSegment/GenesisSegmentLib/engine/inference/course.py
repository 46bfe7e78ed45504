"""The windows of one run by the fast recipe, round what was seen or over all of the body, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...core.jobs import Advance, Job
from ...core.volume import Volume
from ..postprocess import postprocess_bits
from .early import EarlyClasses
from .look import Sighting, search
from .ring import BitSink, LogitSink, PlaneSink, slide
from .spec import ModelSpec, OnClass, Runtime
from .sweep import Lattice, Sweep

_LOOKED_SHARE = 0.5
"""Of the progress of the network, for windows round what was seen: more may follow."""


@dataclass(frozen=True, eq=False)
class Found:
    """Planes of the run: ``windows`` were run in all, ``is_everywhere`` over all of the body; ``notes`` say why."""

    sink: BitSink
    windows: int
    is_everywhere: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Course:
    """What the windows of a run share. ``classes`` are computed, ``wanted`` are cleaned and returned."""

    spec: ModelSpec
    volume: Volume
    lattice: Lattice
    runtime: Runtime
    is_half: bool
    classes: tuple[int, ...]
    wanted: tuple[int, ...]
    variant: str
    job: Job
    on_class: OnClass | None

    def found(self, sighting: Sighting | None) -> Found:
        """Runs windows round what was seen where that is enough, else over all of the body."""
        network = partial(self.job.advance, "network")
        if sighting is None:
            everywhere = self.lattice.everywhere()
            return Found(self._run(everywhere, network), everywhere.windows)
        last: list[BitSink] = []

        def found_in(sweep: Sweep) -> np.ndarray:
            last[:] = [self._run(sweep, lambda share: network(_LOOKED_SHARE * share))]
            asked = tuple(sorted({*self.wanted, *sighting.classes}))
            bits = np.zeros_like(last[0].bits)
            bits[self.lattice.prepared.valid] = self.cleaned(last[0], asked, lambda share: self.job.check())
            return bits

        sweep, windows, notes = search(self.lattice, sighting, self.wanted, found_in)
        if sweep is not None:
            network(1.0)
            return Found(last[0], windows, False, notes)
        last.clear()
        everywhere = self.lattice.everywhere()
        sink = self._run(everywhere, lambda share: network(_LOOKED_SHARE + (1 - _LOOKED_SHARE) * share))
        return Found(sink, windows + everywhere.windows, True, notes)

    def cleaned(self, sink: BitSink, asked: tuple[int, ...], advance: Advance) -> np.ndarray:
        """The cleaned bits (x, y, z) of ``asked`` on the grid of the model's input, without its padding."""
        raw = sink.bits[self.lattice.prepared.valid]
        return postprocess_bits(raw, self.classes, self.variant, self.spec.spacing_mm, asked, advance=advance)

    def _run(self, sweep: Sweep, advance: Callable[[float], None]) -> BitSink:
        """The planes of a sweep, with nothing outside of what is believed."""
        prepared, spec = self.lattice.prepared, self.spec
        kind = LogitSink if spec.upsampling == "linear" else BitSink
        sink = kind(prepared.image.shape, self.classes, sweep.box)  # type: ignore[arg-type]
        taker: PlaneSink = sink
        if self.on_class is not None and spec.upsampling == "nearest":
            native = self.volume.geometry
            taker = EarlyClasses(sink, prepared, native, self.classes, self.wanted, self.variant, self.on_class)
        advance(0.0)
        window, overlap, channels = self.lattice.window, self.lattice.overlap, spec.channels(self.classes)
        image, half, box = prepared.image, self.is_half, sweep.box
        slide(image, self.runtime, channels, window, overlap, taker, advance, half, sweep.chosen, box)
        if sweep.kept != sweep.box:
            believed = sink.bits[sweep.kept.slices].copy()
            sink.bits[...] = 0
            sink.bits[sweep.kept.slices] = believed
        return sink

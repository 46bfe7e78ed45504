"""Prompts: what is kept warm between two of them, and each from command to file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.bulk import read_mask, writing_mask
from ..core.errors import InputError
from ..core.geometry import Box
from ..core.i18n import _
from ..core.jobs import Job
from ..core.protocol import Refine, Refined
from ..core.refining_messages import CLOSED, SEGMENT
from ..core.volume import Volume
from ..engine.refine.clicks import OnnxClicks, open_clicks
from ..engine.refine.draft import Change, Draft
from ..engine.refine.geodesic import prepare
from ..engine.refine.refiner import Refiner
from .warm import CURRENT

if TYPE_CHECKING:
    from ..engine.models.store import ResolvedModel
    from ..engine.refine.features import Features


def warm_up() -> None:
    """Gets ready what the first preview would wait for: libraries, and code that is compiled when it is first used."""
    threading.Thread(target=prepare, name="warm-up", daemon=True).start()


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a model sees in a CT, and the job that its network was opened with."""

    key: tuple[str, str, str]
    features: Features
    job: Job


class Refining:
    """Keeps the click network, the segment that was read last, as a stroke asks about the same one many times, and
    what a model saw in the CT.
    """

    def __init__(self, resolve: Callable[[str], ResolvedModel]) -> None:
        """``resolve`` finds a model by its name."""
        self._resolve = resolve
        self._clicks: dict[str, OnnxClicks | None] = {}
        self._draft: tuple[tuple[str, Box], Draft] | None = None
        self._seen: _Seen | None = None

    def forget(self) -> None:
        """Lets go of what was kept of a CT."""
        self._draft = self._seen = None

    def refined(self, command: Refine, volume: Volume, job: Job) -> Refined:
        """Does what a command asks for and writes the result into its folder.

        Raises:
            InputError: the segment cannot be read, or the newest prompt covers nothing that may change, or the model
                does not draw the structure that is to be propagated.
            ModelError: a network cannot be run.
            OutputError: the result could not be written.
        """
        started = time.perf_counter()
        draft = self._read(command, volume)
        read = time.perf_counter()
        change = self._change(command, volume, draft, job)
        job.check()
        found = time.perf_counter()
        file = ""
        if not change.is_empty:
            path = Path(command.folder) / "refined.u1"
            for _piece in writing_mask(path, change.mask):
                job.check()
            file = str(path)
        seconds = {"reading": read - started, command.step: found - read, "writing": time.perf_counter() - found}
        return Refined(command.id, change.box.start, change.box.stop, file, change.notes, seconds)

    def _change(self, command: Refine, volume: Volume, draft: Draft, job: Job) -> Change:
        if command.step == "preview":
            return Refiner(volume).preview(draft, command.prompts)
        if command.step == "propagate":
            return self._propagated(command, volume, draft, job)
        return Refiner(volume, self._network(command.device)).answer(draft, command.prompts)

    def _propagated(self, command: Refine, volume: Volume, draft: Draft, job: Job) -> Change:
        from ..engine.refine.propagate import propagated

        job.plan({"network": 1})
        seen = self._features(command, volume)
        job.on_cancel(seen.job.cancel)
        job.check()

        def advance(share: float) -> None:
            job.advance("network", share)

        try:
            return propagated(volume, draft, command.prompts, command.class_index, seen.features, advance)
        except BaseException:
            if seen.job.is_cancelled:  # a session of ONNX Runtime that was told to break off stays broken off
                self._seen = None
            raise

    def _features(self, command: Refine, volume: Volume) -> _Seen:
        from ..engine.inference.spec import ModelSpec
        from ..engine.open_model import open_runtime
        from ..engine.refine.features import Features

        model = self._resolve(command.model or CURRENT)
        key = command.volume, model.sha256, command.device
        if self._seen is None or self._seen.key != key:
            self._seen = None  # first, as both may be large
            own = Job()
            network = open_runtime(model, own, device=command.device)
            self._seen = _Seen(key, Features(volume, ModelSpec.of(model.name, model.facts), network), own)
        self._seen.job.renew()
        return self._seen

    def _read(self, command: Refine, volume: Volume) -> Draft:
        key = command.file, Box(command.start, command.stop)
        if self._draft is None or self._draft[0] != key:
            if any(a < 0 or b > n for a, b, n in zip(command.start, command.stop, volume.geometry.shape, strict=True)):
                raise InputError(_("The segment does not lie in the CT."), _("Choose the CT again."))
            bits = read_mask(Path(command.file), key[1])
            self._draft = key, Draft(key[1], (bits & SEGMENT) != 0, bits == CLOSED)
        return self._draft[1]

    def _network(self, device: str) -> OnnxClicks | None:
        if device not in self._clicks:
            self._clicks[device] = open_clicks(device)
        return self._clicks[device]

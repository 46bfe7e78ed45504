"""Models that stay on their device between two commands."""

from __future__ import annotations

import gc
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import GenesisError, ResourceError
from ..core.jobs import Job, Progress
from ..core.protocol import RuntimeName

if TYPE_CHECKING:
    from ..engine.inference.segmenter import Segmenter
    from ..engine.models.store import ModelStore, ResolvedModel

CURRENT = "current"
"""The name of the model in use; see :meth:`..engine.models.store.ModelStore.resolve`."""
IDLE_MINUTES = 10.0
_KEPT = 2


@dataclass(frozen=True, eq=False)
class Lent:
    """A segmenter, and the job that it was made with and that its caller goes on with."""

    segmenter: Segmenter
    job: Job


class WarmModels:
    """Keeps the models that were used last. ``store`` is opened when the first one is asked for.

    They hold memory, that of a GPU above all, which other programs may need: :meth:`rest` lets go of them when none was
    used for ``idle_s`` seconds.
    """

    def __init__(
        self,
        store: Callable[[], ModelStore],
        idle_s: float = IDLE_MINUTES * 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_store, self._idle_s, self._clock = store, idle_s, clock
        self._used_at = clock()
        self._store: ModelStore | None = None
        self._resolved: dict[str, tuple[tuple[int, int], ResolvedModel]] = {}
        self._warm: OrderedDict[tuple[str, str, str], Lent] = OrderedDict()

    @property
    def store(self) -> ModelStore:
        """The models of this machine."""
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def resolve(self, name: str) -> ResolvedModel:
        """A model by name or file; what was checked is not read again while its file stays as it is.

        Raises:
            ModelError: see :meth:`..engine.models.store.ModelStore.resolve`.
        """
        if name == CURRENT:  # another version may have come into use since
            name = self.store.current_name()
        known = self._resolved.get(name)
        if known is not None and _stamp(known[1].path) == known[0]:
            return known[1]
        model = self.store.resolve(name)
        self._resolved[name] = _stamp(model.path), model
        return model

    @contextmanager
    def lent(
        self,
        model: ResolvedModel,
        runtime: RuntimeName | None,
        device: str,
        job: Job,
        report: Callable[[Progress], None],
    ) -> Iterator[Lent]:
        """A segmenter whose progress goes to ``report`` and which stops when ``job`` is cancelled.

        Raises:
            ModelError, ResourceError: it cannot be opened.
            Cancelled: ``job`` was cancelled before.
        """
        from ..engine.open_model import open_segmenter

        key = model.sha256, runtime or "", device
        warm = self._warm.pop(key, None)
        if warm is None or (warm.job.is_cancelled and _is_onnx(model, runtime)):
            # A session of ONNX Runtime that was told to break off stays broken off; torch only stopped.
            own = Job()
            warm = Lent(open_segmenter(model, own, runtime=runtime, device=device), own)
        warm.job.renew()
        warm.job.report_to(report)
        job.on_cancel(warm.job.cancel)
        job.check()
        try:
            yield warm
        except GenesisError as error:
            if isinstance(error, ResourceError):
                self.clear()
            else:
                self._keep(key, warm)
            raise
        except BaseException:
            self.clear()  # it may have been the memory
            raise
        self._keep(key, warm)

    def clear(self) -> None:
        """Lets go of every model and its memory."""
        self._resolved.clear()
        self._store = None
        self._cool_down()

    def rest(self) -> None:
        """Lets go of the memory of models that were not used for a while, and says so in the log.

        Call it now and then on the thread that runs models, while none runs.
        """
        if self._warm and self._clock() - self._used_at >= self._idle_s:
            print(
                f"No run for {self._idle_s / 60:g} minutes: the memory of {len(self._warm)} models is given back.",
                file=sys.stderr,
                flush=True,
            )
            self._cool_down()

    def _cool_down(self) -> None:
        self._warm.clear()
        gc.collect()  # before the cache is emptied: modules may refer to each other in circles
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _keep(self, key: tuple[str, str, str], warm: Lent) -> None:
        self._warm[key] = warm
        self._used_at = self._clock()
        while len(self._warm) > _KEPT:
            self._warm.popitem(last=False)


def _is_onnx(model: ResolvedModel, runtime: RuntimeName | None) -> bool:
    return runtime == "onnx" or (runtime is None and model.path.suffix == ".onnx")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size

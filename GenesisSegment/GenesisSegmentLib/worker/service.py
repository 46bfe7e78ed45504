"""What each command does, and what is kept between commands: volumes, models, speeds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.bulk import read_volume
from ..core.errors import GenesisError, InputError
from ..core.i18n import _
from ..core.jobs import Job
from ..core.lease import Lease
from ..core.protocol import (
    Command,
    Done,
    DownloadModel,
    Estimate,
    Event,
    Hello,
    ImportModel,
    ListModels,
    LoadVolume,
    Refine,
    Segment,
    SelfTest,
    Unload,
)
from .packages import ready
from .warm import IDLE_MINUTES, WarmModels

if TYPE_CHECKING:
    from ..core.volume import Volume
    from ..engine.models.store import ModelStore
    from .refining import Refining

Send = Callable[[Event], None]
INTERACTIVE = (Segment, SelfTest, Refine)
"""Commands that a person waits for: learning gives them the device."""


class Service:
    """Answers commands; each imports what it needs, so that Hello works on a machine where nothing is installed."""

    def __init__(self, idle_minutes: float = IDLE_MINUTES, lease: Lease | None = None) -> None:
        self._lease = lease or Lease()
        self._volumes: dict[str, Volume] = {}
        self._refining: Refining | None = None
        self._models = WarmModels(_store_of_this_person, 60 * idle_minutes)
        self._handlers: dict[type, Callable[[Any, Job, Send], Event]] = {
            Hello: lambda command, job, send: ready(command.id),
            LoadVolume: self._load_volume,
            Estimate: self._estimate,
            Segment: self._segment,
            SelfTest: self._self_test,
            ListModels: self._list_models,
            ImportModel: self._import_model,
            DownloadModel: self._download_model,
            Unload: self._unload,
            Refine: self._refine,
        }

    def run(self, command: Command, job: Job, send: Send) -> Event:
        """See :class:`.server.Handler`."""
        job.check()
        handler = self._handlers.get(type(command))
        if handler is None:
            raise GenesisError(
                _("This version cannot do {command} yet.").format(command=command.type), _("Update GenesisSegment.")
            )
        with self._lease.held() if isinstance(command, INTERACTIVE) else nullcontext():
            return handler(command, job, send)

    def rest(self) -> None:
        """See :class:`.server.Handler`."""
        self._models.rest()

    def _load_volume(self, command: LoadVolume, job: Job, send: Send) -> Event:
        from ..engine.images.ct_check import check_ct

        volume = read_volume(Path(command.folder), command.fingerprint, command.name, command.series_uid)
        self._volumes[command.fingerprint] = check_ct(volume, units_stated=bool(command.series_uid))
        return Done(command.id)

    def _estimate(self, command: Estimate, job: Job, send: Send) -> Event:
        from .estimate import estimated, stated_grid

        ct = self._volumes.get(command.volume) or stated_grid(command) or self._volume(command.volume)
        return estimated(command, ct, self._models.resolve(command.model))

    def _segment(self, command: Segment, job: Job, send: Send) -> Event:
        from .segmenting import segmented

        result = segmented(command, self._volume(command.volume), self._models, job, send)
        self._expect_prompts()
        return result

    def _refine(self, command: Refine, job: Job, send: Send) -> Event:
        from .refining import Refining

        self._refining = self._refining or Refining(self._models.resolve)
        return self._refining.refined(command, self._volume(command.volume), job)

    def _expect_prompts(self) -> None:
        """A person who looks at a result may soon correct it."""
        from .refining import Refining, warm_up

        if self._refining is None:
            self._refining = Refining(self._models.resolve)
            warm_up()

    def _self_test(self, command: SelfTest, job: Job, send: Send) -> Event:
        from .self_test import tested

        return tested(command, self._models, job, send)

    def _list_models(self, command: ListModels, job: Job, send: Send) -> Event:
        from .models import listed

        return listed(command.id, self._models.store)

    def _import_model(self, command: ImportModel, job: Job, send: Send) -> Event:
        from .models import import_model

        return import_model(command, self._models.store, job)

    def _download_model(self, command: DownloadModel, job: Job, send: Send) -> Event:
        from .models import download_model

        return download_model(command, self._models.store, job)

    def _unload(self, command: Unload, job: Job, send: Send) -> Event:
        if command.volume:
            self._volumes.pop(command.volume, None)
            if self._refining is not None:
                self._refining.forget()
        else:
            self._volumes.clear()
            self._models.clear()
            self._refining = None
        return Done(command.id)

    def _volume(self, fingerprint: str) -> Volume:
        if fingerprint not in self._volumes:
            raise InputError(_("The CT is not loaded in the segmentation process."), _("Choose the CT again."))
        return self._volumes[fingerprint]


def _store_of_this_person() -> ModelStore:
    from ..engine.models.store import ModelStore

    return ModelStore.of_this_person()

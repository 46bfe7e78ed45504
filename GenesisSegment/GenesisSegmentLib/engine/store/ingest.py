"""Takes what was accepted out of an outbox into the case store: each once, however often this is interrupted."""

from __future__ import annotations

from collections.abc import Callable

from ...core.errors import InputError
from ...core.jobs import Job
from ...core.outbox import NewerFormatError, Outbox, StoredAcceptance
from .records import IngestReport


def ingest(outbox: Outbox, add: Callable[[StoredAcceptance], bool], job: Job) -> IngestReport:
    """Adds all that waits, oldest first. A file is discarded when its acceptance is kept, never before.

    Damaged files are set aside, and those of a newer version stay where they are; neither stops the others. Several
    processes may do this at once.

    Raises:
        Cancelled: the job was cancelled; what is kept is kept.
        OutputError: the store or the outbox cannot be written; nothing that was accepted is lost.
        ResourceError: there is not enough memory to read one of them now.
    """
    job.plan({"keeping": 1.0})
    added = before = 0
    damaged = []
    pending = outbox.pending()
    for done, path in enumerate(pending, 1):
        try:
            stored = outbox.read(path)
        except NewerFormatError:
            pass  # it waits until this version is updated
        except InputError:
            if path.exists():  # else another process was faster
                damaged.append(outbox.set_aside(path).name)
        else:
            is_new = add(stored)
            added, before = added + is_new, before + (not is_new)
            outbox.discard(path)
        job.advance("keeping", done / len(pending))
    return IngestReport(added, before, tuple(damaged))

"""One CT from voxels to results: segmentation, measurements, a picture and a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..core.files import sha256_of
from ..core.jobs import Job
from ..core.segmentation import Segmentation
from ..core.volume import Volume
from .case_files import CasePaths, CaseReport, make_way, staged, write_report
from .export import check_target, why_unwritten, write_segmentation
from .inference.segmenter import Segmenter
from .inference.spec import OnClass, RunOptions
from .measure import Measurement, measure, write_csv, write_json
from .overview import write_overview

NOT_FOR_CLINICAL_USE = "not for clinical use"


@dataclass(frozen=True)
class ModelLabel:
    """How a model is named in results, and what the person should know of it; ``own`` as in the facts of the model."""

    name: str
    title: str
    sha256: str
    notes: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


def segment_case(
    volume: Volume,
    target: Path,
    segmenter: Segmenter,
    options: RunOptions,
    model: ModelLabel,
    job: Job,
    settings: str,
    on_class: OnClass | None = None,
) -> tuple[CaseReport, tuple[Measurement, ...]]:
    """Segments ``volume`` and writes everything, or nothing. ``on_class`` is given classes before they are written.

    A segmentation that lies at the target already is replaced, unless it is not as an earlier run left it: then it may
    be somebody's work and is kept under another name. Where nothing was found and the format cannot say so, there is
    everything but the segmentation, and a note.

    Raises:
        GenesisError: see :meth:`.Segmenter.segment` and :func:`.export.write_segmentation`.
    """
    check_target(target, volume, model.own)
    result = segmenter.segment(volume, options, then={"writing": 5}, on_class=on_class)
    job.advance("writing", 0.0)
    segmentation = result.segmentation
    paths = CasePaths.beside(target)
    with staged(paths) as temporary:
        unwritten = why_unwritten(segmentation, target)
        files = () if unwritten else write_segmentation(segmentation, volume, temporary.segmentation)
        measurements = measure(segmentation, volume)
        write_csv(temporary.measurements_csv, measurements)
        write_json(temporary.measurements_json, measurements)
        job.advance("writing", 0.3)
        note = f"{model.title}, GenesisSegment {__version__}; {NOT_FOR_CLINICAL_USE}"
        write_overview(temporary.overview, volume, segmentation, volume.source.name, note)
        side_files = (temporary.measurements_csv, temporary.measurements_json, temporary.overview)
        checksums = {file.name: sha256_of(file) for file in (*files, *side_files)}
        job.advance("writing", 1.0)
        kept = make_way(paths, [file.name for file in files])
        report = CaseReport(
            source=str(volume.source.path.absolute()),
            version=__version__,
            model=model.name,
            model_sha256=model.sha256,
            recipe=result.recipe,
            postprocess=result.postprocess,
            device=result.device,
            windows=result.windows,
            seconds=result.seconds,
            classes_computed=_slugs(segmentation, segmentation.classes),
            classes_found=_slugs(segmentation, segmentation.present()),
            segmentation=None if unwritten else str(target.absolute()),
            files=tuple(str(paths.folder.absolute() / name) for name in checksums),
            sha256=checksums,
            notes=(*model.notes, *volume.source.notes, *result.notes, *([unwritten] if unwritten else []), *kept),
            settings=settings,
            overlap=result.overlap,
            is_everywhere=result.is_everywhere,
        )
        write_report(temporary.report, report)
    return report, measurements


def _slugs(segmentation: Segmentation, classes: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(segmentation.structures[c].slug for c in classes)

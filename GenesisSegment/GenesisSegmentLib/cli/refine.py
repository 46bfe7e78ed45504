"""``genesis-segment refine``: corrects one class of a segmentation with points, scribbles, boxes and lassos."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import InputError
from ..core.jobs import Job
from .console import UsageError, print_json, print_note, run_cancellable, say, short

if TYPE_CHECKING:
    from ..core.geometry import Geometry
    from ..core.prompts import Kind, Prompt
    from ..core.segmentation import Segmentation
    from ..core.volume import Volume
    from ..engine.refine.features import Features


@dataclass(frozen=True)
class Outcome:
    """What was done. ``name`` is the slug of the class; ``files`` are absolute paths."""

    name: str
    prompts: int
    voxels_added: int
    voxels_removed: int
    ml_before: float
    ml_after: float
    seconds: float
    files: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Drawn:
    """Prompts as they were given, in the words of the command line."""

    points: Sequence[str]
    scribbles: Sequence[str]
    boxes: Sequence[str]
    lassos: Sequence[str]
    file: Path | None
    is_positive: bool
    radius_mm: float
    is_ras: bool


def refine(
    ct: Annotated[Path, typer.Argument(metavar="CT", help="CT: .nii.gz, .nrrd, .mha, or a DICOM folder.")],
    proposal: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PROPOSAL]",
            help="Segmentation to correct: .seg.nrrd, a label map with its .json, or a folder of masks. Without it, "
            "the class begins empty.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option("--class", help="The class to correct, such as liver.")] = ...,  # type: ignore[assignment]
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Result, by its suffix: .seg.nrrd, .nii.gz label map, .dcm DICOM SEG, or a folder."
        ),
    ] = ...,  # type: ignore[assignment]
    point: Annotated[list[str] | None, typer.Option(metavar="I,J,K", help="A point. Can be repeated.")] = None,
    scribble: Annotated[
        list[str] | None, typer.Option(metavar='"I,J,K I,J,K ..."', help="A line through these positions.")
    ] = None,
    box: Annotated[list[str] | None, typer.Option(metavar='"I,J,K I,J,K"', help="Two opposite corners.")] = None,
    lasso: Annotated[
        list[str] | None, typer.Option(metavar='"I,J,K I,J,K ..."', help="A closed outline in one plane, filled.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Prompts from a JSON file; they come before those given here.")
    ] = None,
    positive: Annotated[
        bool, typer.Option("--positive/--negative", help="Whether what is drawn here belongs to the class.")
    ] = True,
    radius: Annotated[float, typer.Option(min=0.0, max=100.0, help="Of scribbles, in mm.")] = 0.0,
    ras: Annotated[bool, typer.Option("--ras/--voxels", help="Positions are RAS mm, or voxel indices.")] = False,
    new: Annotated[
        bool, typer.Option("--new", help="The class is a structure of your own that is not in PROPOSAL yet.")
    ] = False,
    shared: Annotated[
        str, typer.Option(help="Classes that may share voxels with this one, such as liver,spleen.")
    ] = "",
    propagate: Annotated[
        bool,
        typer.Option("--propagate", help="Then have the model learn from the prompts and draw the whole class anew."),
    ] = False,
    model: Annotated[str, typer.Option(help="With --propagate: the model, as in `segment`.")] = "current",
    no_network: Annotated[bool, typer.Option("--no-network", help="From the image around the prompt alone.")] = False,
    device: Annotated[str, typer.Option(help="Of the click network: cpu or cuda:0.")] = "cpu",
    series: Annotated[str | None, typer.Option(help="Which DICOM series, as in `segment`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Correct one class of a segmentation with points, scribbles, boxes and lassos.

    Voxels of other classes are not taken; lesions and their organs share theirs.
    """
    drawn = _Drawn(point or (), scribble or (), box or (), lasso or (), prompts, positive, radius, ras)
    if proposal is not None and proposal.resolve() == out.resolve():
        raise UsageError(f"{out} is the proposal itself.", "Give another name for the result.")
    learner = model if propagate else None
    work = _Work(ct, series, proposal, name, new, shared, drawn, out, None if no_network else device, learner)
    outcome = run_cancellable(Job(), work.run)
    for note in outcome.notes:
        print_note(note)
    if as_json:
        print_json(asdict(outcome))
    else:
        say(
            f"{outcome.name}: {outcome.ml_before:.1f} ml before, {outcome.ml_after:.1f} ml after {outcome.prompts} "
            f"prompts in {outcome.seconds:.1f} s. Not for clinical use."
        )
        for file in outcome.files:
            say(f"  {short(file)}")


@dataclass(frozen=True)
class _Work:
    """Everything between the command line and the files. ``device`` None: without the click network.

    ``model`` is the one that learns from the prompts, or None.
    """

    ct: Path
    series: str | None
    proposal: Path | None
    name: str
    is_new: bool
    shared: str
    drawn: _Drawn
    out: Path
    device: str | None
    model: str | None

    def run(self) -> Outcome:
        """Reads, corrects and writes."""
        from ..core.classes import find_classes
        from ..engine.case_files import CasePaths, make_way, staged
        from ..engine.export import check_target, write_segmentation
        from ..engine.images.reading import read_volume
        from ..engine.refine.case import refined
        from ..engine.refine.clicks import open_clicks

        volume = read_volume(self.ct, self.series)
        prompts = tuple(_prompts(self.drawn, volume.geometry))
        if not prompts:
            raise UsageError("There is no prompt.", "Give --point, --scribble, --box, --lasso or --prompts.")
        segmentation, index, notes = self._proposal(volume)
        check_target(self.out, volume, segmentation.own)
        names = [n for n in self.shared.split(",") if n.strip()]
        shared = find_classes(names, own=segmentation.own) if names else ()
        clicks = None if self.device is None else open_clicks(self.device)
        started = time.perf_counter()
        result, more = refined(volume, segmentation, index, prompts, clicks, shared, self._features(volume))
        seconds = time.perf_counter() - started
        paths = CasePaths.beside(self.out)
        with staged(paths) as temporary:
            files = write_segmentation(result, volume, temporary.segmentation)
            kept = make_way(paths, [file.name for file in files])
        before, after = segmentation.mask(index), result.mask(index)
        ml = volume.geometry.voxel_ml
        return Outcome(
            name=result.structures[index].slug,
            prompts=len(prompts),
            voxels_added=int((after & ~before).sum()),
            voxels_removed=int((before & ~after).sum()),
            ml_before=float(before.sum() * ml),
            ml_after=float(after.sum() * ml),
            seconds=seconds,
            files=tuple(str(paths.folder.absolute() / file.name) for file in files),
            notes=(*volume.source.notes, *notes, *more, *kept),
        )

    def _features(self, volume: Volume) -> Features | None:
        if self.model is None:
            return None
        from ..engine.inference.spec import ModelSpec
        from ..engine.models.store import ModelStore
        from ..engine.open_model import open_runtime
        from ..engine.refine.features import Features

        store = ModelStore.of_this_person()
        model = store.resolve(store.current_name() if self.model == "current" else self.model)
        return Features(volume, ModelSpec.of(model.name, model.facts), open_runtime(model, Job(), device="cpu"))

    def _proposal(self, volume: Volume) -> tuple[Segmentation, int, tuple[str, ...]]:
        """The segmentation to correct on the grid of the CT, the class, and notes."""
        import numpy as np

        from ..core.classes import find_classes
        from ..core.files import safe_name
        from ..core.segmentation import BITS, MOST_OWN, Segmentation
        from ..engine.alignment import on_grid_of
        from ..engine.labels import read_labels

        own: tuple[str, ...] = () if self.proposal is None else read_labels(self.proposal).others
        if self.is_new:
            own = (*own, safe_name(self.name, "structure"))
        if len(own) > MOST_OWN:
            raise InputError(f"There are {len(own)} structures of your own; {MOST_OWN} can be kept.", "Leave some out.")
        found = find_classes([self.name], own=own)
        if len(found) != 1:
            raise UsageError(f"{self.name} is a group of classes.", "Correct one class at a time.")
        if self.proposal is None:
            empty = np.zeros(volume.geometry.shape, BITS, "F")
            return Segmentation(empty, volume.geometry, (), own), found[0], ()
        labels = read_labels(self.proposal, own)
        whole = on_grid_of(volume.geometry, labels)
        notes = labels.notes
        if found[0] not in whole.classes and not self.is_new:
            notes = (*notes, f"{self.proposal.name} was not drawn for {self.name}: it begins empty.")
        return whole, found[0], notes


def _prompts(drawn: _Drawn, geometry: Geometry) -> Iterator[Prompt]:
    """The prompts in voxel indices: those of the file first.

    Raises:
        UsageError: positions that cannot be read.
        InputError: the file cannot be used.
    """
    import numpy as np

    from ..core.prompts import Prompt, prompts_from_json

    to_voxels = np.linalg.inv(geometry.ijk_to_ras) if drawn.is_ras else np.eye(4)
    if drawn.file is not None:
        try:
            text = drawn.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{drawn.file} could not be read.", "Check the path.") from error
        yield from (prompt.moved(to_voxels) for prompt in prompts_from_json(text))
    given: tuple[tuple[Kind, Sequence[str], int | None], ...] = (
        ("point", drawn.points, 1),
        ("scribble", drawn.scribbles, None),
        ("box", drawn.boxes, 2),
        ("lasso", drawn.lassos, None),
    )
    for kind, texts, count in given:
        for text in texts:
            places = _positions(text, kind, count)
            if kind == "box":
                low, high = np.array(places)
                corners = (low, *(np.where(np.arange(3) == axis, high, low) for axis in range(3)))
                places = [tuple(c.tolist()) for c in corners]  # type: ignore[misc]
            radius = drawn.radius_mm if kind == "scribble" else 0.0
            yield Prompt(kind, tuple(places), drawn.is_positive, radius).moved(to_voxels)


def _positions(text: str, kind: str, count: int | None) -> list[tuple[float, float, float]]:
    try:
        places = [tuple(float(number) for number in place.split(",")) for place in text.split()]
    except ValueError:
        places = []
    if not places or any(len(place) != 3 for place in places) or len(places) != (count or len(places)):
        example = {1: "120,96,40", 2: "100,80,30 140,120,60"}.get(count or 0, "120,96,40 122,99,40 125,103,40")
        raise UsageError(f'"{text}" is not what --{kind} takes.', f'Write numbers such as "{example}".')
    return places  # type: ignore[return-value]

"""A few classes are looked for where a coarse model sees them; nothing is lost where it is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GenesisSegmentLib.core.errors import Cancelled, ModelError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.engine.inference import look
from GenesisSegmentLib.engine.inference.course import Course
from GenesisSegmentLib.engine.inference.look import cut_sides, grown_at, sought
from GenesisSegmentLib.engine.inference.preprocess import model_input
from GenesisSegmentLib.engine.inference.ring import LogitSink, slide
from GenesisSegmentLib.engine.inference.segmenter import Segmenter
from GenesisSegmentLib.engine.inference.spec import ModelSpec, RunOptions
from GenesisSegmentLib.engine.inference.sweep import Lattice, Sweep
from GenesisSegmentLib.engine.inference.windows import starts
from inference_builders import (
    KIDNEY_LEFT,
    KIDNEY_RIGHT,
    KIDNEY_TUMOR,
    LIVER,
    ORIENTATIONS,
    ROTATIONS,
    SPEC,
    SPLEEN,
    FreeMemory,
    StandIn,
    a_body,
    a_volume,
    above,
    ball_distance,
    grid,
    no_report,
)

CENTER = (12.0, -30.0, 400.0)
SPLEEN_AT, SPLEEN_MM = (-30.0, -20.0, 412.0), 14.0
LIVER_AT, LIVER_MM = (45.0, -33.0, 396.0), 17.0
FUNCTIONS = (above(220), above(180))
SPEC32 = replace(SPEC, classes=(SPLEEN, LIVER), offered=(SPLEEN, LIVER))


def by_batch_statistics(window: np.ndarray) -> np.ndarray:
    """Positive in the organs, by an amount that hangs on all that is in the window, as behind a batch norm."""
    return 8.0 * (window - np.float32(0.1) * window.mean() - np.float32(0.7))


def a_ct(orientation=ORIENTATIONS[0], degrees=ROTATIONS[0]):
    """A wide body with a spleen on the left and a liver on the right."""
    straight = grid((72, 60, 56), (2.43, 2.71, 2.87), degrees, CENTER)
    voxels = a_body(straight, 75.0, CENTER).astype(float)
    voxels[ball_distance(straight, LIVER_AT, LIVER_MM) > 0] = 200
    voxels[ball_distance(straight, SPLEEN_AT, SPLEEN_MM) > 0] = 240
    return a_volume(orientation.apply(voxels), straight.reoriented(orientation))


class Sees:
    """A finder that sees balls: their centre and radius in mm by class."""

    title = "the stand-in"

    def __init__(self, **balls) -> None:
        self._balls = {{"spleen": SPLEEN, "liver": LIVER}[name]: ball for name, ball in balls.items()}
        self.offered = (SPLEEN, LIVER)
        self.asked: list[tuple[int, ...]] = []

    def find(self, volume, classes, advance):
        self.asked.append(classes)
        advance(0.5)
        g = volume.geometry
        masks = ((c, ball_distance(g, *self._balls[c]) > 0) for c in classes if c in self._balls)
        return Segmentation(pack(masks, g.shape), g, classes)


TRUE = {"spleen": (SPLEEN_AT, SPLEEN_MM), "liver": (LIVER_AT, LIVER_MM)}


def run(finder, options, spec: ModelSpec = SPEC32, volume=None, functions=FUNCTIONS, job=None):
    runtime = StandIn(functions)
    segmenter = Segmenter(spec, lambda name: runtime, "cpu", FreeMemory(), job or Job(), finder)
    result = segmenter.segment(volume or a_ct(), options)
    assert result.windows == len(runtime.windows)
    return result


@pytest.mark.parametrize("degrees", ROTATIONS)
@pytest.mark.parametrize("orientation", ORIENTATIONS[1::13])
@pytest.mark.parametrize("overlap", [None, 0.5])
def test_an_organ_is_found_in_its_place_with_a_few_windows(orientation, degrees, overlap) -> None:
    volume = a_ct(orientation, degrees)
    options = RunOptions(classes=(SPLEEN,), overlap=overlap)
    whole = run(None, options, volume=volume)
    found = run(Sees(**TRUE), options, volume=volume)
    assert found.windows * 3 < whole.windows
    assert not found.is_everywhere
    assert whole.is_everywhere
    assert (found.segmentation.bits == whole.segmentation.bits).all()
    (note,) = [note for note in found.notes if "looked for around" in note]
    assert "spleen" in note
    assert "the stand-in" in note
    voxel = np.append(np.argwhere(found.segmentation.mask(SPLEEN)).mean(axis=0), 1.0)
    np.testing.assert_allclose((volume.geometry.ijk_to_ras @ voxel)[:3], SPLEEN_AT, atol=1.5)


PREPARED = model_input(a_ct(), SPEC32)
BODY = ball_distance(PREPARED.geometry, CENTER, 75.0) > 0


def swept(sweep: Sweep, overlap: float) -> np.ndarray:
    """The logits of every plane of a sweep, on the whole input, by a network whose answer hangs on the whole window."""
    kept = LogitSink(PREPARED.image.shape, (SPLEEN,), sweep.box)
    runtime = StandIn((by_batch_statistics,))
    slide(PREPARED.image, runtime, (0,), SPEC32.window, overlap, kept, no_report, False, sweep.chosen, sweep.box)
    assert len(runtime.windows) == sweep.windows
    return kept.logits[0]


@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_on_the_published_windows_what_is_kept_is_that_of_the_whole_run_to_the_bit(overlap) -> None:
    lattice = Lattice(PREPARED, SPEC32.window, overlap, is_published=True)
    whole = swept(lattice.everywhere(), overlap)
    shape = PREPARED.image.shape
    for part in (Box((0, 0, 0), (9, 9, 9)), Box((21, 30, 17), (37, 55, 41)), Box(tuple(n - 5 for n in shape), shape)):
        sweep = lattice.around(part)
        assert sweep.windows < lattice.everywhere().windows / 4
        assert Box.joined((part, sweep.kept)) == sweep.kept
        np.testing.assert_array_equal(swept(sweep, overlap)[sweep.kept.slices], whole[sweep.kept.slices])


@given(
    start=st.tuples(*[st.integers(0, 60)] * 3),
    sides=st.tuples(*[st.integers(1, 40)] * 3),
    is_published=st.booleans(),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
)
@settings(max_examples=60, deadline=None)
def test_every_voxel_of_a_part_is_covered_by_a_window(start, sides, is_published, overlap) -> None:
    shape = PREPARED.image.shape
    low = tuple(min(s, n - 1) for s, n in zip(start, shape, strict=True))
    part = Box(low, tuple(min(s + n, m) for s, n, m in zip(low, sides, shape, strict=True)))
    lattice = Lattice(PREPARED, SPEC32.window, overlap, is_published)
    sweep = lattice.around(part)
    covered = np.zeros(sweep.box.shape, dtype=bool)
    firsts = [starts(n, w, overlap) for n, w in zip(sweep.box.shape, SPEC32.window, strict=True)]
    for place in np.argwhere(sweep.chosen):
        at = tuple(f[p] for f, p in zip(firsts, place, strict=True))
        covered[tuple(slice(a, a + w) for a, w in zip(at, SPEC32.window, strict=True))] = True
    whole = np.zeros(shape, dtype=bool)
    whole[sweep.box.slices] = covered
    body = BODY[part.slices]
    assert whole[part.slices][body].all()
    if all(n <= w for n, w in zip(part.shape, SPEC32.window, strict=True)) and not is_published:
        assert sweep.chosen.size == 1


def test_an_organ_of_which_a_part_was_seen_is_found_whole() -> None:
    """The windows reach the border of what was looked at, and go on."""
    whole = run(None, RunOptions(classes=(LIVER,))).segmentation
    spec = replace(SPEC32, spacing_mm=(1.0, 1.0, 1.0))  # the liver takes three windows
    finder = Sees(liver=(LIVER_AT, 9.0))
    result = run(finder, RunOptions(classes=(LIVER,)), spec)
    expected = run(None, RunOptions(classes=(LIVER,)), spec).segmentation
    assert (result.segmentation.bits == expected.bits).all()
    assert whole.present() == (LIVER,)


def test_looking_goes_on_where_the_mask_reaches_the_border(monkeypatch) -> None:
    monkeypatch.setattr(look, "MARGIN_MM", 0.0)
    finder = Sees(liver=(tuple(np.add(LIVER_AT, (0, 0, -9.0))), 13.0))
    result = run(finder, RunOptions(classes=(LIVER,)))
    expected = run(None, RunOptions(classes=(LIVER,)))
    assert (result.segmentation.bits == expected.segmentation.bits).all()
    assert not result.is_everywhere
    assert result.windows < expected.windows


def test_an_organ_that_runs_on_and_on_is_looked_for_everywhere(monkeypatch) -> None:
    monkeypatch.setattr(look, "MARGIN_MM", 0.0)
    result = run(Sees(spleen=(SPLEEN_AT, 4.0)), RunOptions(classes=(SPLEEN,)), functions=(above(0), above(180)))
    expected = run(None, RunOptions(classes=(SPLEEN,)), functions=(above(0), above(180)))
    assert (result.segmentation.bits == expected.segmentation.bits).all()
    assert result.is_everywhere
    assert result.windows > expected.windows
    assert "The whole CT was searched: spleen goes on." in result.notes


FAR = ((70.0, -33.0, 400.0), 12.0)


@pytest.mark.parametrize(
    ("finder", "why"),
    [
        (Sees(spleen=FAR), "what was found differs from what the stand-in sees of spleen"),  # there is none
        (Sees(spleen=TRUE["liver"]), "what was found differs"),  # another organ
        (Sees(liver=TRUE["liver"]), "the stand-in sees no spleen"),
    ],
    ids=["nothing there", "another organ", "not seen"],
)
def test_a_wrong_look_loses_nothing_and_is_told(finder, why) -> None:
    result = run(finder, RunOptions(classes=(SPLEEN,)))
    expected = run(None, RunOptions(classes=(SPLEEN,)))
    assert expected.segmentation.present() == (SPLEEN,)
    assert (result.segmentation.bits == expected.segmentation.bits).all()
    assert result.is_everywhere
    assert any(note.startswith(f"The whole CT was searched: {why}") for note in result.notes)


def test_a_class_that_the_finder_does_not_know_is_looked_for_everywhere_and_that_is_told() -> None:
    spec = replace(SPEC32, classes=(SPLEEN, LIVER, 11), offered=(SPLEEN, LIVER, 11))
    finder = Sees(**TRUE)
    result = run(finder, RunOptions(classes=(11, SPLEEN)), spec, functions=(above(220), above(180), above(220)))
    assert finder.asked == []
    assert result.is_everywhere
    assert "The whole CT was searched: the stand-in does not know pancreas." in result.notes


def test_a_finder_that_cannot_be_run_is_told_and_no_failure() -> None:
    class Missing(Sees):
        def find(self, volume, classes, advance):
            raise ModelError("Its file is missing.", "Install it.")

    result = run(Missing(), RunOptions(classes=(SPLEEN,)))
    assert result.segmentation.present() == (SPLEEN,)
    assert result.is_everywhere
    assert "The whole CT was searched: the stand-in cannot be run." in result.notes
    assert "Its file is missing." in result.notes


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(),
        RunOptions(classes=(LIVER, SPLEEN)),
        RunOptions(classes=(SPLEEN,), everywhere=True),
        RunOptions(classes=(SPLEEN,), recipe="published"),
    ],
    ids=["all", "all by name", "everywhere", "published"],
)
def test_no_look_where_it_is_not_wanted(options) -> None:
    finder = Sees(**TRUE)
    result = run(finder, options)
    assert finder.asked == []
    assert result.is_everywhere
    assert not any("searched" in note or "looked" in note for note in result.notes)


def test_a_model_of_the_whole_scan_needs_no_look() -> None:
    finder = Sees(**TRUE)
    spec = replace(SPEC32, window=None, multiple=8, upsampling="linear", spacing_mm=(4.0, 4.0, 4.0))
    assert run(finder, RunOptions(classes=(SPLEEN,)), spec).is_everywhere
    assert finder.asked == []


def test_cancelling_while_it_looks_ends_the_run() -> None:
    job = Job()

    class Slow(Sees):
        def find(self, volume, classes, advance):
            job.cancel()
            return super().find(volume, classes, advance)

    with pytest.raises(Cancelled):
        run(Slow(**TRUE), RunOptions(classes=(SPLEEN,)), job=job)


@pytest.mark.parametrize("finder", [Sees(**TRUE), Sees(spleen=FAR)], ids=["right", "wrong"])
def test_progress_never_runs_back(finder) -> None:
    seen = []
    run(finder, RunOptions(classes=(SPLEEN,)), job=Job(lambda progress: seen.append(progress.fraction)))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def test_lesions_are_looked_for_in_their_organs_and_lungs_as_a_pair() -> None:
    offered = (SPLEEN, KIDNEY_RIGHT, KIDNEY_LEFT, LIVER, 16, 17)
    assert sought((SPLEEN,), "safe", offered) == ((SPLEEN,), ())
    assert sought((KIDNEY_TUMOR,), "safe", offered) == ((KIDNEY_RIGHT, KIDNEY_LEFT), ())
    assert sought((16,), "safe", offered) == ((16, 17), ())
    assert sought((28, SPLEEN), "safe", offered) == ((SPLEEN,), (28,))  # the pancreas is not known
    assert sought((29,), "safe", offered) == ((), (29,))  # of its two hosts one is not known
    assert sought((31, 40), "published", offered) == ((), (31, 40))


def test_a_lesion_is_found_through_its_organ() -> None:
    spec = replace(SPEC32, classes=(LIVER, 27, SPLEEN), offered=(LIVER, 27, SPLEEN))
    functions = (above(180), above(190), above(220))
    result = run(Sees(**TRUE), RunOptions(classes=(27,)), spec, functions=functions)
    expected = run(None, RunOptions(classes=(27,)), spec, functions=functions)
    assert expected.segmentation.present() == (27,)
    assert result.segmentation.classes == (27,)
    assert (result.segmentation.bits == expected.segmentation.bits).all()
    assert result.windows < expected.windows


def test_a_lesion_whose_organ_the_model_does_not_draw_is_looked_for_everywhere() -> None:
    """There would be nothing to compare what the finder sees with."""
    spec = replace(SPEC32, classes=(27, SPLEEN), offered=(27, SPLEEN))
    finder = Sees(**TRUE)
    result = run(finder, RunOptions(classes=(27,)), spec, functions=(above(190), above(220)))
    assert finder.asked == []
    assert result.is_everywhere


def test_sides_that_a_class_reaches_but_for_those_of_the_volume() -> None:
    bits = np.zeros((10, 10, 10), dtype=np.uint32)
    box = Box((0, 2, 3), (6, 8, 10))
    bits[0:6, 4, 5:10] = 1
    assert cut_sides(bits, (1,), box) == ((0, True),)
    assert cut_sides(bits, (2,), box) == ()
    bits[3, 2, 3] = 2
    assert cut_sides(bits, (1, 2), box) == ((0, True), (1, False), (2, False))
    assert grown_at(box, ((0, True), (1, False)), (3, 4, 5), (10, 10, 10)) == Box((0, 0, 3), (9, 8, 10))


def test_by_default_windows_lie_over_the_body_however_wide_the_scan() -> None:
    """A board beside the body is part of the published crop."""
    voxels = np.pad(a_ct().voxels, ((0, 60), (0, 0), (0, 0)), constant_values=-1000)
    voxels[-3:-1, 10:40, 10:40] = -100
    prepared = model_input(a_volume(voxels, replace(a_ct().geometry, shape=voxels.shape)), SPEC32)
    published, ours = (Lattice(prepared, SPEC32.window, 0.5, b).everywhere() for b in (True, False))
    assert published.box == Box.whole(prepared.image.shape)
    assert ours.box.shape[0] <= PREPARED.image.shape[0] + 8  # 12 mm and a voxel of the coarse outline
    assert ours.box.shape[0] < prepared.image.shape[0] / 1.7


def test_by_default_windows_overlap_by_a_quarter_and_that_is_told() -> None:
    fast, published = run(None, RunOptions()), run(None, RunOptions(recipe="published"))
    assert (fast.overlap, published.overlap) == (0.25, 0.5)
    assert published.windows > 2 * fast.windows
    (note,) = fast.notes
    assert "0.25" in note
    assert "0.5" in note
    assert not published.notes
    assert not run(None, RunOptions(overlap=0.25)).notes


def test_nothing_outside_of_what_was_looked_at_is_believed(monkeypatch) -> None:
    """Published windows reach beyond it, where not all windows of a voxel were run."""
    lattice = Lattice(PREPARED, SPEC32.window, 0.5, is_published=True)
    bits = np.zeros(PREPARED.image.shape, dtype=np.uint32)
    bits[ball_distance(PREPARED.geometry, SPLEEN_AT, SPLEEN_MM) > 0] = 1
    sighting = look.Sighting(bits, (SPLEEN,), "the stand-in")
    box = sighting.place(lattice)
    seen, job = [], Job()
    job.plan({"network": 1.0})
    runtime = StandIn((lambda window: 1.0 + 0 * window,))  # found wherever it is looked for
    course = Course(SPEC32, a_ct(), lattice, runtime, False, (SPLEEN,), (SPLEEN,), "safe", job, None)
    real = Course.cleaned
    monkeypatch.setattr(
        Course, "cleaned", lambda self, sink, *rest: seen.append(sink.bits.copy()) or real(self, sink, *rest)
    )
    course.found(sighting)
    outside = np.ones(bits.shape, dtype=bool)
    outside[lattice.around(box).kept.slices] = False
    assert seen[0].any()
    assert not seen[0][outside].any()


@pytest.mark.parametrize("wall_mm", [6.0, 20.0])
def test_lungs_lie_in_the_windows_however_thin_the_wall_of_the_chest_is(wall_mm) -> None:
    """A thin wall is no part of what the search for the body is sure of, and behind it is nothing dense."""
    straight = grid((90, 60, 50), (2.0, 2.5, 2.5), ROTATIONS[0], CENTER)
    i, j, _k = np.indices(straight.shape)
    across, deep = np.abs(i - 44.5) * 2.0, np.abs(j - 29.5) * 2.5
    voxels = np.where((across < 80) & (deep < 60), 40.0, -1000.0)
    voxels[(across > 20) & (across < 80 - wall_mm) & (deep < 60 - wall_mm)] = -850
    prepared = model_input(a_volume(voxels, straight), SPEC32)
    kept = Lattice(prepared, SPEC32.window, 0.25, is_published=False).everywhere().kept
    assert (kept.stop[0] - kept.start[0]) * prepared.geometry.spacing[0] > 155

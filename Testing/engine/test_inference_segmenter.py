"""A CT in, masks on its own grid out: with a network whose answer is known, a threshold on the intensity."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from GenesisSegmentLib.core.errors import Cancelled, GenesisError, InputError
from GenesisSegmentLib.core.jobs import Job, Progress
from GenesisSegmentLib.engine.inference import resample
from GenesisSegmentLib.engine.inference import segmenter as module
from GenesisSegmentLib.engine.inference.segmenter import Segmenter
from GenesisSegmentLib.engine.inference.spec import ModelSpec, RunOptions
from GenesisSegmentLib.engine.models.catalogue import load_catalogue
from GenesisSegmentLib.engine.postprocess import PostprocessError
from inference_builders import (
    COARSE,
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
    a_volume,
    above,
    ball_distance,
    dice,
    grid,
    no_report,
)
from segmenter_builders import (
    CENTER,
    FUNCTIONS,
    LIVER_AT,
    SPLEEN_AT,
    a_grid,
    a_segmenter,
    abdomen,
    liver_depth,
    spleen_depth,
)


@pytest.mark.parametrize("spec", [SPEC, replace(COARSE, spacing_mm=(3.0, 3.0, 3.0))], ids=["windows", "whole"])
@pytest.mark.parametrize("degrees", ROTATIONS)
def test_every_organ_lies_in_its_place_for_every_order_of_the_axes(spec, degrees) -> None:
    straight = a_grid(degrees)
    tolerance = spec.spacing_mm[0]
    segmenter = a_segmenter(spec=spec)
    for orientation in ORIENTATIONS:
        geometry = straight.reoriented(orientation)
        found = segmenter.segment(abdomen(geometry), RunOptions(classes=(LIVER, SPLEEN))).segmentation
        assert found.geometry is geometry
        assert found.bits.shape == geometry.shape
        for index, depth in ((LIVER, liver_depth(geometry)), (SPLEEN, spleen_depth(geometry))):
            mask = found.mask(index)
            assert mask[depth > tolerance].all()
            assert not mask[depth < -tolerance].any()
            assert (depth > tolerance).any()


@pytest.mark.parametrize("recipe", ["fast", "published"])
def test_left_stays_left(recipe) -> None:
    for orientation in ORIENTATIONS[5::11]:
        geometry = a_grid(ROTATIONS[2]).reoriented(orientation)
        found = a_segmenter().segment(abdomen(geometry), RunOptions(classes=(LIVER, SPLEEN), recipe=recipe))
        means = {}
        for index in (LIVER, SPLEEN):
            voxel = np.append(np.argwhere(found.segmentation.mask(index)).mean(axis=0), 1.0)
            means[index] = (geometry.ijk_to_ras @ voxel)[:3]
        np.testing.assert_allclose(means[LIVER], LIVER_AT, atol=1.0)
        np.testing.assert_allclose(means[SPLEEN], SPLEEN_AT, atol=1.0)


@pytest.mark.parametrize("degrees", ROTATIONS)
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_both_recipes_agree_where_both_crops_are_the_whole_scan(degrees, overlap) -> None:
    # No CT voxel lies half-way between two of the model's: there, either is the nearest.
    geometry = grid((34, 30, 17), (1.43, 1.71, 2.87), degrees, CENTER).reoriented(ORIENTATIONS[31])
    voxels = np.maximum(liver_depth(geometry) * 12 + 90, spleen_depth(geometry) * 14 + 140)
    volume = a_volume(np.clip(voxels, -150, 240), geometry)  # nowhere air: neither recipe can crop
    found = {}
    for recipe in ("fast", "published"):
        runtime = StandIn(FUNCTIONS)
        options = RunOptions(classes=(LIVER, SPLEEN), recipe=recipe, overlap=overlap)
        found[recipe] = a_segmenter(runtime).segment(volume, options)
        assert found[recipe].windows == len(runtime.windows) > 1
        assert found[recipe].recipe == recipe
    assert found["fast"].windows == found["published"].windows
    one, other = (found[recipe].segmentation for recipe in ("fast", "published"))
    assert (one.bits == other.bits).mean() > 0.999
    for index in (LIVER, SPLEEN):
        assert dice(one.mask(index), other.mask(index)) > 0.99


def test_both_recipes_agree_on_a_model_with_three_knots() -> None:
    """The intensity window of the starter: below -175 HU it is flatter, and the crop takes what is above -1000."""
    spec = replace(SPEC, window_hu=(-1000.0, -175.0, 250.0), window_values=(0.0, 0.2, 1.0))
    functions = tuple(lambda window, hu=hu: window - np.float32(0.2 + 0.8 * (hu + 175) / 425) for hu in (140, 90))
    spec = replace(spec, classes=(SPLEEN, LIVER), offered=(SPLEEN, LIVER))
    geometry = grid((34, 30, 17), (1.43, 1.71, 2.87), ROTATIONS[1], CENTER).reoriented(ORIENTATIONS[9])
    voxels = np.maximum(liver_depth(geometry) * 12 + 90, spleen_depth(geometry) * 14 + 140)
    volume = a_volume(np.clip(voxels, -290, 240), geometry)
    one, other = (
        a_segmenter(StandIn(functions), spec).segment(volume, RunOptions(recipe=recipe)).segmentation
        for recipe in ("fast", "published")
    )
    assert one.present() == (SPLEEN, LIVER)
    assert (one.bits == other.bits).mean() > 0.999


def test_the_published_recipe_leaves_fast_paths_aside() -> None:
    runtime = StandIn(FUNCTIONS)
    segmenter = a_segmenter(runtime)
    for recipe, is_plain in (("published", True), ("fast", False), ("published", True)):
        segmenter.segment(abdomen(a_grid()), RunOptions(recipe=recipe))
        assert runtime.is_plain is is_plain


def test_the_published_recipe_refuses_a_scan_without_a_body() -> None:
    geometry = grid((20, 20, 20), (2.0, 2.0, 2.0))
    with pytest.raises(InputError, match="nothing above -175 HU"):
        a_segmenter().segment(a_volume(np.full(geometry.shape, -1000), geometry), RunOptions(recipe="published"))


def test_only_requested_classes_are_computed_and_returned() -> None:
    runtime = StandIn(FUNCTIONS)
    found = a_segmenter(runtime).segment(abdomen(a_grid()), RunOptions(classes=(SPLEEN,))).segmentation
    assert runtime.channels == {(0,)}
    assert found.classes == (SPLEEN,)
    assert found.present() == (SPLEEN,)


def test_all_offered_classes_by_default() -> None:
    spec = replace(SPEC, offered=(LIVER, SPLEEN))
    found = a_segmenter(spec=spec).segment(abdomen(a_grid()), RunOptions()).segmentation
    assert found.classes == (SPLEEN, LIVER)


def test_classes_may_be_asked_for_twice_and_in_any_order() -> None:
    found = a_segmenter().segment(abdomen(a_grid()), RunOptions(classes=(LIVER, SPLEEN, LIVER))).segmentation
    once = a_segmenter().segment(abdomen(a_grid()), RunOptions(classes=(SPLEEN, LIVER))).segmentation
    assert found.classes == (SPLEEN, LIVER)
    assert (found.bits == once.bits).all()


@pytest.mark.parametrize("recipe", ["fast", "published"])
def test_hosts_are_computed_but_not_returned(recipe) -> None:
    """The lesion is kept only where a kidney is: the kidneys are computed for it."""
    runtime = StandIn(FUNCTIONS)
    options = RunOptions(classes=(KIDNEY_TUMOR,), recipe=recipe)
    found = a_segmenter(runtime).segment(abdomen(a_grid()), options).segmentation
    assert runtime.channels == {(1, 2, 4)}
    assert found.classes == (KIDNEY_TUMOR,)
    assert np.bitwise_or.reduce(found.bits, axis=None) == 1 << (KIDNEY_TUMOR - 1)
    no_kidney = StandIn((*FUNCTIONS[:1], above(3000), above(3000), *FUNCTIONS[3:]))
    assert a_segmenter(no_kidney).segment(abdomen(a_grid()), options).segmentation.present() == ()


def test_a_host_that_the_model_does_not_offer_decides_nothing() -> None:
    """Channels of an untrained class hold noise: here they would wipe the lesion."""
    runtime = StandIn((*FUNCTIONS[:1], above(3000), above(3000), *FUNCTIONS[3:]))
    spec = replace(SPEC, offered=(KIDNEY_TUMOR,))
    found = a_segmenter(runtime, spec).segment(abdomen(a_grid()), RunOptions()).segmentation
    assert runtime.channels == {(4,)}
    assert found.present() == (KIDNEY_TUMOR,)


def test_a_class_that_is_not_offered_is_refused() -> None:
    with pytest.raises(InputError, match="does not offer"):
        a_segmenter(spec=replace(SPEC, offered=(LIVER,))).segment(abdomen(a_grid()), RunOptions(classes=(SPLEEN,)))


@pytest.mark.parametrize("recipe", ["fast", "published"])
@pytest.mark.parametrize("spec", [SPEC, COARSE], ids=["windows", "whole"])
def test_a_volume_smaller_than_a_window_works(recipe, spec) -> None:
    geometry = grid((9, 8, 5), (2.0, 2.0, 2.5), ROTATIONS[1]).reoriented(ORIENTATIONS[20])
    voxels = np.where(ball_distance(geometry, CENTER, 5.0) > 0, 200, 20)
    found = a_segmenter(spec=spec).segment(a_volume(voxels, geometry), RunOptions(classes=(SPLEEN,), recipe=recipe))
    assert found.windows == 1
    depth = ball_distance(geometry, CENTER, 5.0)
    assert not found.segmentation.mask(SPLEEN)[depth < -spec.spacing_mm[0]].any()
    if spec is SPEC:
        assert dice(found.segmentation.mask(SPLEEN), depth > 0) > 0.7


def test_a_very_long_scan_is_taken_in_slabs_with_the_same_result(monkeypatch) -> None:
    volume = abdomen(grid((34, 30, 60), (1.5, 1.7, 3.0), ROTATIONS[0], CENTER))
    spec = replace(COARSE, spacing_mm=(3.0, 3.0, 3.0))
    once = a_segmenter(spec=spec).segment(volume, RunOptions())
    monkeypatch.setattr(module, "_WHOLE_SCAN_LIMIT", 1000)
    monkeypatch.setattr(module, "_SLAB", 16)
    runtime = StandIn(FUNCTIONS)
    slabs = a_segmenter(runtime, spec).segment(volume, RunOptions())
    assert once.windows == 1
    assert slabs.windows > 1
    assert {shape[2] for shape in runtime.windows} == {16}
    assert (slabs.segmentation.bits == once.segmentation.bits).all()


def test_published_means_the_post_processing_of_the_model_s_own_release() -> None:
    """The release of the Universal Model fails on an empty pancreas, that of AbdomenAtlas and SuPreM does not."""
    vein, pancreas = 10, 11
    spec = replace(SPEC, classes=(vein, pancreas), offered=(vein, pancreas))
    functions = (above(90), above(3000))
    options = RunOptions(postprocess="published")
    with pytest.raises(PostprocessError):
        a_segmenter(StandIn(functions), spec).segment(abdomen(a_grid()), options)
    suprem = replace(spec, published_cleaning="published_abdomenatlas")
    result = a_segmenter(StandIn(functions), suprem).segment(abdomen(a_grid()), options)
    assert result.segmentation.present() == (vein,)
    assert result.postprocess == "published_abdomenatlas"
    assert a_segmenter(StandIn(functions), suprem).segment(abdomen(a_grid()), RunOptions()).postprocess == "safe"


@pytest.mark.parametrize(("stated", "used"), [(0.0, 0.0), (0.25, 0.25), (None, 0.5)])
def test_a_stated_overlap_is_used_also_if_it_is_none_at_all(stated, used) -> None:
    facts = load_catalogue()["universal_unet"].facts
    facts = replace(facts, preprocessing=replace(facts.preprocessing, overlap=stated))
    assert ModelSpec.of("own", facts).overlap == used


def test_what_a_window_tells_of_itself_moves_the_progress_on() -> None:
    class Telling(StandIn):
        def logits(self, window, channels, advance=no_report):
            advance(0.25)
            advance(0.75)
            return super().logits(window, channels)

    for recipe, spec in product(("fast", "published"), (SPEC, replace(COARSE, spacing_mm=(3.0, 3.0, 3.0)))):
        seen: list[Progress] = []
        segmenter = a_segmenter(Telling(FUNCTIONS), spec, job=Job(seen.append))
        result = segmenter.segment(abdomen(a_grid()), RunOptions(recipe=recipe))
        steps = [p.fraction for p in seen if p.stage == "network"]
        assert len(set(steps)) >= 3 * result.windows
        assert steps == sorted(steps)


def test_the_network_is_opened_once_even_if_it_fell_back_to_another_device() -> None:
    opened: list[str] = []

    def open_runtime(device: str) -> StandIn:
        opened.append(device)
        return StandIn(FUNCTIONS, "cpu")

    segmenter = Segmenter(SPEC, open_runtime, "cuda:0", FreeMemory(), Job())
    for _ in range(3):
        segmenter.segment(abdomen(a_grid()), RunOptions())
    assert opened == ["cuda:0"]


@pytest.mark.parametrize("recipe", ["fast", "published"])
@pytest.mark.parametrize("spec", [SPEC, COARSE], ids=["windows", "whole"])
def test_progress_never_runs_back_and_ends_at_the_end(recipe, spec) -> None:
    seen: list[Progress] = []
    segmenter = a_segmenter(spec=spec, job=Job(seen.append))
    for _ in range(2):
        seen.clear()
        segmenter.segment(abdomen(a_grid()), RunOptions(recipe=recipe))
        fractions = [progress.fraction for progress in seen]
        assert fractions == sorted(fractions)
        assert fractions[0] == 0.0
        assert fractions[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("recipe", ["fast", "published"])
def test_cancelling_from_another_thread_ends_within_one_window(recipe) -> None:
    in_window, cancelled = threading.Event(), threading.Event()
    job = Job()

    class Waiting(StandIn):
        def logits(self, window, channels, advance=no_report):
            if len(self.windows) == 2:
                in_window.set()
                assert cancelled.wait(20)
            return super().logits(window, channels)

    def cancel() -> None:
        assert in_window.wait(20)
        job.cancel()
        cancelled.set()

    runtime = Waiting(FUNCTIONS)
    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled):
        a_segmenter(runtime, job=job).segment(abdomen(a_grid()), RunOptions(recipe=recipe))
    thread.join()
    assert len(runtime.windows) == 3  # the one that was running, and no more


@pytest.mark.parametrize(
    ("recipe", "spec", "stage"),
    [
        ("fast", SPEC, "preparing"),
        ("fast", SPEC, "cleaning"),
        ("fast", SPEC, "restoring"),
        ("fast", COARSE, "preparing"),
        ("fast", COARSE, "cleaning"),
        ("fast", COARSE, "restoring"),
        ("published", SPEC, "cleaning"),
        ("published", SPEC, "restoring"),
    ],
)
def test_every_stage_tells_its_progress_and_can_be_cancelled_within(monkeypatch, recipe, spec, stage) -> None:
    monkeypatch.setattr(resample, "SLAB_VOXELS", 34 * 30 * 4)
    seen: list[Progress] = []
    a_segmenter(spec=spec, job=Job(seen.append)).segment(abdomen(a_grid()), RunOptions(recipe=recipe))
    steps = [progress.fraction for progress in seen if progress.stage == stage]
    assert len(set(steps)) > 2
    seen.clear()
    job = Job(seen.append)
    job.report_to(lambda p: seen.append(p) or (p.stage == stage and p.fraction > steps[0] and job.cancel()))
    with pytest.raises(Cancelled):
        a_segmenter(spec=spec, job=job).segment(abdomen(a_grid()), RunOptions(recipe=recipe))
    assert seen[-1].stage == stage
    assert seen[-1].fraction < steps[-1]


def test_what_the_network_notes_is_passed_on() -> None:
    runtime = StandIn(FUNCTIONS)
    runtime.notes = ("It fell back to the CPU.",)
    result = a_segmenter(runtime).segment(abdomen(a_grid()), RunOptions())
    assert result.notes[:1] == runtime.notes
    assert set(result.seconds) == {"preparing", "network", "cleaning", "restoring"}


def test_nothing_but_air_is_refused() -> None:
    geometry = a_grid()
    with pytest.raises(GenesisError, match="no body"):
        a_segmenter().segment(a_volume(np.full(geometry.shape, -1000), geometry), RunOptions())


def test_the_two_kidneys_are_told_apart() -> None:
    """Each channel to its own class: the right kidney is bit 1, the left bit 2."""
    spec = replace(SPEC, classes=(KIDNEY_LEFT, KIDNEY_RIGHT), offered=(KIDNEY_RIGHT, KIDNEY_LEFT))
    runtime = StandIn((above(140), above(3000)))
    found = a_segmenter(runtime, spec).segment(abdomen(a_grid()), RunOptions()).segmentation
    assert runtime.channels == {(1, 0)}
    assert found.present() == (KIDNEY_LEFT,)

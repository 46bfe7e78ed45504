"""Lesions drawn on the fly: into items without any, on the grid that the affine states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from GenesisSegmentLib.engine.synthesis import planting
from GenesisSegmentLib.engine.synthesis.textures import texture
from GenesisSegmentLib.engine.synthesis.transform import RandSyntheticLesiond


@pytest.fixture(autouse=True)
def small_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planting, "texture", lambda number: texture(number, 0, (64, 48, 40)))


def an_item(affine: np.ndarray | None = None) -> dict[str, torch.Tensor]:
    """A ball of liver of 27 mm on a grid of 2 x 2 x 3 mm; label 3 beside it."""
    steps = (2.0, 2.0, 3.0) if affine is not None else (1.0, 1.0, 1.0)
    sides = [np.arange(-34, 34, s) for s in steps]
    organ = sum(a**2 for a in np.meshgrid(*sides, indexing="ij")) <= 27**2
    image = torch.from_numpy(np.where(organ, 110, -100).astype(np.float32))[None]
    label = torch.from_numpy(organ.astype(np.uint8))[None]
    label[0, :3] = 3
    if affine is None:
        return {"image": image, "label": label}
    return {"image": MetaTensor(image, affine=torch.from_numpy(affine)), "label": MetaTensor(label)}


def drawn(item: dict, seed: int = 1, **options: object) -> dict:
    transform = RandSyntheticLesiond(prob=1.0, size="small", **options)  # type: ignore[arg-type]
    transform.set_random_state(seed)
    return transform(item)


@pytest.mark.parametrize("affine", [None, np.diag([2.0, 2.0, 3.0, 1.0]), np.diag([-2.0, -2.0, 3.0, 1.0])])
def test_lesions_are_drawn_into_image_and_label(affine: np.ndarray | None) -> None:
    item = an_item(affine)
    result = drawn(item)
    image, label = np.asarray(result["image"])[0], np.asarray(result["label"])[0]
    before, organ = np.asarray(item["image"])[0], np.asarray(item["label"])[0] == 1
    lesion = label == 2
    assert lesion.sum() > 30
    assert (organ | ~lesion).all()
    assert (label[~lesion] == np.asarray(item["label"])[0][~lesion]).all()
    assert (image[lesion] < before[lesion]).all()
    assert (image[~organ] == before[~organ]).all()
    assert type(result["image"]) is type(item["image"])
    assert result["label"].dtype == torch.uint8
    if affine is not None:
        assert (result["image"].affine.numpy() == affine).all()


def test_axes_that_run_the_other_way_give_the_mirrored_lesions() -> None:
    item, mirrored = an_item(np.diag([2.0, 2.0, 3.0, 1.0])), an_item(np.diag([-2.0, 2.0, 3.0, 1.0]))
    mirrored = {key: value.flip(1) for key, value in mirrored.items()}
    mirrored["image"].affine = torch.diag(torch.tensor([-2.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    one, other = (np.asarray(drawn(each)["label"])[0] for each in (item, mirrored))
    assert (one == other[::-1]).all()


def test_a_seed_decides_and_items_with_lesions_or_without_room_stay() -> None:
    item = an_item()
    one, same, other = (np.asarray(drawn(item, seed)["label"]) for seed in (3, 3, 4))
    assert (one == same).all()
    assert (one != other).any()
    assert drawn(item, organ_label=9)["image"] is item["image"]
    ill = {**item, "label": item["label"].clone()}
    ill["label"][0, 30, 30, 30] = 2
    assert drawn(ill)["image"] is ill["image"]


def test_a_tenth_of_the_items_stays_without() -> None:
    item, transform = an_item(), RandSyntheticLesiond(size="tiny")
    transform.set_random_state(0)
    same = sum(transform(item)["image"] is item["image"] for _n in range(40))
    assert 0 < same < 12

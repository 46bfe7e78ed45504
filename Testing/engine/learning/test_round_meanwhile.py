"""What a person does while a round runs, or before it goes on, is neither overridden nor lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from GenesisSegmentLib.core.corrections import AcceptedClass
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.rounds import Decision, GateRule
from GenesisSegmentLib.engine.inference.spec import ModelSpec
from GenesisSegmentLib.engine.learning.base import open_base
from GenesisSegmentLib.engine.learning.round import RoundRequest, _kept_as_trial, run_round
from GenesisSegmentLib.engine.learning.teaching import Lesson, _prepared
from round_builders import a_store, an_acceptance, models_that_shift, shifted, surroundings, teach_nothing

EASY = RoundRequest(steps=2, budget_s=0, device="cpu", rule=GateRule(needed=1, level=0.5))


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path / "cases", patients=3) as store:
        yield store


def run(store, tmp_path, request=EASY, **changes):
    around = surroundings(tmp_path, **changes)
    return run_round(store, around.versions, request, surroundings=around), around


def accept_again(store, number: int, accepted: str = "2026-02-02T00:00:00+00:00") -> None:
    """Another mask of the liver of a patient."""
    before = an_acceptance(number)
    classes = tuple(AcceptedClass(c.label, shifted(c.mask), c.proposed) for c in before.acceptance.classes)
    later = replace(before.acceptance, id=f"again{number}", classes=classes, accepted=accepted)
    store.add(replace(before, acceptance=later))


def watching(opened: list[str]):
    def on_device(device):
        def open_finder(model, wanted):
            opened.append(model.name)
            return models_that_shift(2, 0)(device)(model, wanted)

        return open_finder

    return on_device


def test_another_base_must_beat_the_model_in_use(store, tmp_path):
    run(store, tmp_path)
    opened: list[str] = []
    record, around = run(store, tmp_path, replace(EASY, base="starter"), open_finder=watching(opened))
    assert opened == ["v1", "the new model"]
    assert (record.base, record.version, record.state) == ("starter", "v2", "promoted")
    assert around.versions["v2"].parent == "starter"
    assert "compared with v1" in Path(record.report).read_text(encoding="utf-8")


def test_a_model_switched_on_while_the_round_ran_stays(store, tmp_path):
    run(store, tmp_path)

    def roll_back(*given):
        around.versions.rollback()
        return teach_nothing(*given)

    around = surroundings(tmp_path, teach=roll_back)
    record = run_round(store, around.versions, EASY, surroundings=around)
    assert around.versions.current() is None
    assert (record.state, around.versions["v2"].state) == ("unproven", "unproven")
    assert "came into use while the round ran" in record.reason
    assert store.rounds()[-1] == record
    report = json.loads(Path(record.report).with_suffix(".json").read_text(encoding="utf-8"))
    assert (report["record"]["state"], report["record"]["reason"]) == ("unproven", record.reason)


def test_what_is_accepted_while_a_round_runs_is_new_to_the_next(store, tmp_path):
    case = store.training()[0].case
    number = next(n for n in range(3) if an_acceptance(n).case == case)
    lessons = []

    def accept_meanwhile(lesson, *others):
        accept_again(store, number)
        return teach_nothing(lesson, *others)

    def watch(lesson, *others):
        lessons.append(lesson)
        return teach_nothing(lesson, *others)

    run(store, tmp_path, teach=accept_meanwhile)
    run(store, tmp_path, teach=watch)
    assert [record.case for record in lessons[0].fresh] == [case]


class Killed(BaseException):
    """As sudden as a kill."""


def test_a_case_corrected_before_the_round_goes_on_is_compared_anew(store, tmp_path, monkeypatch):
    replace_file = Path.replace

    def killing(path, target):
        replace_file(path, target)
        if Path(target).parent.name == "before" and Path(target).suffix == ".json":
            monkeypatch.setattr(Path, "replace", replace_file)
            raise Killed

    monkeypatch.setattr(Path, "replace", killing)
    with pytest.raises(Killed):
        run(store, tmp_path)
    accept_again(store, 2)  # of the holdout; what was found wrong before is right now
    opened: list[str] = []
    record, _ = run(store, tmp_path, open_finder=watching(opened))
    assert opened == ["starter", "the new model"]
    assert record.scores[0].dice_before == pytest.approx(1.0)
    assert record.scores[0].dice_after < 1.0


def test_material_of_an_earlier_attempt_is_taken_only_while_its_masks_are_the_same(store, tmp_path):
    base = open_base("starter", surroundings(tmp_path).models)

    def prepared():
        lesson = Lesson(base, store.training(), (), store, EASY, tmp_path / "round")
        spec = ModelSpec.of(base.name, base.facts)
        job = Job()
        job.plan({"preparing": 1})
        return {c.case: c.masks["liver"] for c in _prepared(lesson, lesson.fresh, spec, job, lambda: None, [])}

    number = next(n for n in range(3) if an_acceptance(n).case == store.training()[0].case)
    before = prepared()
    accept_again(store, number)
    after = prepared()
    changed = {case for case in before if not np.array_equal(before[case], after[case])}
    assert changed == {an_acceptance(number).case}
    assert len(list((tmp_path / "round" / "material").iterdir())) == 3, "the other one was taken as it was"


@pytest.mark.parametrize(
    ("offered", "own", "lost"), [((6,), ("lump",), ""), ((), ("lump",), "liver"), ((6,), (), "lump")]
)
def test_model_that_lacks_what_the_one_in_use_finds_does_not_take_its_place(offered, own, lost):
    rival = SimpleNamespace(classes=(1, 6), offered=(6,), own=("lump",))
    base = SimpleNamespace(rival=SimpleNamespace(facts=rival), rival_labels=("spleen", "liver", "lump"))
    decision = _kept_as_trial(Decision("promoted", "Better."), base, SimpleNamespace(offered=offered, own=own))
    assert decision.state == ("unproven" if lost else "promoted")
    assert (f"does not know {lost}," in decision.reason) == bool(lost)

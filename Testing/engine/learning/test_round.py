"""A round ends exactly once, in the state that the holdout asks for, whenever it is stopped or killed on its way."""

from __future__ import annotations

import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from GenesisSegmentLib.core import i18n
from GenesisSegmentLib.core.errors import Cancelled, InputError, LearningError, ModelError, OutputError, ResourceError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.rounds import ENDED, GateRule
from GenesisSegmentLib.engine.learning import round as rounds
from GenesisSegmentLib.engine.learning.round import RoundRequest, abandon, corrected, run_round
from GenesisSegmentLib.engine.learning.round_folder import RoundFolders
from GenesisSegmentLib.engine.store import CaseStore
from GenesisSegmentLib.engine.store.records import Correction, TrainingRecord
from round_builders import (
    KIDNEYS,
    a_store,
    an_acceptance,
    models_that_shift,
    surroundings,
    teach_nothing,
    write_shipped_starter,
)

EASY = RoundRequest(steps=2, budget_s=0, device="cpu", rule=GateRule(needed=1, level=0.5))
"""One patient is enough to be promoted."""
STRICT = replace(EASY, rule=GateRule())


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    a_store(folder / "cases", patients=3).close()
    return folder / "cases"


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made, tmp_path / "cases")
    with CaseStore.open(tmp_path / "cases") as store:
        yield store


@pytest.fixture(autouse=True)
def quick_files(monkeypatch):
    monkeypatch.setattr(rounds, "write_network", write_shipped_starter)


def run(store, tmp_path, request=EASY, job=None, **changes):
    around = surroundings(tmp_path, **changes)
    return run_round(store, around.versions, request, job, surroundings=around), around


def test_what_is_proven_better_is_promoted_and_current(store, tmp_path):
    record, around = run(store, tmp_path)
    assert record.state == "promoted", record.reason
    assert around.versions.current().name == record.version == "v1"
    version = around.versions["v1"]
    assert version.parent == "starter"
    assert set(version.cases) == {r.case for r in store.training()}
    assert version.note == "Adapted from Starter (Apache-2.0)."
    assert store.rounds() == (record,)


def test_the_classes_learned_are_offered_beside_those_of_the_base(made, tmp_path):
    with a_store(tmp_path / "cases", 3, classes=(11,)) as store:
        _, around = run(store, tmp_path)
    assert around.versions["v1"].facts.offered == (1, 2, 3, 6, 8, 11, 16, 17)


def test_what_got_worse_is_rejected_and_not_offered(store, tmp_path):
    record, around = run(store, tmp_path, open_finder=models_that_shift(0, 2))
    assert record.state == "rejected"
    assert around.versions.current() is None
    assert not around.versions[record.version].is_offered


def test_too_few_patients_leave_a_trial(store, tmp_path):
    record, around = run(store, tmp_path, STRICT)
    assert record.state == "unproven"
    assert "4 more patients with liver" in record.reason
    assert around.versions.current() is None
    assert around.versions[record.version].is_trial
    assert around.versions.use(record.version).name == "v1"


def test_what_the_gate_says_is_carried_to_the_person_and_kept_as_plain_text(store, tmp_path, monkeypatch):
    monkeypatch.setattr(i18n, "_translator", lambda context, text: i18n.Worded(text, context))
    record, around = run(store, tmp_path, STRICT)
    monkeypatch.setattr(i18n, "_translator", lambda _context, text: text.replace("Too few cases", "Zu wenige Fälle"))
    assert i18n.retold(record).reason == record.reason.replace("Too few cases", "Zu wenige Fälle") != record.reason
    assert store.rounds() == (record,)
    assert type(store.rounds()[0].reason) is type(around.versions[record.version].title) is str


def test_a_class_that_nobody_reviewed_is_not_lost_unseen(store, tmp_path):
    """The liver is proven better; in no case that judges has anybody reviewed the aorta."""
    record, around = run(store, tmp_path, open_finder=models_that_shift(2, 0, lost="aorta"))
    assert record.state == "unproven"
    assert "Proven better on the holdout: liver" in record.reason
    assert "aorta (Dice 0.000 between both models on 1 patient) is not found as before: nobody" in record.reason
    assert around.versions.current() is None
    assert around.versions[record.version].is_trial
    agreed = {a.label: (a.dice, a.before_ml > 2, a.after_ml > 2) for a in record.agreements}
    assert agreed["aorta"] == (0.0, True, False)
    assert agreed["spleen"] == (1.0, True, True)
    assert "liver" not in agreed, "it was reviewed"
    html = Path(record.report).read_text(encoding="utf-8")
    assert '<td >aorta</td><td class="n">1</td><td class="n">0.000</td><td >changed</td>' in html
    assert '<td >spleen</td><td class="n">1</td><td class="n">1.000</td><td ></td>' in html
    document = json.loads(Path(record.report).with_suffix(".json").read_text(encoding="utf-8"))
    assert [a["label"] for a in document["record"]["agreements"]] == [a.label for a in record.agreements]


@pytest.mark.parametrize("reviewed", [{4}, {2}])
def test_where_the_truth_says_how_a_class_did_agreement_is_not_asked(tmp_path, reviewed):
    """The aorta is reviewed in the validation case or in the holdout alone: there its loss is a drop."""
    with CaseStore.open(tmp_path / "cases") as store:
        for number in range(5):
            store.add(an_acceptance(number, (6, 8) if number in reviewed else (6,)))
        record, _ = run(store, tmp_path, open_finder=models_that_shift(2, 0, lost="aorta"))
    assert record.state == "rejected"
    assert "aorta (-1.000 Dice on 1 patient)" in record.reason


def test_a_poisoned_correction_is_not_promoted(tmp_path):
    """Left and right kidney were swapped in what teaches; the model follows, the holdout does not."""
    with a_store(tmp_path / "cases", 3, tuple(KIDNEYS), swapped=True) as store:
        record, around = run(store, tmp_path, open_finder=_that_swaps)
    assert record.state == "rejected"
    assert "kidney_left" in record.reason
    assert around.versions.current() is None


def test_the_report_shows_what_happened_and_no_patient(store, tmp_path):
    record, _ = run(store, tmp_path)
    html = Path(record.report).read_text(encoding="utf-8")
    assert "promoted" in html
    assert record.reason in html
    assert html.count("data:image/png;base64,") == 2, "the loss, and the liver of the holdout"
    assert 'src="data:' in html
    assert "1.2.3." not in html, "a series"
    assert str(tmp_path) not in html
    document = json.loads(Path(record.report).with_suffix(".json").read_text(encoding="utf-8"))
    assert document["record"]["state"] == "promoted"
    assert document["parents"] == ["starter"]
    assert [m["models"] for m in document["materials"]] == [["starter"]] * 2
    assert document["losses"] == [1.0, 0.5]


def test_a_report_forgets_the_pictures_of_a_case_and_nothing_else(store, tmp_path):
    record, around = run(store, tmp_path)
    report = Path(record.report)
    before, document = report.read_bytes(), report.with_suffix(".json").read_bytes()
    (holdout,) = (r.case for r in store.proving("holdout"))
    for other in (store.training()[0].case, holdout[:12], ""):
        around.folders.forget(other)
        assert report.read_bytes() == before
    around.folders.forget(holdout)
    html = report.read_text(encoding="utf-8")
    assert html.count("<img") == html.count("data:image/png;base64,") == 1, "the loss"
    assert html.count("taken out when its case was deleted") == 1
    assert f"holdout case {holdout[:12]}: Dice" in html
    assert len(before) - len(html.encode()) > 1000
    assert html.rstrip().endswith("</body></html>")
    around.folders.forget(holdout)
    assert report.read_text(encoding="utf-8") == html
    assert report.with_suffix(".json").read_bytes() == document


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_rounds_are_for_this_person_alone(store, tmp_path):
    record, around = run(store, tmp_path)
    for folder in (around.folders.folder, around.folders.folder / record.id):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_only_the_report_stays_of_a_round(store, tmp_path):
    record, around = run(store, tmp_path)
    left = {p.name for p in (around.folders.folder / record.id).iterdir()}
    assert left == {"request.json", "ended.json", "report.html", "report.json"}


def test_a_round_goes_on_from_its_own_version_and_knows_which_cases_are_new(store, tmp_path):
    run(store, tmp_path)
    lessons = []

    def watch(lesson, *others):
        lessons.append(lesson)
        return teach_nothing(lesson, *others)

    record, around = run(store, tmp_path, teach=watch)
    assert record.base == "v1"
    assert around.versions["v2"].parent == "v1"
    assert around.versions["v2"].base_model == "starter"
    assert len(lessons[0].fresh) == 2, "nothing is new: everything again"

    store.add(an_acceptance(3))  # the third that teaches
    run(store, tmp_path, teach=watch)
    assert [len(lessons[1].fresh), len(lessons[1].earlier)] == [1, 2]


def test_a_cancelled_round_changes_nothing_and_is_over(store, tmp_path):
    def cancel(lesson, job, *others):
        job.cancel()
        job.check()

    record, around = run(store, tmp_path, teach=cancel)
    assert record.state == "cancelled"
    assert around.versions.versions() == ()
    assert [r.state for r in store.rounds()] == ["cancelled"]
    assert around.folders.unfinished() is None


@pytest.mark.parametrize(
    "error", [ResourceError("The memory ran out.", "Close programs."), LearningError("It diverged.")]
)
def test_a_failed_round_says_why(store, tmp_path, error):
    def fail(*_):
        raise error

    record, around = run(store, tmp_path, teach=fail)
    assert record.state == "failed"
    assert record.reason == error.what
    assert record.settings["error"] == error.code
    assert record.settings["exit_code"] == str(error.exit_code)
    assert around.versions.versions() == ()
    assert store.rounds() == (record,)


def test_a_fault_ends_the_round_and_is_not_hidden(store, tmp_path):
    def fail(*_):
        raise ZeroDivisionError("of ours")

    with pytest.raises(ZeroDivisionError):
        run(store, tmp_path, teach=fail)
    assert [r.state for r in store.rounds()] == ["failed"]


def test_a_full_disk_leaves_the_round_to_be_gone_on_with(store, tmp_path):
    def fail(*_):
        raise OutputError("The disk is full.")

    with pytest.raises(OutputError):
        run(store, tmp_path, teach=fail)
    assert [r.state for r in store.rounds()] == ["running"]
    assert run(store, tmp_path)[0].state == "promoted"
    assert [r.state for r in store.rounds()] == ["promoted"]


def test_too_little_disk_space_is_told_before_anything_begins(store, tmp_path):
    with pytest.raises(OutputError, match="free disk space"):
        run(store, tmp_path, free_bytes=lambda folder: 10**8)
    assert store.rounds() == ()


def test_nothing_to_learn_from_is_told(tmp_path):
    with a_store(tmp_path / "cases", 0) as store, pytest.raises(InputError, match="nothing to learn from"):
        run(store, tmp_path)
    assert store.rounds() == ()


def test_an_unknown_base_is_told_before_anything_begins(store, tmp_path):
    with pytest.raises(ModelError, match="no model"):
        run(store, tmp_path, replace(EASY, base="v7"))
    assert store.rounds() == ()


def test_genesis_weights_that_are_nowhere_are_told(store, tmp_path):
    with pytest.raises(ModelError, match="Models Genesis weights"):
        run(store, tmp_path, replace(EASY, is_from_genesis=True))


def test_one_round_at_a_time(store, tmp_path):
    with RoundFolders(tmp_path / "rounds").locked(), pytest.raises(ResourceError, match="Another round"):
        run(store, tmp_path)


class Killed(BaseException):
    """As sudden as a kill: nothing of ours catches it."""


FILES = ("request.json", "candidate.json", "decision.json", "report.html", "current.json", "ended.json")


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_a_round_killed_at_any_file_ends_exactly_once(store, tmp_path, monkeypatch, name, is_before):
    replace_file, taught = Path.replace, []

    def killing(path, target):
        if Path(target).name != name:
            return replace_file(path, target)
        monkeypatch.setattr(Path, "replace", replace_file)
        if not is_before:
            replace_file(path, target)
        raise Killed

    def teach(*given):
        taught.append(1)
        return teach_nothing(*given)

    monkeypatch.setattr(Path, "replace", killing)
    with pytest.raises(Killed):
        run(store, tmp_path, teach=teach)
    record, around = run(store, tmp_path, teach=teach)
    is_new = name == "ended.json" and not is_before  # the first one had ended, so this is another
    assert record.state in ENDED
    assert [r.state for r in store.rounds()].count("running") == 0
    assert [v.name for v in around.versions.versions()] == (["v1", "v2"] if is_new else ["v1"])
    assert around.versions.current() is not None
    assert len(store.rounds()) == len(around.versions.versions())
    assert around.folders.unfinished() is None
    if name in FILES[2:5] or (name == "candidate.json" and not is_before):
        assert len(taught) == 1, "what was learned was kept"


@pytest.mark.parametrize("lost", ["", "aorta"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_cases_that_were_compared_are_not_compared_again(store, tmp_path, monkeypatch, side, lost):
    replace_file = Path.replace

    def killing(path, target):
        replace_file(path, target)
        if Path(target).parent.name == side and Path(target).suffix == ".json":
            monkeypatch.setattr(Path, "replace", replace_file)
            raise Killed

    monkeypatch.setattr(Path, "replace", killing)
    with pytest.raises(Killed):
        run(store, tmp_path, open_finder=models_that_shift(2, 0, lost))
    opened = []

    def watching(device):
        def open_finder(model, wanted):
            opened.append(model.name)
            return models_that_shift(2, 0, lost)(device)(model, wanted)

        return open_finder

    record, _ = run(store, tmp_path, open_finder=watching)
    assert record.state == ("unproven" if lost else "promoted")
    assert opened == (["the new model"] if side == "before" else [])


def test_an_interrupted_round_keeps_its_own_request_and_cases(store, tmp_path):
    def kill(*_):
        raise Killed

    with pytest.raises(Killed):
        run(store, tmp_path, EASY, teach=kill)
    record, _ = run(store, tmp_path, replace(STRICT, seed=99))
    assert record.settings["seed"] == "7"
    assert record.state == "promoted"


def test_an_interrupted_round_can_be_dropped(store, tmp_path):
    def kill(*_):
        raise Killed

    with pytest.raises(Killed):
        run(store, tmp_path, teach=kill)
    record = abandon(store, RoundFolders(tmp_path / "rounds"))
    assert record.state == "cancelled"
    assert abandon(store, RoundFolders(tmp_path / "rounds")) is None
    assert [r.state for r in store.rounds()] == ["cancelled"]


def test_a_round_pauses_where_it_is_told_to(store, tmp_path):
    asked = []
    run(store, tmp_path, gate=lambda: asked.append(1))
    assert len(asked) >= 4, "each step, and each CT of the comparison"


def test_progress_reaches_the_end(store, tmp_path):
    seen = []
    run(store, tmp_path, job=Job(lambda progress: seen.append(progress.fraction)))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def test_only_what_was_really_changed_must_become_better():
    def record(*corrections):
        return TrainingRecord("c", "p", "train", tuple(c.label for c in corrections), "", corrections)

    liver, spleen = Correction("liver", "m", "ch", 1000, 100), Correction("spleen", "m", "ch", 1000, 5)
    drawn, absent = Correction("mine", "m", "", 50, 50), Correction("liver_tumor", "m", "ch", 0, 40)
    assert corrected([record(liver, spleen, drawn, absent)], 0.01) == {"liver", "mine", "liver_tumor"}
    assert corrected([record(spleen)], 0.01) == {"spleen"}


def _that_swaps(device):
    usual = models_that_shift(0, 0)(device)

    def open_finder(model, wanted):
        finder = usual(model, wanted)
        if model.name != "the new model":
            return finder

        class Swapping:
            def find(self, volume, wanted, job):
                found = finder.find(volume, wanted, job)
                left, right = found.masks["kidney_left"], found.masks["kidney_right"]
                return replace(found, masks={"kidney_left": right, "kidney_right": left})

        return Swapping()

    return open_finder


def test_cancelled_is_no_error_that_a_round_raises(store, tmp_path):
    job = Job()
    job.cancel()
    try:
        record, _ = run(store, tmp_path, job=job)
    except Cancelled:
        pytest.fail("it must be told by the record")
    assert record.state == "cancelled"


def test_after_the_decision_a_round_cannot_be_cancelled_any_more(store, tmp_path, monkeypatch):
    job, write = Job(), rounds.write_report

    def late(*given):
        job.cancel()
        return write(*given)

    monkeypatch.setattr(rounds, "write_report", late)
    record, around = run(store, tmp_path, job=job)
    assert record.state == "promoted"
    assert around.versions.current().name == record.version

"""Texts for people: translated where they are shown, carried with their literals where they are not."""

from __future__ import annotations

import copy
import json
import pickle
import sqlite3
from dataclasses import replace

import pytest

from GenesisSegmentLib.core import i18n
from GenesisSegmentLib.core.class_names import class_title
from GenesisSegmentLib.core.classes import all_classes, class_table
from GenesisSegmentLib.core.gate import decide
from GenesisSegmentLib.core.i18n import _, listed, retold, together
from GenesisSegmentLib.core.learning_messages import RoundEnded
from GenesisSegmentLib.core.memory_plan import MemoryNeed, plan_memory
from GenesisSegmentLib.core.protocol import Failure, decode, encode
from GenesisSegmentLib.core.protocol import Tested as SelfTested
from GenesisSegmentLib.core.rounds import PairedScore
from GenesisSegmentLib.core.workflow.class_tree import class_tree

GERMAN = {
    "{device} ran out of memory.": "Der Speicher von {device} reicht nicht.",
    "Choose the CPU.": "Den Prozessor wählen.",
    "It found {structures} in the sample.": "Gefunden: {structures}.",
    "Liver": "Leber",
    "The holdout says that this got worse: {drops}.": "Laut Prüffällen schlechter: {drops}.",
    "{label} ({change} Dice on {patients})": "{label} ({change} Dice bei {patients})",
    "1 patient": "1 Person",
    "{count} patients": "{count} Personen",
    "{first} and {last}": "{first} und {last}",
    "Spleen": "Milz",
}


@pytest.fixture(autouse=True)
def _own_language():
    yield
    i18n.set_translator()


def in_german():
    i18n.set_translator(lambda _context, text: GERMAN.get(text, text))


def carried(make):
    """What ``make`` returns where texts are carried, after its way over the pipe."""
    i18n.carry_texts()
    line = encode(make())
    i18n.set_translator()
    message = decode(line)
    assert not (isinstance(message, Failure) and message.code == "protocol"), message.what
    return message


def out_of_memory():
    what = _("{device} ran out of memory.").format(device="cuda:0")
    return Failure("1", "resource", what, _("Choose the CPU."), "/log")


def self_tested():
    found = _("It found {structures} in the sample.").format(structures=[class_title(1), class_title(6)])
    return SelfTested("1", True, "cpu", 0.5, (found, "A note of old."))


def test_text_stays_as_it_is_until_somebody_translates():
    assert i18n._("Segment") == "Segment"


def test_text_is_translated_where_it_is_asked_for_under_the_name_of_its_file():
    asked = []
    i18n.set_translator(lambda context, text: asked.append((context, text)) or "Segmentieren")
    assert i18n._("Segment") == "Segmentieren"
    assert asked == [("unit.test_i18n", "Segment")]


def test_carried_text_reads_in_english_as_before():
    message = carried(out_of_memory)
    assert (message.what, message.remedy) == ("cuda:0 ran out of memory.", "Choose the CPU.")
    assert message == out_of_memory()
    assert retold(message) == message


def test_carried_text_is_said_in_the_language_of_the_other_side():
    message, verdicts = carried(out_of_memory), carried(self_tested)
    in_german()
    assert retold(message).what == "Der Speicher von cuda:0 reicht nicht."
    assert retold(message).remedy == "Den Prozessor wählen."
    assert retold(message) == replace(message, what=retold(message).what, remedy=retold(message).remedy)
    assert retold(verdicts).verdicts == ("Gefunden: Milz, Leber.", "A note of old.")


def test_carried_text_takes_whatever_is_put_into_it(tmp_path):
    what = "{device} ran out of memory."
    message = carried(lambda: Failure("1", "resource", _(what).format(device=tmp_path), "", ""))
    in_german()
    assert retold(message).what == f"Der Speicher von {tmp_path} reicht nicht."


def test_carried_texts_that_stand_together_are_each_said_in_the_language_of_the_other_side():
    message = carried(
        lambda: Failure("1", "resource", together("", _("Choose the CPU."), "cuda:0", _("Liver")), "", "")
    )
    assert message.what == "Choose the CPU. cuda:0 Liver"
    in_german()
    assert retold(message).what == "Den Prozessor wählen. cuda:0 Leber"
    assert together("One.", "", "Two.") == "One. Two."


def test_carried_texts_are_listed_in_the_language_of_the_other_side():
    message = carried(lambda: Failure("1", "resource", listed([_("Liver"), "x", _("Spleen")]), listed(["x"]), ""))
    assert (message.what, message.remedy) == ("Liver, x and Spleen", "x")
    in_german()
    assert retold(message).what == "Leber, x und Milz"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda text: pickle.loads(pickle.dumps(text))])
def test_carried_text_survives_a_copy_and_is_plain_where_it_is_kept(copied):
    i18n.carry_texts()
    text = together(_("Choose the CPU."), _("It found {structures} in the sample.").format(structures=_("Liver")))
    in_german()
    assert retold(copied(text)) == "Den Prozessor wählen. Gefunden: Leber."
    assert json.loads(json.dumps({"text": text})) == {"text": "Choose the CPU. It found Liver in the sample."}
    with sqlite3.connect(":memory:") as database:
        (kept,) = database.execute("SELECT ?", (text,)).fetchone()
    assert (type(kept), kept) == (str, text)


def test_what_the_gate_says_is_said_in_the_language_of_the_other_side():
    scores = [
        *(PairedScore("liver", str(n), str(n), "holdout", 0.9, 0.8) for n in range(2)),
        PairedScore("spleen", "0", "0", "holdout", 0.9, 0.7),
    ]

    def ended():
        decision = decide(scores, ["liver"])
        return RoundEnded("1", decision.state, decision.reason, "v1", decision.classes)

    message = carried(ended)
    english = (
        "The holdout says that this got worse: liver (-0.100 Dice on 2 patients) and spleen (-0.200 Dice on 1 patient)."
    )
    assert message.reason == english
    in_german()
    german = "Laut Prüffällen schlechter: liver (-0.100 Dice bei 2 Personen) und spleen (-0.200 Dice bei 1 Person)."
    assert retold(message) == replace(message, reason=german)


def test_carried_text_can_be_passed_on(monkeypatch):
    passed_on = decode(encode(carried(out_of_memory)))
    in_german()
    assert retold(passed_on).remedy == "Den Prozessor wählen."


def test_text_that_is_carried_is_looked_up_under_the_file_it_stands_in():
    i18n.carry_texts()
    plan = plan_memory(MemoryNeed(10, 0, 10), "cuda:0", 1, 1000)
    asked = []
    i18n.set_translator(lambda context, text: asked.append(context) or text)
    assert retold(plan).notes == ("Too little free memory on cuda:0: the run goes on the CPU.",)
    assert asked == ["core.memory_plan"]


@pytest.mark.parametrize("translation", ["Von {gerät}.", "Von {device", "{device.nothing}", "{device:d}"])
def test_translation_that_does_not_fit_leaves_the_english_text(translation):
    message = carried(out_of_memory)
    i18n.set_translator(lambda _context, _text: translation)
    assert retold(message).what == "cuda:0 ran out of memory."


@pytest.mark.parametrize(
    "text",
    [
        {},
        {"text": "a"},
        {"text": 1, "context": "", "template": "", "values": {}},
        {"text": "a", "context": "", "template": "", "values": []},
        {"text": "a", "context": "", "template": "", "values": {"x": None}},
        {"text": "a", "context": "", "template": "", "values": {"x": [{"y": 1}]}},
    ],
)
def test_carried_text_that_is_none_is_found_out(text):
    document = json.loads(encode(out_of_memory()))
    answer = decode(json.dumps({**document, "what": text}).encode())
    assert (answer.code, answer.id) == ("protocol", "1")


def test_every_class_has_its_name_and_another_one_in_another_language():
    assert [class_title(c) for c in all_classes()] == [class_table()[c].name for c in all_classes()]
    in_german()
    rows = {child.key: child for row in class_tree(all_classes(), ()) for child in row.children}
    assert (rows["organs/liver"].text, rows["organs/spleen"].text) == ("Leber", "Milz")

"""The report holds everything in one file, and nothing in it can run or be no JSON."""

from __future__ import annotations

import json
import math

from GenesisSegmentLib.core.rounds import Agreement, ClassVerdict, PairedScore, RoundRecord
from GenesisSegmentLib.engine.learning.report import Material, RoundReport, forget_case, write_report

EVIL = "<script>alert(1)</script>"


def a_report(**changes) -> RoundReport:
    record = RoundRecord(
        id="r1",
        state="unproven",
        reason=f"Too few: {EVIL}",
        base="starter",
        version="v1",
        started="s",
        ended="e",
        steps=3,
        scores=(PairedScore(EVIL, "case", "patient", "holdout", 0.5, 0.4321, None, 0.9),),
        classes=(ClassVerdict("liver", True, 0, 5, 0.0, 0.0, None, "unproven"),),
        agreements=(Agreement(f"my {EVIL}", "case", "patient", 0.5, 9.0, 9.0),),
        settings={"seed": EVIL},
    )
    materials = (Material("case", (EVIL,), (), "2026"),)
    return RoundReport(record, ("v2", "v1", "starter"), "Adapted from X: do not distribute.", materials, **changes)


def test_names_that_a_person_gave_are_text(tmp_path):
    html = write_report(tmp_path, a_report()).read_text(encoding="utf-8")
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 5
    assert "http" not in html, "it needs nothing else"


def test_it_says_where_the_model_comes_from_and_what_may_be_done_with_it(tmp_path):
    html = write_report(tmp_path, a_report()).read_text(encoding="utf-8")
    assert "v2 ← v1 ← starter" in html
    assert "do not distribute" in html
    assert "drawn by hand" in html
    assert "0.432" in html
    assert '<span class="down">-0.068</span>' in html


def test_a_class_without_patients_has_no_numbers(tmp_path):
    html = write_report(tmp_path, a_report()).read_text(encoding="utf-8")
    assert "5 more patients needed" in html
    assert "0.000" not in html


def test_what_is_no_number_is_null_in_json(tmp_path):
    write_report(tmp_path, a_report(losses=(1.0, math.nan)))
    assert json.loads((tmp_path / "report.json").read_text())["losses"] == [1.0, None]


def test_a_report_of_an_older_program_forgets_the_pictures_of_a_case_by_their_captions(tmp_path):
    case = "0123456789ab" + "c" * 52
    older = [
        f'<img alt="{label}, {split} case {short}: Dice 0.50 to 0.60" src="data:image/png;base64,AAAA">'
        for label, split, short in (
            ("liver", "holdout", case[:12]),
            ("my &lt;b&gt; &quot;x&quot;", "validation", case[:12]),
            ("liver", "holdout", "f" * 12),
        )
    ]
    loss = '<img alt="Loss" src="data:image/png;base64,AAAA">'
    newer = older[0].replace("<img", f'<img data-case="{"e" * 64}"')
    page = tmp_path / "report.html"
    page.write_text("\n".join([*older, loss, newer, f"<td >{case[:12]}</td>"]), encoding="utf-8")
    forget_case(page, case)
    gone = "<p class='quiet'>The picture was taken out when its case was deleted.</p>"
    assert page.read_text(encoding="utf-8").split("\n") == [gone, gone, older[2], loss, newer, f"<td >{case[:12]}</td>"]

"""The report of a round: one HTML file with everything in it, and the same as JSON. It names no patient."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path

from ... import __version__
from ...core.files import atomic_file, output_errors
from ...core.gate import kept_as_before
from ...core.rounds import ClassVerdict, GateRule, PairedScore, RoundRecord, Split

HTML_FILE, JSON_FILE = "report.html", "report.json"
_GONE = b"<p class='quiet'>The picture was taken out when its case was deleted.</p>"


@dataclass(frozen=True)
class Material:
    """A case that was learned from: its hash, what was reviewed, which models had proposed it, when it was accepted."""

    case: str
    labels: tuple[str, ...]
    models: tuple[str, ...]
    accepted: str
    is_replayed: bool = False


@dataclass(frozen=True)
class Picture:
    """A PNG file and what it shows; ``case`` is the hash of the case whose CT is seen in it, if any is."""

    path: Path
    caption: str
    case: str = ""


@dataclass(frozen=True)
class RoundReport:
    """All that is told of a round.

    ``parents`` are the models it comes from, the base first; ``licence`` what may be done with the new one.
    ``seconds`` and ``notes`` are those of learning; ``rule`` is the gate's.
    """

    record: RoundRecord
    parents: tuple[str, ...]
    licence: str
    materials: tuple[Material, ...] = ()
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    sha256: str = ""
    rule: GateRule = field(default_factory=GateRule)


def write_report(folder: Path, report: RoundReport) -> Path:
    """Writes ``report.html``, which needs no other file, and ``report.json``; returns the path of the first.

    Raises:
        OutputError: they could not be written.
    """
    with atomic_file(folder / JSON_FILE) as temporary:
        temporary.write_text(json.dumps(document(report), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with atomic_file(folder / HTML_FILE) as temporary:
        temporary.write_text(_page(report), encoding="utf-8")
    return folder / HTML_FILE


def forget_case(path: Path, case: str) -> None:
    """Takes the pictures of a case out of ``report.html``; a sentence in their places says so. All else stays.

    In reports of older programs, only the captions tell of which case a picture is.

    Raises:
        OutputError: it could not be read or written.
    """
    with output_errors(path):
        page = path.read_bytes()
    whole, short = (re.escape(name.encode()) for name in (case, case[:12]))
    left = re.sub(rb'<img (?:data-case="%s"|alt="[^"]*, \w+ case %s: )[^>]*>' % (whole, short), _GONE, page)
    if left != page:
        with atomic_file(path) as temporary:
            temporary.write_bytes(left)


def document(report: RoundReport) -> dict:
    """The report in plain types; a number that is none becomes null."""
    found = asdict(report)
    found["pictures"] = [picture.caption for picture in report.pictures]
    found["version"] = __version__
    return _plain(found)  # type: ignore[return-value]


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


_COLOURS = {"promoted": "#1d7a3d", "unproven": "#a06a00", "rejected": "#a32020"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.state { color: white; border-radius: .3rem; padding: .1rem .6rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .9rem .2rem 0; text-align: left; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } tr + tr td { border-top: 1px solid #ddd; }
.up { color: #1d7a3d; } .down { color: #a32020; } .quiet { color: #777; } img { max-width: 100%; }
"""


def _page(report: RoundReport) -> str:
    record = report.record
    colour = _COLOURS.get(record.state, "#555")
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Round {escape(record.id)}</title>'
        f"<style>{_STYLE}</style></head><body>",
        f'<h1>Learning round: <span class="state" style="background:{colour}">{escape(record.state)}</span></h1>',
        f"<p>{escape(record.reason)}</p>",
        "<p class='quiet'>Not for clinical use. Every number here comes from cases that were never trained on.</p>",
        _facts(report),
        "<h2>Decision, class by class (frozen holdout, means over patients)</h2>",
        _verdicts(record.classes),
        *_kept(report),
    ]
    for split, title in (("holdout", "Frozen holdout"), ("validation", "Validation")):
        scores = [s for s in record.scores if s.split == split]
        parts += [f"<h2>{title}, case by case</h2>", _scores(scores, split)]  # type: ignore[arg-type]
    parts += [f"<h2>{escape(p.caption)}</h2>{_image(p)}" for p in report.pictures]
    parts += ["<h2>Learned from</h2>", _materials(report.materials)]
    if record.settings:
        rows = ((name, value) for name, value in sorted(record.settings.items()))
        parts += ["<h2>Settings</h2>", _table(("", ""), rows)]
    parts += [f"<p>{escape(note)}</p>" for note in report.notes]
    return "\n".join([*parts, f"<p class='quiet'>GenesisSegment {escape(__version__)}</p></body></html>\n"])


def _facts(report: RoundReport) -> str:
    record = report.record
    rows = [
        ("New model", record.version or "none"),
        ("Learned from", " ← ".join(report.parents)),
        ("Licence", report.licence),
        ("SHA-256", report.sha256),
        ("Started", record.started),
        ("Ended", record.ended),
        ("Steps", f"{record.steps} in {report.seconds:.0f} s" if record.steps else ""),
        ("Round", record.id),
    ]
    return _table(("", ""), ((name, value) for name, value in rows if value))


def _verdicts(verdicts: Sequence[ClassVerdict]) -> str:
    if not verdicts:
        return "<p>There is no case in the holdout that could tell.</p>"
    rows = []
    for v in verdicts:
        is_known = v.patients > 0
        p = "" if v.p_value is None else f"{v.p_value:.3f}"
        missing = f"{v.missing} more patients needed" if v.missing else ""
        scores = (_number(v.before), _number(v.after), _change(v.before, v.after)) if is_known else ("", "", "")
        reviewed = "corrected" if v.is_reviewed else ""
        rows.append((escape(v.label), reviewed, str(v.patients), *scores, p, v.verdict, missing))
    return _table(
        ("Class", "", "Patients", "Dice before", "after", "change", "p", "Verdict", ""), rows, numeric={2, 3, 4, 5, 6},
        is_html=True,
    )  # fmt: skip


def _kept(report: RoundReport) -> list[str]:
    found = kept_as_before(report.record.scores, report.record.agreements, report.rule)
    if not found:
        return []
    rows = (
        (label, str(kept.patients), _number(kept.dice), "" if kept.dice >= report.rule.kept else "changed")
        for label, kept in found.items()
    )
    return [
        "<h2>Classes that nobody has reviewed in a case that judges: the new model against the one before</h2>",
        _table(("Class", "Patients", "Dice between both", ""), rows, numeric={1, 2}),
    ]


def _scores(scores: Sequence[PairedScore], split: Split) -> str:
    if not scores:
        return f"<p>There is no case in the {split} split with anything to compare.</p>"
    rows = [
        (
            s.case[:12],
            escape(s.label),
            _number(s.dice_before),
            _number(s.dice_after),
            _change(s.dice_before, s.dice_after),
            _number(s.nsd_before),
            _number(s.nsd_after),
        )
        for s in sorted(scores, key=lambda s: (s.label, s.case))
    ]
    headings = ("Case", "Class", "Dice before", "after", "change", "NSD at 2 mm before", "after")
    return _table(headings, rows, numeric={2, 3, 4, 5, 6}, is_html=True)


def _materials(materials: Sequence[Material]) -> str:
    rows = (
        (
            m.case[:12],
            ", ".join(m.labels),
            ", ".join(m.models) or "drawn by hand",
            m.accepted[:16],
            "shown again" if m.is_replayed else "",
        )
        for m in materials
    )
    return _table(("Case", "Reviewed classes", "Proposed by", "Accepted", ""), rows)


def _table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = (), is_html: bool = False
) -> str:
    right = set(numeric)
    style = ['class="n"' if n in right else "" for n in range(len(headings))]
    head = "".join(f"<th {s}>{escape(h)}</th>" for h, s in zip(headings, style, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td {s}>{c if is_html else escape(c)}</td>" for c, s in zip(row, style, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>" if any(headings) else f"<table>{body}</table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _change(before: float, after: float) -> str:
    gain = after - before
    kind = "up" if gain > 0.0005 else "down" if gain < -0.0005 else "quiet"
    return f'<span class="{kind}">{gain:+.3f}</span>'


def _image(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    case = f' data-case="{escape(picture.case)}"' if picture.case else ""
    return f'<img{case} alt="{escape(picture.caption)}" src="data:image/png;base64,{data}">'

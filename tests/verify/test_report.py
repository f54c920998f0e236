"""The report of a proof: all of it on one page that loads nothing, whatever the proof says."""

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.verify import report
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.errors import MissingPackageError
from mshub_convert.verify.inputs import Tensors
from mshub_convert.verify.proof import Proof
from mshub_convert.verify.report import plots
from mshub_convert.verify.report.write import render
from mshub_convert.verify.weights import Weights

sys.path.insert(0, str(Path(__file__).parent))
from handmade import DEVICE, failing, inconclusive, passing
from handmade import diagnosis as handmade_diagnosis

pytestmark = pytest.mark.slow

MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
# Elements without an end.
VOID = {"meta", "br", "img", "path", "use", "rect"}
HOSTILE = """</style></svg><script>alert("x")</script>{{ 7*7 }}'$x^2$&amp;"""


class Page(HTMLParser):
    """What is in a page; complains of elements that are not closed in order, and of ids that are there twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(ids) == len(set(ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is read, blanks folded."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all such elements."""
        return [attributes for name, attributes in self.elements if name == tag]


COMMAND = "mshub-convert verify a b --report r.html"
PROOFS = {"pass": passing(), "fail": failing(), "inconclusive": inconclusive()}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The pages of three proofs."""
    return {name: render(proof, command=COMMAND, made=MADE) for name, proof in PROOFS.items()}


def page(proof: Proof, command: str = COMMAND) -> Page:
    return Page(render(proof, command=command, made=MADE))


@pytest.mark.parametrize("which", PROOFS)
def test_a_page_is_whole_and_loads_nothing(texts: dict[str, str], which: str) -> None:
    text = texts[which]
    found = Page(text)
    assert "://" not in text
    assert not re.search(r"url\((?!#)", text)
    assert not {"script", "link", "iframe", "object"} & {name for name, _ in found.elements}
    for _, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")]
        link = attributes.get("src") or attributes.get("href") or attributes.get("xlink:href")
        assert link is None or link.startswith(("data:image/jpeg;base64,", "#"))
    assert not re.search(r"\{\{|\}\}|\{%|%\}|\{#", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))
    assert len(found.all("h1")) == 1
    assert all(attributes["scope"] in ("row", "col") for attributes in found.all("th"))
    assert all(attributes["alt"] for attributes in found.all("img"))


def test_links_inside_a_figure_lead_somewhere(texts: dict[str, str]) -> None:
    text = texts["pass"]
    ids = set(re.findall(r'\bid="([^"]*)"', text))
    used = set(re.findall(r'(?:href="|url\()#([^")]*)', text))
    assert used
    assert used <= ids


def test_the_verdict_comes_first_with_its_reason_and_what_to_do(texts: dict[str, str]) -> None:
    for which, headline, todo in (
        ("pass", "Pass: source and target are one function", "Use the target"),
        ("fail", "Fail: the target is not the source", "Convert the source again"),
        ("inconclusive", "Inconclusive: nothing is proven", "verify again"),
    ):
        text = Page(texts[which]).text
        said = text.index(headline), text.index(PROOFS[which].reason[1:]), text.index(todo), text.index("Verdicts")
        assert list(said) == sorted(said)


def test_a_failure_of_the_device_alone_is_no_failure_of_the_target() -> None:
    proof = passing()
    device = replace(DEVICE, verdict=Verdict.FAIL, reason="too far from the CPU")
    failed = replace(proof, verdict=Verdict.FAIL, reason=device.reason, devices=(device,))
    text = page(failed).text
    assert "Do not use the target on mindspore:Ascend:0. On the CPU it is right" in text
    assert "try another version of the runtime" not in text


def test_what_stands_between_backticks_is_code(texts: dict[str, str]) -> None:
    noted = replace(passing(), notices=("say `a --b <c>` & `d`",))
    text = render(noted, command=COMMAND, made=MADE)
    assert "<li>say <code>a --b &lt;c&gt;</code> &amp; <code>d</code></li>" in text
    assert "<code>mshub-convert preprocessing</code> compares that" in text
    assert not [text for text in texts.values() if "`" in text]


def test_the_bands_of_the_noise_floor_reach_beyond_all_marks() -> None:
    proof = passing()
    assert proof.exhibits is not None
    found = plots.errors(proof.exhibits, proof.inputs.labels, "head", "source", "reference").svg
    paths = re.findall(r"FillBetween.*?</path>|FillBetween.*?/>", found, flags=re.DOTALL)
    bands = [[float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)] for path in paths]
    marks = [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"[^>]*stroke: var', found)]
    assert len(bands) == 2
    assert len(marks) > 2 * 8
    assert all(min(band) < min(marks) and max(marks) < max(band) for band in bands)


def test_sections_come_in_order(texts: dict[str, str]) -> None:
    text = Page(texts["pass"]).text
    titles = (
        "Verdicts", "What was compared with what", "Errors against the noise floor", "First classes on sample pictures",
        "Weights 4 tensors", "How to reproduce", "What this does not mean",
    )  # fmt: skip
    assert [text.index(title) for title in titles] == sorted(text.index(title) for title in titles)


def test_a_pass_tells_all_there_is(texts: dict[str, str]) -> None:
    proof = PROOFS["pass"]
    found = Page(texts["pass"])
    for said in (
        proof.weights.reason[1:], proof.source_network, proof.reference, "4 drawn pictures (seed 3)", "torch 2.14.0",
        "mshub-convert verify a b --report r.html", "12" * 32, "ab" * 32, "stem_pool symmetric", "copied 3", "a note",
        "parts of a kernel that was split 1", "No accuracy was measured", "mean [0.485]", "2026-01-02 03:04 UTC",
        "order of the first five is the same; 6 are shown", "4 of 4", "class ",
    ):  # fmt: skip
        assert said in found.text
    assert f"{proof.comparisons[0].ratio:.2f}" in found.text
    pictures = [a["aria-label"] or "" for a in found.all("div") if a.get("role") == "img"]
    assert len(pictures) == 3
    assert "For each of 8 pictures" in pictures[0]
    assert len(found.all("img")) == 6


def test_a_failure_names_the_tensors_and_shows_the_pictures_that_differ(texts: dict[str, str]) -> None:
    text = Page(texts["fail"]).text
    assert all(name in text for name in PROOFS["fail"].weights.differing)
    assert "≠ class" in text
    assert re.search(r"On \d of 8 pictures the order of the first five differs", text)


def test_a_failure_says_which_layer_and_why(texts: dict[str, str]) -> None:
    found = Page(texts["fail"])
    assert "Device mindspore:Ascend:0 ✓ pass Near enough; up to 6.0e-04 is allowed" in found.text
    assert "Devices, each against a CPU run of the same graph" in found.text
    first = found.text.index("Where. bn2.scale, bn2.shift (layer3.2.bn2.scale, layer3.2.bn2.shift in the source): beta")
    assert first < found.text.index("What to do")
    assert "beta and gamma are in each other's place" in found.text
    assert "stages.2.2.norm2 stages.2 0.5 1.0e-7 yes" in found.text
    assert "one of 40 values differs (not seen" in found.text
    curve = [a["aria-label"] or "" for a in found.all("div") if a.get("role") == "img"][-1]
    assert "5 values from input to output" in curve
    assert "wrong by themselves: stages.2.2.norm2, head" in curve


def test_a_pass_that_was_looked_into_shows_how_errors_grow() -> None:
    looked = handmade_diagnosis()
    curve = tuple(replace(point, target=point.source) for point in looked.curve)
    clean = replace(looked, faults=(), unseen=(), curve=curve, notices=("roundings add up",))
    found = page(replace(PROOFS["pass"], diagnosis=clean))
    assert "None of them gives anything but what the source's would" in found.text
    assert "roundings add up" not in found.text
    assert len(found.all("svg")) == 4


def test_what_would_have_been_caught_is_told(texts: dict[str, str]) -> None:
    text = Page(texts["pass"]).text
    assert "1 of 2 mutations of the target caught by the outputs alone" in text
    assert "one value of fc.bias off mistake 1.10 missed" in text
    assert "--self-test 64" in Page(texts["fail"]).text


def test_a_curve_without_numbers_is_not_drawn() -> None:
    nothing = tuple(replace(point, target=float("nan")) for point in handmade_diagnosis().curve)
    found = page(replace(PROOFS["inconclusive"], diagnosis=replace(handmade_diagnosis(), curve=nothing)))
    assert not found.all("svg")


def test_class_names_are_used_where_the_source_has_them() -> None:
    proof = passing()
    assert proof.source is not None
    names = tuple(f"bird {number}" for number in range(40))
    text = page(replace(proof, source=replace(proof.source, class_names=names))).text
    assert "bird " in text
    assert "told by index" not in text


def test_names_from_files_are_text() -> None:
    proof = failing()
    assert proof.source is not None
    weights = replace(proof.weights, differing=(HOSTILE,), sha256={HOSTILE: HOSTILE}, reason=HOSTILE)
    source = replace(proof.source, address=HOSTILE, class_names=(HOSTILE,) * 40, traits={HOSTILE: HOSTILE})
    inputs = Tensors(Path(HOSTILE), HOSTILE, (HOSTILE + "1", HOSTILE + "2"), ((4, 3, 32, 32), (4, 3, 33, 39)))
    hostile = replace(
        proof, reason=HOSTILE, weights=weights, source=source, source_network=HOSTILE, notices=(HOSTILE,), inputs=inputs
    )
    found = page(hostile, HOSTILE)
    assert not found.all("script")
    assert found.text.count("alert") > 10
    assert "{{ 7*7 }}" in found.text


def test_equal_proofs_give_equal_pages(texts: dict[str, str]) -> None:
    assert render(passing(), command=COMMAND, made=MADE) == texts["pass"]


def test_outputs_that_cannot_be_drawn_leave_the_words() -> None:
    proof = passing()
    broken = tuple(replace(item, verdict=Verdict.FAIL, reason="the output holds NaN or Inf", inputs=0,
                           ratio=float("nan"), ranking=None) for item in proof.comparisons)  # fmt: skip
    found = page(replace(proof, verdict=Verdict.FAIL, comparisons=broken))
    assert "The output holds NaN or Inf" in found.text
    assert "no number" in found.text
    assert not found.all("svg")


def test_weights_that_differ_without_anything_run() -> None:
    weights = Weights(Verdict.FAIL, "the source is resnet50 of 10 classes, the target resnet50 of 11 classes", 0)
    text = page(Proof(Verdict.FAIL, weights.reason, weights, (), "the source", "the target", "not run"), "").text
    assert "Made from Python" in text
    assert "of 11 classes" in text


def test_a_bundle_has_no_source_to_tell_of() -> None:
    text = page(replace(PROOFS["inconclusive"], source=None)).text
    assert "small.ckpt The mindspore runtime was ended" in text
    assert "against" not in text
    assert "timm:small" not in text


def test_writes_a_file_and_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    assert inconclusive().write_report(path) == path
    before = path.read_text(encoding="utf-8")
    replace(inconclusive(), reason="another").write_report(path)
    assert path.read_text(encoding="utf-8") != before
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_refuses_before_anything_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"does not end in \.html"):
        report.check_report(tmp_path / "resnet50.ckpt")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file, not a folder"):
        report.check_report(tmp_path / "file" / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        report.check_report(tmp_path / "folder.html")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else object())
    with pytest.raises(MissingPackageError, match="matplotlib, which is not installed") as caught:
        report.check_report(tmp_path / "report.html")
    assert caught.value.exit_code == 5
    assert "mshub-convert[report]" in caught.value.remedy
    assert isinstance(caught.value, EnvironmentError_)

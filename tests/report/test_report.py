"""The report as a paper's appendix: what it says first, its links, its markup, its citation."""

import dataclasses
import re
from urllib.parse import unquote

import matplotlib as mpl
import polars as pl
import pytest
from chromium import chromium, resize
from run_jobs import ROOT

import toolkit
from toolkit.report.blocks import Bullets, Code, Heading, Paragraph, Picture, Table, plain
from toolkit.report.browse_page import BROWSE_HTML
from toolkit.report.document import read_fit
from toolkit.report.figures import figures_of
from toolkit.report.inline import as_html
from toolkit.report.references import AUTHORS, bibtex
from toolkit.report.render import render_html, render_markdown
from toolkit.report.report import report_blocks, write_report
from toolkit.report.style import STYLE, save
from toolkit.runs.provenance import Provenance
from toolkit.runs.taxonomy import Taxonomy
from toolkit.runs.usage import Cost

README = ROOT / "analysis" / "readme"
PROVENANCE = Provenance(
    revision="0e9e39f",
    task="humaneval",
    data="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
    first_day="2026-11-25",
    last_day="2026-11-26",
    toolkit="0.2.0",
    commit="16c1044",
    engine="vllm 0.32.0",
    devices={"NVIDIA H100": 4},
    prompt_tokens=66_920,
    usd_per_gpu_hour=2.5,
)


@pytest.fixture(scope="module")
def document():
    """README's fit, as if it had run on GPUs."""
    paid = Cost(on_gpus=True, seconds=7200.0, sampling_seconds=3600.0, source="sacct")
    found = read_fit(README / "quickstart")
    return dataclasses.replace(found, provenance=PROVENANCE, date="2026-11-26", cost=paid)


def counts_of(names):
    size = len(names)
    columns = {"task_id": names, "n": [40] * size, "c": list(range(size))}
    return pl.DataFrame(columns).with_columns(distinct=7, tokens=400, samples=40)


COUNTS = counts_of([f"HumanEval/{i}" for i in range(12)])


def text_of(document, counts=COUNTS, browser=None):
    return render_markdown("t", list(report_blocks(document, counts, browser)))


def test_what_was_run_stands_in_one_table(document):
    text = text_of(document)
    for said in (
        "| date of this report | 26 November 2026 |",
        "| sampled | 25 November 2026 to 26 November 2026 |",
        "| model | SmolLM2-135M-Instruct, revision 0e9e39f |",
        "| task | humaneval (data: SHA-256 b796127e635a67f9...) |",
        "| time limit of an answer | 3 s |",
        "| libraries | numpy |",
        "| toolkit | 0.2.0, commit 16c1044 |",
        "| engine | vllm 0.32.0 |",
        "| device | 4 x NVIDIA H100 |",
        "| tokens | 68,541 out, 66,920 in |",
        "| GPU-hours | 2.00 (from sacct), 50% of it sampling |",
        "| US dollars | 5, at 2.5 a GPU-hour |",
    ):
        assert said in text, said
    assert text.count("*These problems* are") == text.count("*Such problems* are") == 1
    hosted = Cost(on_gpus=False, seconds=90.0, sampling_seconds=90.0, source="the shards", usd=0.25)
    text = text_of(dataclasses.replace(document, cost=hosted))
    assert "| GPU-hours | none: 90 s of sampling tasks (from the shards)" in text
    assert "| US dollars | 0.25 for tokens |" in text


@pytest.mark.parametrize(("cut", "warned"), [(19, False), (20, True)])
def test_from_two_percent_on_a_warning_says_how_many_samples_were_cut(document, cut, warned):
    kinds = Taxonomy({"passed": 900, "syntax": 100}, {"syntax": cut}, {}, 0, {}, {})
    text = text_of(dataclasses.replace(document, taxonomy=kinds))
    assert ("> **2.0 % of the samples (20 of 1,000) ended at max_tokens = 200" in text) is warned
    assert f"{cut} samples of 1,000 ({cut / 10} %) are *cut*" in text


def test_the_table_of_problems_links_to_the_page_of_samples_where_there_is_one(tmp_path, document):
    names = ["HumanEval/32", "own/ä b", "own/(x)#1", "own/a*b*`c`|<i>", "own/50%"]
    counts = counts_of(names)
    few = dataclasses.replace(
        document, fits=document.fits, taxonomy=None, consistency=None, slopes=(), output_tokens=None
    )
    figures = tmp_path / "figures"
    figures.mkdir()
    for name in ("pass_at_k", "fail_at_k", "difficulty"):
        (figures / f"{name}.svg").write_text("<svg/>")
    write_report(few, counts, tmp_path)
    assert BROWSE_HTML not in (tmp_path / "report.html").read_text()
    write_report(few, counts, tmp_path, BROWSE_HTML)
    promised = (tmp_path / "report.html").read_text()
    (tmp_path / BROWSE_HTML).touch()
    write_report(few, counts, tmp_path)
    assert (tmp_path / "report.html").read_text() == promised
    page = (tmp_path / "report.html").read_text()
    links = re.findall(rf'href="{BROWSE_HTML}#([^"]+)"', page)
    assert [unquote(link) for link in links] == names
    assert links[0] == "HumanEval/32"
    assert all(re.fullmatch(r"[\w/.~%-]+", link) for link in links)
    assert "own/a*b*`c`|&lt;i&gt;</a>" in page
    assert (
        "[HumanEval/32](browse.html#HumanEval/32) | 0 | 40 | 0.0 % | 7 | 10 |"
        in (tmp_path / "report.md").read_text()
    )
    other = tmp_path / "plus"
    (other / "figures").mkdir(parents=True)
    for path in figures.iterdir():
        (other / "figures" / path.name).write_text("<svg/>")
    write_report(few, counts, other)
    assert f'href="../{BROWSE_HTML}#HumanEval/32"' in (other / "report.html").read_text()


@pytest.mark.slow
def test_the_page_is_no_wider_than_a_phone(tmp_path, document):
    with chromium() as driver:
        (tmp_path / "figures").mkdir()
        with mpl.rc_context(STYLE):
            for name, figure in figures_of(document, COUNTS).items():
                save(figure, tmp_path / "figures" / name)
        write_report(document, COUNTS, tmp_path)
        resize(driver, 360)
        driver.get((tmp_path / "report.html").as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth") == 360
        assert driver.execute_script("return document.images.length") > 3


def test_the_page_has_no_raw_markup_and_loads_nothing(tmp_path, document):
    blocks = list(report_blocks(document, COUNTS))
    for block in blocks:
        if isinstance(block, Picture):
            (tmp_path / f"{block.name}.svg").write_text("<svg/>")
    page = render_html("a ^ title <b>", blocks, tmp_path)
    shown = re.sub(r"<(style|pre)>.*?</\1>", "", page.split("<body>")[1], flags=re.S)
    shown = re.sub(r"<[^>]*>", "", shown.split("</h1>")[1])
    assert not set("`^") & set(shown)
    assert not re.search(r"\*\S|\]\(", shown)
    assert "<h1>a ^ title &lt;b&gt;</h1>" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    for table in re.findall(r"<table.*?</table>", page, flags=re.S):
        columns = len(re.findall("<th ", table))
        assert ('class="wide"' in table) is (columns > 4)
        assert table.count("data-label") == (table.count("<td") if columns > 4 else 0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "pass^k, R^2, k^-a and (a b)^k",
            "pass<sup>k</sup>, R<sup>2</sup>, k<sup>-a</sup> and (a b)<sup>k</sup>",
        ),
        ("`a*b*c^2` and *so*", "<code>a*b*c^2</code> and <em>so</em>"),
        ("[a & b](https://x.org/?a=1&b=2)", '<a href="https://x.org/?a=1&amp;b=2">a &amp; b</a>'),
        ("rows with * are", "rows with * are"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (plain("*a* `b` [c](d) e^f <g> \\h"), "*a* `b` [c](d) e^f &lt;g&gt; \\h"),
        (f"*{plain('a*b')}*", "<em>a*b</em>"),
    ],
)
def test_the_small_markup(text, shown):
    assert as_html(text) == shown


def test_a_forecast_says_what_was_tested_and_when_a_case_lies_outside(document):
    text = text_of(document)
    assert "Tested were 10 to 164 problems with n = 5 to 200, and K up to 100 n; beyond" in text
    assert "lies outside" not in text
    text = text_of(dataclasses.replace(document, problems=665))
    assert "This case (665 problems) lies outside of what was tested." in text


def test_methods_are_cited_with_links_and_the_toolkit_as_bibtex(document):
    blocks = list(report_blocks(document, COUNTS))
    places = [b.text for b in blocks if isinstance(b, Heading)]
    assert places[-1] == "Methods and citation"
    cited = next(b for b in reversed(blocks) if isinstance(b, Bullets)).items
    assert all(re.search(r"\]\(https://(arxiv\.org/abs|doi\.org)/\S+\)\.$", item) for item in cited)
    code = next(b for b in blocks if isinstance(b, Code)).text
    assert code == bibtex("2026")
    assert f"author  = {{{{{AUTHORS}}}}}" in code
    assert f"version = {{{toolkit.__version__}}}" in code
    assert {type(b) for b in blocks} == {Bullets, Code, Heading, Paragraph, Picture, Table}


def test_the_citation_file_has_what_its_format_requires_and_names_this_version():
    """Of CFF 1.2.0: cff-version, message, title, authors; an entity has a name."""
    text = (ROOT / "CITATION.cff").read_text()
    top = dict(re.findall(r"^([\w-]+): *(.*)$", text, flags=re.M))
    assert {"cff-version", "message", "title", "authors"} <= top.keys()
    assert (top["cff-version"], top["license"]) == ("1.2.0", "Apache-2.0")
    assert top["version"] == toolkit.__version__
    assert re.search(rf"^authors:\n  - name: {AUTHORS}$", text, flags=re.M)
    assert not re.search("(given|family)-names", text)

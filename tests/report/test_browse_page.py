"""The sample browser in a real Chromium: table, problems, diff, links, keys, and hostile text."""

import json
from itertools import pairwise

import pytest
from chromium import chromium, missing, resize
from made_runs import CODEGEN, PASSED, judge_samples, large_run, made_run
from run_here import here

from toolkit.problems.humaneval import python_problem
from toolkit.records import Problem, Sample
from toolkit.stages.browse import browse_run
from toolkit.verifiers.judges import judge_of_run

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

HOSTILE = {
    "script": "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 1'>",
    "turned": "left \u202eright\u202c \u2066x\u2069 \u200e\ufeff end",
    "nulls": "a\x00b\x1bc\x7fd\x85e",
    "templates": "{{script}} ${window.hit = 1} &lt;b&gt; <!--",
    "long": "x = '" + "y" * 1_200_000 + "'",
    "thought": "hm, <b>so</b>\n</think>\nThis is it: 5",
    "fences": "Sure!\n```python\nprint('<b>')\n```\nthat is it",
}
"""What a model may write. Each of them is an answer of the problem `odd/<i>@"`."""
ODD = 'odd/<i>@"'
SHOWN_MARKS = ("U+202E", "U+202C", "U+2066", "U+200E", "BOM", "␀", "␛", "DEL", "U+0085")


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


def programs(name, n):
    """Samples of a problem: six answers, the first given half of the time."""
    right, other = "    return 2 * n\n", "    x = n\n    return n + x\n"
    wrong = [f"    # {name}\n    return n * {k}\n" for k in (3, 4, 5)]
    texts = [right] * (n // 2) + [other] * (n // 4) + wrong
    return [Sample(name, i, text, 9 + i, "stop" if i else "length") for i, text in enumerate(texts)]


def verdict(text):
    if "2 * n" in text or "n + x" in text:
        return PASSED
    return ("failed", "wrong_answer", "test line 2: <b>assert</b> f(2) == 4\u202e", ())


def asked(name, prompt="def f(n):\n    '''Twice n.'''\n"):
    return python_problem(name, prompt, "def check(f):\n    assert f(2) == 4\n", "f")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of 60 problems; those with an odd number are never solved. And the odd one."""
    problems = [asked(f"t/{i}", f"def f(n):\n    '''Number {i}.'''\n") for i in range(60)]
    samples = [s for i in range(60) for s in programs(f"t/{i}", 8 if i % 2 == 0 else 0)]
    samples += [Sample(ODD, i, text, 3, "stop") for i, text in enumerate(HOSTILE.values())]
    folder = tmp_path_factory.mktemp("browse") / "run"
    run = made_run(folder, [*problems, asked(ODD, "<u>asked</u>")], samples, verdict)
    path, _ = browse_run(run, judge_of_run(run))
    return path.as_uri()


@pytest.fixture
def shown(browser, page):
    """The page, opened anew at a link: `shown("#t/2")`. What it has logged is asserted at last."""
    resize(browser, 1280, 800)
    for kind in ("browser", "performance"):
        browser.get_log(kind)

    def open_at(link=""):
        browser.get("about:blank")
        browser.get(page + link)
        ready(browser)
        return browser

    yield open_at
    assert browser.get_log("browser") == []
    assert requests(browser) <= {page}


def ready(driver):
    """Wait until the page shows what its link asks for."""
    driver.execute_async_script(
        "const done = arguments[0];"
        "const look = () => document.app && !document.app.routing ? done() : setTimeout(look, 5);"
        "setTimeout(look, 5);"
    )


def requests(driver):
    """The addresses that the page has asked for, without what stands behind #."""
    sent = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    found = (
        m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"
    )
    return {url.partition("#")[0] for url in found} - {"about:blank"}


def texts(driver, selector):
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(node => node.textContent)",
        selector,
    )


def press(driver, *keys):
    for key in keys:
        driver.switch_to.active_element.send_keys(key)
        ready(driver)


def hash_of(driver):
    return driver.execute_script("return location.hash")


def names(driver):
    """The names in the rows in view, from the top."""
    return driver.execute_script(
        "return [...document.app.overview.list.rows].sort((a, b) => a[0] - b[0])"
        ".map(([, row]) => row.querySelector('.name b').textContent)"
    )


def choose(driver, selector, value):
    driver.execute_script(
        "const box = document.querySelector(arguments[0]); box.value = arguments[1];"
        "box.dispatchEvent(new Event(box.tagName === 'SELECT' ? 'change' : 'input'))",
        selector,
        value,
    )


@pytest.mark.slow
def test_a_run_that_was_launched_has_its_page(browser, tmp_path):
    run = tmp_path / "run"
    flags = ("--limit", "3", "--samples", "6", "--launcher", "inline", "--run", run)
    done = here("launch", "--preset", "smoke", *flags)
    assert done.code == 0, done.all()
    assert "browse.html" in done.out
    browser.get((run / "results" / "browse.html").as_uri())
    ready(browser)
    assert names(browser) == ["HumanEval/0", "HumanEval/1", "HumanEval/2"]
    assert "3 problems · 18 samples" in texts(browser, ".facts")[0]
    press(browser, "\ue007")  # Enter
    assert hash_of(browser) == "#HumanEval/0"
    assert "has_close_elements" in texts(browser, ".pane")[0]
    press(browser, "j")
    assert texts(browser, ".pane .verdicts .chip")[0] in ("passed", "failed")
    assert browser.get_log("browser") == []


def test_the_table_is_sorted_filtered_and_searched(shown):
    driver = shown()
    assert names(driver)[:3] == ["t/0", "t/1", "t/2"]
    assert len(texts(driver, ".problems .row")) < 60
    driver.find_element("css selector", "button[data-sort=rate]").click()
    assert names(driver)[:2] == ["t/1", "t/3"]
    driver.find_element("css selector", "button[data-sort=rate]").click()
    assert names(driver)[0] == "t/0"
    driver.find_element("css selector", "button[data-sort=order]").click()
    choose(driver, ".problems select", "never")
    assert texts(driver, ".problems .found") == ["31 of 61"]
    assert names(driver)[:2] == ["t/1", "t/3"]
    choose(driver, ".problems select", "cut")
    assert texts(driver, ".problems .found") == ["60 of 61"]
    choose(driver, ".problems select", "")
    press(driver, "/", "number 17")
    assert names(driver) == ["t/17"]
    press(driver, "\ue00c", "\ue00c")  # Escape leaves the box, then clears it
    assert texts(driver, ".problems .found") == ["61 of 61"]
    choose(driver, ".problems input", "no such thing")
    assert texts(driver, ".problems .empty") == ["No problem is like that."]


def test_headings_stand_above_their_columns_beside_a_scroll_bar(shown):
    driver = shown()
    bar = "const box = document.querySelector('.list'); return box.offsetWidth - box.clientWidth"
    assert driver.execute_script(bar) > 0
    ends = (
        "return [...document.querySelectorAll(arguments[0])]"
        ".map(node => node.getBoundingClientRect().right)"
    )
    headings = driver.execute_script(ends, ".header button")
    assert headings == driver.execute_script(ends, ".problems .row:first-child > *")


def test_a_long_table_draws_the_rows_in_view_only(shown):
    driver = shown()
    press(driver, *"jjj")
    assert texts(driver, ".problems .row.selected b")[0] == "t/3"
    driver.execute_script("document.app.overview.list.box.scrollTop = 1e6")
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert names(driver)[-1] == ODD
    assert "t/0" not in names(driver)


def test_links_lead_to_a_problem_an_answer_and_a_difference(shown):
    driver = shown("#t/2")
    assert driver.title.startswith("t/2")
    assert [t.split("return")[0] for t in texts(driver, ".problem .mass b")] == list("42111")
    assert "Number 2." in texts(driver, ".pane pre")[0]
    driver.find_element("css selector", ".problem .row:nth-child(2)").click()
    ready(driver)
    to_answer = hash_of(driver)
    assert texts(driver, ".pane h2")[0] == "Answer 2 of 5"
    assert texts(driver, ".pane pre") == ["    x = n\n    return n + x\n"]
    assert texts(driver, ".samples tbody tr td:first-child") == ["4", "5"]
    assert texts(shown(to_answer), ".pane h2")[0] == "Answer 2 of 5"
    press(driver, "d")
    to_difference = hash_of(driver)
    assert to_difference.startswith("#t/2@")
    assert texts(driver, ".diff .removed") == ["-    return 2 * n"]
    assert texts(driver, ".diff .added") == ["+    x = n", "+    return n + x"]
    assert texts(shown(to_difference), ".diff .added") == ["+    x = n", "+    return n + x"]
    press(driver, "\ue00c")
    assert hash_of(driver) == to_answer
    press(driver, "\ue00c", "n")
    assert hash_of(driver) == "#t/3"
    press(driver, "\ue00c")
    assert texts(driver, ".problems .row.selected b")[0] == "t/3"
    assert "no problem of this name: t/99" in texts(shown("#t/99"), ".missing")[0]
    assert "no answer of that name: zz" in texts(shown("#t/2@zz"), ".pane .note")[0]
    assert names(shown("#%E0%A4%A"))[0] == "t/0"


def test_answers_are_filtered_and_another_base_is_chosen(shown):
    driver = shown("#t/2")
    choose(driver, ".problem select", "wrong_answer")
    assert texts(driver, ".problem .found") == ["3 of 5"]
    assert texts(driver, ".problem .mass b") == list("111")
    choose(driver, ".problem select", "")
    choose(driver, ".problem input", "n * 4")
    assert texts(driver, ".problem .found") == ["1 of 5"]
    press(driver, "j", "b")
    choose(driver, ".problem input", "")
    assert texts(driver, ".problem .row:has(.base) small")[0].startswith("test line 2")
    press(driver, "k", "d")
    assert any("n * 4" in line for line in texts(driver, ".diff .removed"))


def test_hostile_text_is_shown_as_text(shown):
    driver = shown("#" + "odd/%3Ci%3E%40%22")
    assert texts(driver, "h1") == [ODD]
    assert texts(driver, ".pane pre")[0] == "<u>asked</u>"
    seen = []
    for _ in HOSTILE:
        press(driver, "j")
        seen += texts(driver, ".pane pre")
    assert HOSTILE["script"] in seen
    assert HOSTILE["templates"] in seen
    assert HOSTILE["fences"] in seen
    choose(driver, ".problem input", "so</b>")
    press(driver, "j")
    assert texts(driver, ".pane .t-thought") == ["hm, <b>so</b>\n</think>"]
    choose(driver, ".problem input", "that is it")
    press(driver, "j")
    assert texts(driver, ".pane .t-prose") == ["Sure!\n", "\nthat is it"]
    assert texts(driver, ".pane .t-string") == ["'<b>'"]
    marks = driver.execute_script(
        "return document.body.querySelectorAll('script, img, b[onerror]').length"
    )
    assert marks == 2 + 61  # the page's own: its script, the index, a block for each problem
    assert driver.execute_script("return window.hit") is None
    whole = "".join(seen)
    assert all(mark in whole for mark in SHOWN_MARKS)
    assert not {"\u202e", "\x00", "\u2066", "\ufeff"} & set(
        driver.execute_script("return document.querySelector('#app').textContent")
    )
    with pytest.raises(Exception, match="TrustedHTML"):
        driver.execute_script("document.body.innerHTML = '<img src=x onerror=\"window.hit = 1\">'")
    (refused,) = driver.get_log("browser")
    assert "TrustedHTML" in refused["message"]


def test_a_line_of_a_megabyte_is_cut_until_it_is_asked_for(shown):
    driver = shown("#" + "odd/%3Ci%3E%40%22")
    choose(driver, ".problem input", "yyyy")
    press(driver, "j")
    assert len(texts(driver, ".pane pre")[0]) == 20_000
    button = driver.find_element("css selector", ".pane .more")
    assert button.text == "show all 1,200,006 characters"
    button.click()
    assert texts(driver, ".pane pre")[0] == HOSTILE["long"]


def test_what_was_judged_is_shown(browser, tmp_path):
    number = Problem("n", "How many?", "number", '{"answer": "17"}')
    samples = [Sample("n", i, f"I think\nit is {i},000.0 <b>", 3, "stop") for i in (0, 1)]
    says = {"1000": ("error", "", "the worker has ended", ())}
    run = made_run(tmp_path / "n", [number], samples, None, style="chat")
    judge_samples(
        run,
        run.slices(),
        judge_of_run(run),
        lambda text: says.get(text, ("failed", "wrong_answer", "", ())),
        lambda text: str(int(text.split()[4].partition(",")[0]) * 1000),
    )
    path, _ = browse_run(run, judge_of_run(run))
    browser.get_log("browser")
    browser.get(path.as_uri() + "#n")
    ready(browser)
    assert "1 that the judge could not decide" in texts(browser, ".facts")[0]
    assert texts(browser, ".row small") == ["0", "1000"]
    press(browser, "j", "j")
    assert texts(browser, ".judged") == ["Judged: 1000"]
    assert "could not decide" in texts(browser, ".verdicts .detail")[0]
    assert texts(browser, ".pane pre")[0].endswith("1,000.0 <b>")
    programs_of = made_run(tmp_path / "p", [asked("t/1")], programs("t/1", 4), verdict)
    judge_samples(
        programs_of,
        programs_of.slices(),
        judge_of_run(programs_of),
        verdict,
        lambda text: asked("t/1").prompt + text,
    )
    path, _ = browse_run(programs_of, judge_of_run(programs_of))
    browser.get(path.as_uri() + "#t/1")
    ready(browser)
    press(browser, "j")
    assert texts(browser, ".judged") == ["Judged: the prompt with this text after it."]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [1280, 768, 360])
def test_nothing_is_wider_than_the_screen(shown, width):
    driver = shown()
    for dark in (False, True):
        resize(driver, width, dark=dark)
        for link in ("#", "#t/2", "#t/2@question", "#odd/%3Ci%3E%40%22@question"):
            driver.execute_script("location.hash = arguments[0]", link)
            ready(driver)
            wide = "return document.documentElement.scrollWidth"
            assert driver.execute_script(wide) == width
            # Long texts scroll in their own boxes, or end in three dots.
            wider = (
                "return [...document.querySelectorAll('#app *')]"
                ".filter(node => !node.closest('pre, small, footer'))"
                ".filter(node => node.getBoundingClientRect().right > innerWidth + 1)"
                ".map(node => node.className)"
            )
            assert driver.execute_script(wider) == []
        paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") is not dark


@pytest.mark.parametrize(
    ("link", "rows"), [("#", 61), ("#odd/%3Ci%3E%40%22", len(HOSTILE)), ("#t/2@question", 0)]
)
def test_on_paper_all_rows_stand_below_each_other(shown, link, rows):
    driver = shown(link)
    resize(driver, 720)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        driver.execute_script("dispatchEvent(new Event('beforeprint'))")
        boxes = driver.execute_script(
            "return [...document.querySelectorAll('.row')].map(row => row.getBoundingClientRect())"
            ".filter(box => box.height).map(box => [box.top, box.bottom])"
        )
        assert len(boxes) == rows
        assert all(low <= top + 0.5 for (_, low), (top, _) in pairwise(boxes))
        for part in ("main", ".pane"):
            cut = "return [...document.querySelectorAll(arguments[0])].filter(box => box.clientHeight && box.scrollHeight > box.clientHeight + 1).length"
            assert driver.execute_script(cut, part) == 0
        driver.execute_script("dispatchEvent(new Event('afterprint'))")
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    resize(driver, 1280)
    assert len(texts(driver, ".row")) < 61


@pytest.mark.slow
@pytest.mark.skipif(not CODEGEN.exists(), reason=f"{CODEGEN} is not there")
def test_164_000_samples_are_at_most_20_mb(browser, tmp_path):
    run = large_run(tmp_path / "run")
    path, data = browse_run(run, judge_of_run(run))
    assert (data.head["samples"], data.head["texts_left_out"]) == (164_000, 0)
    assert path.stat().st_size <= 20_000_000
    browser.get_log("browser")
    browser.get(path.as_uri() + "#HumanEval/32")
    ready(browser)
    assert "of 1,000 samples passed" in texts(browser, ".facts")[0]
    assert 0 < len(texts(browser, ".problem .row")) < 60
    press(browser, *"jjd")
    assert texts(browser, ".diff .line")
    press(browser, *3 * ["\ue00c"])
    assert names(browser)[0].startswith("HumanEval/")
    assert browser.get_log("browser") == []

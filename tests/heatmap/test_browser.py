"""The page in headless Chromium: what is shown, filters, search, keys, themes, links, and that it stays small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.heatmap.browser import CHROMIUM, Page, chromium
from tests.heatmap.records import HOSTILE, record, right, write_dump
from verl_nthr.heatmap.page import write_heatmap
from verl_nthr.heatmap.text import printable

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt install chromium"),
]

ELEMENTS = "document.querySelectorAll('*').length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium() as page:
        yield page


@pytest.fixture
def tab(browser: Page) -> Iterator[Page]:
    """A tab of 1400 by 900 pixels in which nothing may go wrong and from which nothing may be loaded but the page."""
    browser.resize(1400, 900)
    browser.events.clear()
    yield browser
    bad = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening"}
    assert [event for event in browser.events if event["method"] in bad] == []
    requests = [event["params"] for event in browser.events if event["method"] == "Network.requestWillBeSent"]
    assert all(request["type"] == "Document" for request in requests), requests
    assert all(request["request"]["url"].startswith(("file:", "about:")) for request in requests), requests


def group(uid: str, correct: int, size: int = 4, **changes: Any) -> list[dict[str, Any]]:
    """``size`` responses to a prompt of their own, of which the first ``correct`` are right."""
    common = {"uid": uid, "prompt": f"What is {uid}?"} | changes
    if not 0 < correct < size:
        common |= {"tau": None, "eta": None, "scores": [None] * 3, "weights": [1.0] * 3}
    return [(right if i < correct else record)(**common | {"response_index": i}) for i in range(size)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Steps 7 and 8 of three groups each, two of them mixed; one response of step 8 says ``so 9``."""
    folder = tmp_path_factory.mktemp("small")
    odd = {"tokens": ["so", " ", "9"], "token_ids": [11, 12, 19], "response": "so 9"}
    eighth = [*group("ash", 1, step=8), *group("birch", 3, step=8), *group("cedar", 0, step=8)]
    eighth[1] |= odd | {"weights": [1.0] * 3, "scores": [0.0] * 3}
    files = [
        write_dump(folder / "7.jsonl", *group("ash", 2), *group("birch", 3), *group("cedar", 4)),
        write_dump(folder / "8.jsonl", *eighth),
    ]
    write_heatmap(files, folder / "page.html", "Small")
    return folder / "page.html"


CONTRAST = """(selector, background) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const luminance = (...layers) => {
    for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [red, green, blue] = Array.from(canvas.getImageData(0, 0, 1, 1).data, (value) => linear(value / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const element = document.querySelector(selector);
  element.style.setProperty("--s", 1);
  const style = getComputedStyle(element);
  const below = getComputedStyle(document.querySelector(background)).backgroundColor;
  const [dark, light] = [luminance(below, style.backgroundColor), luminance(style.color)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}"""
"""The contrast of WCAG 2 between an element's text and its colour at full strength on that of another element."""


def where(tab: Page) -> tuple[str, str]:
    return tab.text("#where"), tab.text("#prompt")


def address(tab: Page) -> dict[str, str]:
    tab.evaluate("new Promise((done) => setTimeout(done, 300))")
    return {name: values[0] for name, values in parse_qs(tab.evaluate("location.hash.slice(1)")).items()}


def test_groups_cards_and_colours(tab: Page, small: Path) -> None:
    tab.open(small)
    tab.wait_for("document.querySelectorAll('#cards .t').length === 12")
    assert tab.text("#count") == "4 of 6 groups, 16 responses"
    assert where(tab) == ("Step 7 · group 1 of 4", "What is ash?")
    assert tab.texts("#facts li") == ["2 of 4 right", "τ = 1", "η = 0.5", "2 of 6 tokens of wrong answers spared"]
    assert tab.texts(".card h3") == ["✗ wrong#2", "✗ wrong#3", "✓ right#0", "✓ right#1"]
    assert tab.text(".card p") == "reward 0 advantage −0.751 of 3 tokens spared"
    assert tab.texts(".card:first-child .t") == ["so", " ", "3"]
    classes = tab.evaluate("Array.from(document.querySelectorAll('.card:first-child .t'), (e) => e.className)")
    assert classes == ["t above spared", "t below", "t below"]
    # τ = 1; distances 1.5, 0.5, 4 of both wrong answers: the 95th percentile of six by lower rank is 4
    strengths = tab.evaluate(
        "Array.from(document.querySelectorAll('.card:first-child .t'), (e) => e.style.getPropertyValue('--s'))"
    )
    assert strengths == ["0.375", "0.125", "1.000"]
    colours = tab.evaluate(
        "Array.from(document.querySelectorAll('.card:first-child .t'), (e) => getComputedStyle(e).backgroundColor)"
    )
    assert len(set(colours)) == 3
    assert tab.texts(".card.right .above, .card.right .below") == []
    tab.choose("both", True)
    assert len(tab.texts(".card.right .above, .card.right .below")) == 6


def test_pointing_and_focus_show_the_numbers(tab: Page, small: Path) -> None:
    tab.open(small)
    tab.wait_for("document.querySelector('#cards .t') !== null")
    tab.point_at(".card:first-child .t")
    numbers = "“so”id11position1 of 3score2.5score − τ1.5weight0.5log-prob−0.25entropy0.125"
    assert tab.text("#tip") == f"{numbers}spared: its penalty is multiplied by 0.5"
    assert not tab.evaluate("document.querySelector('#tip').hidden")
    tab.point_at("h1")
    assert tab.evaluate("document.querySelector('#tip').hidden")
    tab.press("n", "ArrowRight", "ArrowRight", "ArrowRight")
    assert tab.text("#tip") == "“3”id13position3 of 3score−3score − τ−4weight1log-prob−1.5entropy2"
    tab.press("ArrowLeft")
    assert tab.text("#tip code") == "“ ”"
    tab.press("Escape")
    assert tab.evaluate("document.querySelector('#tip').hidden")


def test_filters(tab: Page, small: Path) -> None:
    tab.open(small)
    tab.choose("groups", "all")
    assert tab.text("#count") == "6 of 6 groups, 24 responses"
    tab.choose("step", "8")
    assert tab.text("#count") == "3 of 6 groups, 12 responses"
    tab.choose("groups", "wrong")
    assert where(tab) == ("Step 8 · group 1 of 1", "What is cedar?")
    assert "not mixed: NTHR changes nothing here" in tab.texts("#facts li")
    assert tab.evaluate("document.querySelector('#scale').hidden")
    tab.choose("groups", "right")
    assert tab.text("#count") == "0 of 6 groups, 0 responses"
    assert tab.evaluate("!document.querySelector('#nothing').hidden && document.querySelector('#group').hidden")
    tab.choose("groups", "mixed")
    tab.choose("answers", "right")
    assert tab.texts(".card h3") == ["✓ right#0"]
    assert "3 responses hidden by the filters" in tab.texts("#facts li")
    tab.choose("answers", "wrong")
    assert tab.texts(".card h3") == ["✗ wrong#1", "✗ wrong#2", "✗ wrong#3"]
    tab.choose("spared", True)
    assert tab.texts(".card h3") == ["✗ wrong#2", "✗ wrong#3"]
    tab.choose("step", "all")
    tab.choose("order", "hard")
    assert [row.strip() for row in tab.texts(".row b")] == ["ash", "ash", "birch", "birch"]
    assert tab.texts(".row span")[0] == "step 81/4 right2 spared"


def test_search(tab: Page, small: Path) -> None:
    tab.open(small)
    tab.search("SO 9")
    assert tab.text("#count") == "1 of 6 groups, 4 responses"
    assert where(tab) == ("Step 8 · group 1 of 1", "What is ash?")
    tab.wait_for("document.querySelectorAll('#cards .t.hit').length > 0")
    assert tab.texts(".t.hit") == ["so", " ", "9"]
    assert tab.texts(".card:has(.hit) h3") == ["✗ wrong#1"]
    tab.press("Escape")
    assert tab.evaluate("document.activeElement === document.body")
    tab.search("birch")
    assert tab.text("#count") == "2 of 6 groups, 8 responses"
    assert tab.texts("mark") == ["birch"]
    tab.press("Escape")
    tab.search(".*")
    assert tab.text("#count") == "0 of 6 groups, 0 responses"


def test_keyboard(tab: Page, small: Path) -> None:
    tab.open(small)
    tab.press("j")
    tab.wait_for("document.querySelector('#prompt').textContent === 'What is birch?'")
    tab.press("j", "j", "j", "j", "k")
    tab.wait_for("document.querySelector('#where').textContent === 'Step 8 · group 3 of 4'")
    assert where(tab)[1] == "What is ash?"
    tab.press("n", "n")
    assert tab.text(".chosen h3") == "✗ wrong#2"
    tab.press("p")
    assert tab.text(".chosen h3") == "✗ wrong#1"
    tab.press("s")
    focused = "document.activeElement.closest('.card').querySelector('h3').textContent"
    assert (tab.text("#tip code"), tab.evaluate(focused)) == ("“so”", "✗ wrong#2")
    tab.press("s")
    assert tab.evaluate(focused) == "✗ wrong#3"
    tab.press("S")
    assert tab.evaluate(focused) == "✗ wrong#2"
    tab.press("[", "]", "]")
    tab.wait_for("document.querySelector('#where').textContent === 'Step 8 · group 1 of 2'")
    tab.evaluate("document.querySelector('#list').focus()")
    tab.press("End")
    tab.wait_for("document.querySelector('#prompt').textContent === 'What is birch?'")
    assert tab.text("[aria-selected=true] b") == "birch"
    tab.press("ArrowUp")
    tab.wait_for("document.querySelector('#prompt').textContent === 'What is ash?'")
    tab.press("?")
    assert tab.evaluate("document.querySelector('#help').open")
    tab.press("Escape")
    assert not tab.evaluate("document.querySelector('#help').open")


def test_themes(tab: Page, small: Path) -> None:
    tab.open(small)
    background = "getComputedStyle(document.body).backgroundColor"

    def prefer(scheme: str) -> str:
        tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        return tab.evaluate(background)

    light, dark = prefer("light"), prefer("dark")
    assert light != dark
    tab.press("t")
    assert (tab.text("#theme"), tab.evaluate(background)) == ("◐ light", light)
    prefer("light")
    tab.click("#theme")
    assert (tab.text("#theme"), tab.evaluate(background)) == ("◐ dark", dark)
    assert address(tab)["theme"] == "dark"
    tab.press("t")
    assert tab.evaluate(background) == light


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out(tab: Page, small: Path, theme: str) -> None:
    tab.open(small, f"#theme={theme}")
    tab.wait_for("document.querySelector('#cards .t') !== null")
    pairs = [("#cards .above", ".card"), ("#cards .below", ".card"), ("#facts", "body"), (".card p", ".card")]
    pairs += [(".wrong h3 b", ".card"), (".right h3 b", ".card"), (".row em", "#finder")]
    for selector, background in pairs:
        assert tab.evaluate(f"({CONTRAST})('{selector}', '{background}')") >= 4.5, (selector, theme)


def test_links(tab: Page, small: Path) -> None:
    tab.open(small, "#groups=all&group=8/cedar&response=2&answers=wrong&theme=dark")
    tab.wait_for("document.querySelector('.chosen') !== null")
    assert where(tab) == ("Step 8 · group 5 of 5", "What is cedar?")
    assert tab.text(".chosen h3") == "✗ wrong#2"
    kept = {"groups": "all", "group": "8/cedar", "response": "2", "answers": "wrong", "theme": "dark"}
    assert address(tab) == kept
    tab.press("k", "v")
    kept |= {"group": "8/birch", "view": "summary"}
    del kept["response"]
    assert address(tab) == kept
    tab.evaluate("location.hash = 'group=7/birch&step=7'; null")
    tab.wait_for("document.querySelector('#where').textContent === 'Step 7 · group 2 of 2'")
    assert not tab.evaluate("document.querySelector('#tokens').hidden")
    tab.open(small, "#group=7/nobody&step=nonsense&theme=pink&view=x&q=")
    assert where(tab)[0] == "Step 7 · group 1 of 4"


def test_summary_view(tab: Page, small: Path) -> None:
    tab.open(small)
    tab.click("#view-summary")
    assert not tab.evaluate("document.querySelector('#summary').hidden")
    assert tab.texts("#summary dd") == ["28.6 %", "6 of 21", "4", "of 6", "24", "2", "7 to 8"]
    labels = tab.evaluate(
        "Array.from(document.querySelectorAll('figure svg[role=img]'),"
        " (svg) => svg.querySelectorAll('.label').length + ' ' + svg.querySelectorAll('.whole, circle').length)"
    )
    assert labels == ["2 4", "2 3", "2 3", "2 2", "2 2"]
    assert tab.texts("tbody tr:first-child td") == ["6", "7", "", "85.7 %"]
    tab.click("button.string")
    tab.settle()
    assert tab.evaluate("document.querySelector('#search').value") == "so"
    tab.wait_for("document.querySelector('.hit') !== null")
    assert not tab.evaluate("document.querySelector('#tokens').hidden")


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_is_shown_and_nothing_of_it_runs(tab: Page, tmp_path: Path, hostile: str) -> None:
    changes = {"prompt": hostile, "uid": hostile, "tokens": [hostile, " ", "3"], "response": hostile}
    dump = write_dump(tmp_path / "7.jsonl", record(**changes), right(**changes))
    write_heatmap([dump], tmp_path / "page.html", f"page {hostile}")
    tab.open(tmp_path / "page.html")
    tab.wait_for("document.querySelector('#cards .t') !== null")
    shown = printable(hostile).replace("\n", "↵\n")
    assert tab.text("#prompt") == shown
    assert tab.text("#cards .t") == shown
    assert tab.text(".decoded") == shown
    tab.point_at("#cards .t")
    assert tab.text("#tip code") == f"“{shown.replace(chr(10), '')}”"
    title = tab.evaluate("document.title")
    assert title == " ".join(f"page {shown}".replace("\n", "").split())
    tab.search(printable(hostile).replace("\n", "↵"))
    tab.wait_for("document.querySelector('#cards .t.hit') !== null")
    tab.press("Escape", "v")
    assert tab.text("button.string") == shown.replace("\n", "")
    assert tab.evaluate("document.querySelectorAll('script, style, svg:not(figure svg), img').length") == 2
    tab.click("button.string")
    tab.settle()
    assert tab.text("#count") == "1 of 1 group, 2 responses"


def test_five_thousand_responses_stay_small(tab: Page, tmp_path: Path) -> None:
    words = [f"word{number} " for number in range(60)]
    many = {
        "tokens": words,
        "response": "".join(words),
        "token_ids": list(range(60)),
        "mask": [1] * 60,
        "log_probs": [-0.5] * 60,
        "entropies": [0.5] * 60,
        "scores": [float(number % 3) for number in range(60)],
        "weights": [1.0 if number % 3 < 2 else 0.5 for number in range(60)],
    }
    files = [
        write_dump(
            tmp_path / f"{step}.jsonl",
            *(entry for number in range(125) for entry in group(f"{step}x{number}", 4, 8, step=step, **many)),
        )
        for step in range(1, 6)
    ]
    write_heatmap(files, tmp_path / "page.html", "Many")
    tab.open(tmp_path / "page.html")
    assert tab.text("#count") == "625 of 625 groups, 5,000 responses"
    tab.wait_for("document.querySelectorAll('#cards .t').length === 480")
    assert tab.evaluate(ELEMENTS) < 1500
    assert tab.evaluate("document.querySelectorAll('.row').length") < 40
    tab.evaluate("list.scrollTop = list.scrollHeight; null")
    tab.wait_for("document.querySelector('.row:last-child b')?.textContent === '5x124'")
    tab.press(*"j" * 60)
    tab.wait_for("document.querySelector('#where').textContent === 'Step 1 · group 61 of 625'")
    tab.wait_for("document.querySelectorAll('#cards .t').length === 480")
    assert tab.evaluate(ELEMENTS) < 1500
    assert tab.text("[aria-selected=true] b") == "1x60"
    tab.search("5x124")
    assert tab.text("#count") == "1 of 625 groups, 8 responses"


def test_a_long_response_is_drawn_as_far_as_it_is_read(tab: Page, tmp_path: Path) -> None:
    length = 20_000
    long = {
        "tokens": ["a "] * length,
        "response": "a " * length,
        "token_ids": [5] * length,
        "mask": [1] * length,
        "log_probs": [None] * length,
        "entropies": [None] * length,
        "scores": [0.0] * length,
        "weights": [1.0] * length,
    }
    late = [0.0] * 15_000 + [9.0] + [0.0] * 4999
    spared = [1.0] * 15_000 + [0.5] + [1.0] * 4999
    records = [record(**long | {"scores": late, "weights": spared, "response_index": i}) for i in range(2)]
    write_heatmap(
        [write_dump(tmp_path / "1.jsonl", *records, right(**long | {"response_index": 2}))],
        tmp_path / "page.html",
        "Long",
    )
    tab.open(tmp_path / "page.html")
    tab.wait_for("document.querySelectorAll('#cards .t').length > 0")
    assert tab.evaluate(ELEMENTS) < 8000
    assert "more tokens" in tab.text(".answer button")
    drawn = tab.evaluate("document.querySelectorAll('.card:first-child .t').length")
    tab.evaluate("const answer = document.querySelector('.answer'); answer.scrollTop = answer.scrollHeight; null")
    tab.wait_for(f"document.querySelectorAll('.card:first-child .t').length > {drawn}")
    tab.press("s")
    assert "position15,001 of 20,000" in tab.text("#tip")
    assert tab.evaluate("document.querySelectorAll('.card:nth-child(2) .t').length") < 3000


def test_a_narrow_screen(tab: Page, small: Path) -> None:
    tab.resize(420, 800)
    tab.open(small)
    tab.wait_for("document.querySelector('#cards .t') !== null")
    fits = "document.documentElement.scrollWidth <= 420 && document.querySelector('#tokens').scrollWidth <= 420"
    assert tab.evaluate(fits)
    assert tab.evaluate("getComputedStyle(document.querySelector('#finder')).display") == "none"
    tab.click("#find")
    assert tab.evaluate("getComputedStyle(document.querySelector('#finder')).display") == "flex"
    tab.click("#row-2")
    tab.wait_for("document.querySelector('#where').textContent === 'Step 8 · group 3 of 4'")
    assert tab.evaluate("getComputedStyle(document.querySelector('#finder')).display") == "none"
    tab.press("v")
    assert tab.evaluate("document.querySelector('#summary').scrollWidth <= 420")


def test_controls_have_names(tab: Page, small: Path) -> None:
    tab.open(small)
    tree = tab.call("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "combobox", "checkbox", "searchbox", "listbox", "option"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored") and node["role"]["value"] in controls
    ]
    assert {role for role, _ in named} >= controls - {"option"}
    assert [entry for entry in named if not entry[1]] == [], json.dumps(named)

"""The page in headless Chromium at its limits: hostile text, thousands of responses, long ones, narrow screens."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect

from tests.families import failures
from tests.heatmap.browser import IN_CHROMIUM, Tab
from tests.heatmap.records import HOSTILE, correct_record, group, record, write_dump
from verl_nthr.heatmap.page import write_heatmap
from verl_nthr.text import printable

pytestmark = IN_CHROMIUM

ELEMENTS = "document.querySelectorAll('*').length"
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


def check_hostile(tab: Tab, folder: Path, hostile: str) -> None:
    """Assert that a page full of ``hostile`` shows it everywhere as text."""
    changes = {"prompt": hostile, "uid": hostile, "tokens": [hostile, " ", "3"], "response": hostile}
    dump = write_dump(folder / "7.jsonl", record(**changes), correct_record(**changes))
    write_heatmap([dump], folder / "page.html", f"page {hostile}")
    tab.open(folder / "page.html")
    tab.wait_for("#cards .t")
    shown = printable(hostile).replace("\n", "↵\n")
    assert [tab.text(place) for place in ("#prompt", "#cards .t", ".decoded")] == [shown] * 3
    tab.page.hover("#cards .t")
    assert tab.text("#tip code") == f"“{shown.replace(chr(10), '')}”"
    assert tab.page.title() == " ".join(f"page {shown}".replace("\n", "").split())
    tab.search(printable(hostile).replace("\n", "↵"))
    tab.wait_for("#cards .t.hit")
    tab.press("Escape", "v")
    assert tab.text("button.string") == shown.replace("\n", "")
    assert tab.page.locator("script, style, svg:not(figure svg), img").count() == 2
    tab.page.click("button.string")
    tab.settle()
    assert tab.text("#count") == "1 of 1 group, 2 responses"


def test_hostile_text_is_shown_and_nothing_of_it_runs(tab: Tab, tmp_path: Path) -> None:
    assert failures(lambda text: check_hostile(tab, tmp_path, text), HOSTILE, (PlaywrightError,)) == []


def test_five_thousand_responses_stay_small(tab: Tab, tmp_path: Path) -> None:
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
    expect(tab.page.locator("#cards .t")).to_have_count(480)
    assert tab.evaluate(ELEMENTS) < 1500
    assert tab.evaluate("document.querySelectorAll('.row').length") < 40
    tab.evaluate("list.scrollTop = list.scrollHeight; null")
    tab.wait_for(".row:last-child b", "5x124")
    tab.press(*"j" * 60)
    tab.wait_for("#where", "Step 1 · group 61 of 625")
    expect(tab.page.locator("#cards .t")).to_have_count(480)
    assert tab.evaluate(ELEMENTS) < 1500
    assert tab.text("[aria-selected=true] b") == "1x60"
    tab.search("5x124")
    assert tab.text("#count") == "1 of 625 groups, 8 responses"


def test_a_long_response_is_drawn_as_far_as_it_is_read(tab: Tab, tmp_path: Path) -> None:
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
    eased = [1.0] * 15_000 + [0.5] + [1.0] * 4999
    records = [record(**long | {"scores": late, "weights": eased, "response_index": i}) for i in range(2)]
    write_heatmap(
        [write_dump(tmp_path / "1.jsonl", *records, correct_record(**long | {"response_index": 2}))],
        tmp_path / "page.html",
        "Long",
    )
    tab.open(tmp_path / "page.html")
    tab.wait_for("#cards .t")
    assert tab.evaluate(ELEMENTS) < 8000
    assert "more tokens" in tab.text(".text button")
    drawn = tab.evaluate("document.querySelectorAll('.card:first-child .t').length")
    tab.evaluate("const text = document.querySelector('.text'); text.scrollTop = text.scrollHeight; null")
    tab.page.locator(".card:first-child .t").nth(drawn).wait_for(state="attached")
    tab.press("s")
    assert "position15,001 of 20,000" in tab.text("#tip")
    assert tab.evaluate("document.querySelectorAll('.card:nth-child(2) .t').length") < 3000


def test_text_stands_out_in_both_themes(tab: Tab, small: Path) -> None:
    pairs = [("#cards .above", ".card"), ("#cards .below", ".card"), ("#facts", "body"), (".card p", ".card")]
    pairs += [(".wrong h3 b", ".card"), (".correct h3 b", ".card"), (".row em", "#finder")]
    contrasts = {}
    for theme in ("light", "dark"):
        tab.open(small, f"#theme={theme}")
        tab.wait_for("#cards .t")
        for text, background in pairs:
            contrasts[theme, text] = tab.evaluate(f"({CONTRAST})('{text}', '{background}')")
    assert {pair: contrast for pair, contrast in contrasts.items() if contrast < 4.5} == {}


def test_a_narrow_screen(tab: Tab, small: Path) -> None:
    tab.resize(420, 800)
    tab.open(small)
    tab.wait_for("#cards .t")
    fits = "document.documentElement.scrollWidth <= 420 && document.querySelector('#tokens').scrollWidth <= 420"
    assert tab.evaluate(fits)
    assert tab.evaluate("getComputedStyle(document.querySelector('#finder')).display") == "none"
    tab.page.click("#find")
    assert tab.evaluate("getComputedStyle(document.querySelector('#finder')).display") == "flex"
    tab.page.click("#row-2")
    tab.wait_for("#where", "Step 8 · group 3 of 4")
    assert tab.evaluate("getComputedStyle(document.querySelector('#finder')).display") == "none"
    tab.press("v")
    assert tab.evaluate("document.querySelector('#summary').scrollWidth <= 420")


def test_controls_have_names(tab: Tab, small: Path) -> None:
    tab.open(small)
    tree = tab.page.context.new_cdp_session(tab.page).send("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "combobox", "checkbox", "searchbox", "listbox", "option"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored") and node["role"]["value"] in controls
    ]
    assert {role for role, _ in named} >= controls - {"option"}
    assert [entry for entry in named if not entry[1]] == [], json.dumps(named)

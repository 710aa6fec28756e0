"""The page in headless Chromium: what is shown, filters, search, keys, themes, links and the summary."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from playwright.sync_api import expect

from tests.heatmap.browser import IN_CHROMIUM, Tab

pytestmark = IN_CHROMIUM


def where(tab: Tab) -> tuple[str, str]:
    return tab.text("#where"), tab.text("#prompt")


def address(tab: Tab) -> dict[str, str]:
    tab.evaluate("new Promise((done) => setTimeout(done, 300))")
    return {name: values[0] for name, values in parse_qs(tab.evaluate("location.hash.slice(1)")).items()}


def test_groups_cards_and_colours(tab: Tab, small: Path) -> None:
    tab.open(small)
    expect(tab.page.locator("#cards .t")).to_have_count(12)
    assert tab.text("#count") == "4 of 6 groups, 16 responses"
    assert where(tab) == ("Step 7 · group 1 of 4", "What is ash?")
    assert tab.texts("#facts li") == ["2 of 4 correct", "τ = 1", "η = 0.5", "2 of 6 tokens of wrong responses eased"]
    assert tab.texts(".card h3") == ["✗ wrong#2", "✗ wrong#3", "✓ correct#0", "✓ correct#1"]
    assert tab.text(".card p") == "reward 0 advantage −0.751 of 3 tokens eased"
    assert tab.texts(".card:first-child .t") == ["so", " ", "3"]
    classes = tab.evaluate("Array.from(document.querySelectorAll('.card:first-child .t'), (e) => e.className)")
    assert classes == ["t above eased", "t below", "t below"]
    # τ = 1; distances 1.5, 0.5, 4 of both wrong responses: the 95th percentile of six by lower rank is 4
    strengths = tab.evaluate(
        "Array.from(document.querySelectorAll('.card:first-child .t'), (e) => e.style.getPropertyValue('--s'))"
    )
    assert strengths == ["0.375", "0.125", "1.000"]
    colours = tab.evaluate(
        "Array.from(document.querySelectorAll('.card:first-child .t'), (e) => getComputedStyle(e).backgroundColor)"
    )
    assert len(set(colours)) == 3
    assert tab.texts(".card.correct .above, .card.correct .below") == []
    tab.choose("both", True)
    assert len(tab.texts(".card.correct .above, .card.correct .below")) == 6


def test_pointing_and_focus_show_the_numbers(tab: Tab, small: Path) -> None:
    tab.open(small)
    tab.wait_for("#cards .t")
    tab.page.hover(".card:first-child .t")
    numbers = "“so”id11position1 of 3score2.5score − τ1.5weight0.5log-prob−0.25entropy0.125"
    assert tab.text("#tip") == f"{numbers}eased: its penalty is multiplied by 0.5"
    assert not tab.evaluate("document.querySelector('#tip').hidden")
    tab.page.hover("h1")
    assert tab.evaluate("document.querySelector('#tip').hidden")
    tab.press("n", "ArrowRight", "ArrowRight", "ArrowRight")
    assert tab.text("#tip") == "“3”id13position3 of 3score−3score − τ−4weight1log-prob−1.5entropy2"
    tab.press("ArrowLeft")
    assert tab.text("#tip code") == "“ ”"
    tab.press("Escape")
    assert tab.evaluate("document.querySelector('#tip').hidden")


def test_filters(tab: Tab, small: Path) -> None:
    tab.open(small)
    tab.choose("groups", "all")
    assert tab.text("#count") == "6 of 6 groups, 24 responses"
    tab.choose("step", "8")
    assert tab.text("#count") == "3 of 6 groups, 12 responses"
    tab.choose("groups", "wrong")
    assert where(tab) == ("Step 8 · group 1 of 1", "What is cedar?")
    assert "not mixed: NTHR changes nothing here" in tab.texts("#facts li")
    assert tab.evaluate("document.querySelector('#scale').hidden")
    tab.choose("groups", "correct")
    assert tab.text("#count") == "0 of 6 groups, 0 responses"
    assert tab.evaluate("!document.querySelector('#nothing').hidden && document.querySelector('#group').hidden")
    tab.choose("groups", "mixed")
    tab.choose("responses", "correct")
    assert tab.texts(".card h3") == ["✓ correct#0"]
    assert "3 responses hidden by the filters" in tab.texts("#facts li")
    tab.choose("responses", "wrong")
    assert tab.texts(".card h3") == ["✗ wrong#1", "✗ wrong#2", "✗ wrong#3"]
    tab.choose("eased", True)
    assert tab.texts(".card h3") == ["✗ wrong#2", "✗ wrong#3"]
    tab.choose("step", "all")
    tab.choose("order", "hard")
    assert [row.strip() for row in tab.texts(".row b")] == ["ash", "ash", "birch", "birch"]
    assert tab.texts(".row span")[0] == "step 81/4 correct2 eased"


def test_search(tab: Tab, small: Path) -> None:
    tab.open(small)
    tab.search("SO 9")
    assert tab.text("#count") == "1 of 6 groups, 4 responses"
    assert where(tab) == ("Step 8 · group 1 of 1", "What is ash?")
    tab.wait_for("#cards .t.hit")
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


def test_keyboard(tab: Tab, small: Path) -> None:
    tab.open(small)
    tab.press("j")
    tab.wait_for("#prompt", "What is birch?")
    tab.press("j", "j", "j", "j", "k")
    tab.wait_for("#where", "Step 8 · group 3 of 4")
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
    tab.wait_for("#where", "Step 8 · group 1 of 2")
    tab.evaluate("document.querySelector('#list').focus()")
    tab.press("End")
    tab.wait_for("#prompt", "What is birch?")
    assert tab.text("[aria-selected=true] b") == "birch"
    tab.press("ArrowUp")
    tab.wait_for("#prompt", "What is ash?")
    tab.press("?")
    assert tab.evaluate("document.querySelector('#help').open")
    tab.press("Escape")
    assert not tab.evaluate("document.querySelector('#help').open")


def test_themes(tab: Tab, small: Path) -> None:
    tab.open(small)
    background = "getComputedStyle(document.body).backgroundColor"

    def prefer(scheme: str) -> str:
        tab.page.emulate_media(color_scheme=scheme)
        return tab.evaluate(background)

    light, dark = prefer("light"), prefer("dark")
    assert light != dark
    tab.press("t")
    assert (tab.text("#theme"), tab.evaluate(background)) == ("◐ light", light)
    prefer("light")
    tab.page.click("#theme")
    assert (tab.text("#theme"), tab.evaluate(background)) == ("◐ dark", dark)
    assert address(tab)["theme"] == "dark"
    tab.press("t")
    assert tab.evaluate(background) == light


def test_links(tab: Tab, small: Path) -> None:
    tab.open(small, "#groups=all&group=8/cedar&response=2&responses=wrong&theme=dark")
    tab.wait_for(".chosen")
    assert where(tab) == ("Step 8 · group 5 of 5", "What is cedar?")
    assert tab.text(".chosen h3") == "✗ wrong#2"
    kept = {"groups": "all", "group": "8/cedar", "response": "2", "responses": "wrong", "theme": "dark"}
    assert address(tab) == kept
    tab.press("k", "v")
    kept |= {"group": "8/birch", "view": "summary"}
    del kept["response"]
    assert address(tab) == kept
    tab.evaluate("location.hash = 'group=7/birch&step=7'; null")
    tab.wait_for("#where", "Step 7 · group 2 of 2")
    assert not tab.evaluate("document.querySelector('#tokens').hidden")
    tab.open(small, "#group=7/nobody&step=nonsense&theme=pink&view=x&q=")
    assert where(tab)[0] == "Step 7 · group 1 of 4"


def test_summary_view(tab: Tab, small: Path) -> None:
    tab.open(small)
    tab.page.click("#view-summary")
    assert not tab.evaluate("document.querySelector('#summary').hidden")
    assert tab.texts("#summary dd") == ["28.6 %", "6 of 21", "4", "of 6", "24", "2", "7 to 8"]
    labels = tab.evaluate(
        "Array.from(document.querySelectorAll('figure svg[role=img]'),"
        " (svg) => svg.querySelectorAll('.label').length + ' ' + svg.querySelectorAll('.whole, circle').length)"
    )
    assert labels == ["2 4", "2 3", "2 3", "2 2", "2 2"]
    assert tab.texts("tbody tr:first-child td") == ["6", "7", "", "85.7 %"]
    tab.page.click("button.string")
    tab.settle()
    assert tab.evaluate("document.querySelector('#search').value") == "so"
    tab.wait_for(".hit")
    assert not tab.evaluate("document.querySelector('#tokens').hidden")

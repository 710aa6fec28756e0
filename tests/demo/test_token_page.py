"""The page of token scores: nothing in it comes from the text but text, and its numbers are right."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.heatmap.records import record, right, write_dump
from verl_nthr.heatmap.token_dump import DumpError
from verl_nthr.demo.token_page import printable, write_page

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "' autofocus onfocus='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&#0;",
    "<!-- --><style>*{display:none}</style>",
    "\x00\x1b[31m\x07\x7f",
    "\u202egnp.exe\u2066\u200b\ufeff",
]


class Elements(HTMLParser):
    """Every element with its attributes, and the text in elements of class ``t``."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.tokens: list[tuple[dict[str, str | None], str]] = []
        self._token: dict[str, str | None] | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if "data-hint" in dict(attrs):
            self._token = dict(attrs)
            self.tokens.append((self._token, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self._token = None

    def handle_data(self, data: str) -> None:
        if self._token is not None:
            self.tokens[-1] = (self._token, self.tokens[-1][1] + data)


def page_of(tmp_path: Path, *records: dict[str, object], title: str = "title") -> str:
    (tmp_path / "tokens").mkdir(exist_ok=True)
    write_dump(tmp_path / "tokens" / "7.jsonl", *records)
    assert write_page(tmp_path / "tokens", tmp_path / "page.html", title)
    return (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_element_comes_from_the_text(hostile: str, tmp_path: Path) -> None:
    def page(text: str) -> str:
        wrong = record(prompt=text, response=text, tokens=[text, " ", "3"], uid=text)
        return page_of(tmp_path, wrong, right(prompt=text, uid=text), title=text)

    harmless, attacked = Elements(page("harmless")), Elements(page(hostile))
    assert [tag for tag, _ in attacked.found] == [tag for tag, _ in harmless.found]
    assert [set(attributes) for _, attributes in attacked.found] == [set(a) for _, a in harmless.found]
    shown = attacked.tokens[0][1]
    assert shown == printable(hostile)
    assert all(character.isprintable() for character in shown)


def test_printable() -> None:
    assert printable("a b\n\t\x00\x7f") == "a b↵␉␀␡"
    assert printable("\u202ex\u200b") == "⟨U+202E⟩x⟨U+200B⟩"
    assert printable("Ünïcode ≥ 日本 🙂") == "Ünïcode ≥ 日本 🙂"


def test_nothing_is_loaded_and_no_script_runs(tmp_path: Path) -> None:
    page = page_of(tmp_path, record(), right())
    elements = Elements(page)
    assert {tag for tag, _ in elements.found}.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not any(name in ("src", "href") or name.startswith("on") for _, a in elements.found for name in a)
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page


def test_numbers_and_marks(tmp_path: Path) -> None:
    scores = [2.0, 0.5, -3.0, None]
    four = {
        "tokens": ["so", "\n", "3", "x"],
        "token_ids": [11, 12, 13, 14],
        "log_probs": [-0.25, -0.5, -1.5, None],
        "entropies": [None] * 4,
    }
    wrong = record(**four, scores=scores, mask=[1, 1, 1, 0], weights=[0.5, 1.0, 1.0, 1.0])
    page = page_of(tmp_path, wrong, right())
    tokens = Elements(page).tokens
    assert [text for _, text in tokens] == ["so", "↵", "3", "x", "so", " ", "3"]
    classes = [attributes["class"] for attributes, _ in tokens]
    assert classes == ["t above spared", "t below", "t below", "t outside", "t", "t", "t"]
    # τ = 1; distances 1, 0.5, 4; full colour at the 95th percentile of three values by lower rank, which is 1
    assert [attributes["style"] for attributes, _ in tokens] == [
        f"--s:{strength}" for strength in ("1.000", "0.500", "1.000", "0.000", "0.000", "0.000", "0.000")
    ]
    assert tokens[0][0]["data-hint"] == "“so”  id 11  ·  score 2  ·  weight 0.5  ·  log-prob −0.25  ·  spared"
    assert tokens[3][0]["data-hint"] == "“x”  id 14  ·  score –  ·  weight 1  ·  log-prob –  ·  not trained on"
    for fact in (
        "1 of 2 correct",
        "τ = 1<",
        "η = 0.5<",
        "1 of 4 tokens spared",
        "reward 1,",
        "advantage +0.75<",
        "advantage −0.75<",
    ):
        assert fact in page


def test_groups_of_different_success_rates_and_a_step_without_mixed_ones(tmp_path: Path) -> None:
    def group(uid: str, correct: int) -> list[dict[str, object]]:
        return [(right if i < correct else record)(uid=uid, response_index=i, prompt=uid) for i in range(8)]

    groups = [group("one", 1), group("four", 4), group("eight", 8), group("five", 5), group("two", 2), group("six", 6)]
    page = page_of(tmp_path, *(entry for members in groups for entry in members))
    shown = [page.index(f'<p class="prompt">{uid}<') for uid in ("two", "four", "six")]
    assert shown == sorted(shown)
    assert page.count('<p class="prompt">') == 3
    assert "5 of 6 groups have right and wrong answers; shown: 3 of them" in page
    few = page_of(tmp_path, *group("one", 1), *group("eight", 8))
    assert few.count('<p class="prompt">') == 1
    none = page_of(tmp_path, *group("eight", 8))
    assert "0 of 1 groups have right and wrong answers, so there is nothing to colour." in none


def test_first_and_last_step(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    for step in (2, 10, 9):
        write_dump(tmp_path / "tokens" / f"{step}.jsonl", record(step=step), right(step=step))
    assert write_page(tmp_path / "tokens", tmp_path / "page.html", "title")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert [heading in page for heading in ("<h2>Step 2<", "<h2>Step 9<", "<h2>Step 10<")] == [True, False, True]


def test_no_dump_and_a_broken_one(tmp_path: Path) -> None:
    assert not write_page(tmp_path / "tokens", tmp_path / "page.html", "title")
    assert not (tmp_path / "page.html").exists()
    (tmp_path / "1.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DumpError):
        write_page(tmp_path, tmp_path / "page.html", "title")

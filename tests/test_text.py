"""Text of others in terminals, tables, figures and file names: nothing of it acts, and nothing of it is hidden."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.families import failures
from tests.heatmap.records import HOSTILE
from verl_nthr.text import file_name, for_figure, for_markdown, label, on_one_line, print_error, printable, shortened

BIDIRECTIONAL = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
LONG = "x" * 10_000_000
NAMES = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    ".bashrc",
    "a\0b",
    "a/b",
    "a\nb",
    "C:\\x",
    "~",
    "日本" * 99,
    LONG,
]


def test_printable() -> None:
    assert printable("a b\n\t\x00\x7f") == "a b\n␉␀␡"
    assert on_one_line("a\n\n") == "a↵↵"
    assert printable("\u202ex\u200b\ud800\u2028\u00a0") == "⟨U+202E⟩x⟨U+200B⟩⟨U+D800⟩⟨U+2028⟩\u00a0"
    assert printable("Ünïcode ≥ 日本 🙂") == "Ünïcode ≥ 日本 🙂"


def test_every_invisible_character_is_replaced_by_visible_ones() -> None:
    def check(code: int) -> None:
        shown = on_one_line(f"a{chr(code)}b")
        assert shown.isprintable()
        assert shown[0] + shown[-1] == "ab"
        assert len(shown) > 2
        assert f"{code:04X}" in shown or unicodedata.name(shown[1]).startswith(("SYMBOL FOR", "DOWNWARDS ARROW"))

    assert failures(check, [*BIDIRECTIONAL, *CONTROLS, 0x200B, 0x2028, 0x2029, 0xFEFF, 0xD800]) == []


def test_long_text_keeps_both_ends() -> None:
    assert shortened("short") == "short"
    message = shortened(f"begin {LONG} end", 100)
    assert (message[:6], message[-4:]) == ("begin ", " end")
    assert len(message) < 110
    assert label(LONG) == "x" * 59 + "…"


def test_markdown_has_no_markup_of_the_text() -> None:
    markup = set("<>|`*[]_!$\n\r\\")
    assert [text for text in HOSTILE if markup.intersection(for_markdown(text))] == []


def test_markdown_keeps_plain_text() -> None:
    assert for_markdown("AIME24, 40.0 (24.6–57.7) % #1") == "AIME24, 40.0 (24.6–57.7) % #1"
    assert for_markdown("a|b") == "a&#124;b"


def check_figure(text: str) -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    title = axes.set_title(for_figure(text))
    axes.plot([0, 1], label=for_figure(text))
    drawn, is_mathematics = title._preprocess_math(title.get_text())
    assert (drawn.removeprefix(" "), is_mathematics) == (label(text).removeprefix(" "), False)
    assert len(axes.get_legend_handles_labels()[1]) == 1
    axes.legend()
    figure.savefig(io.BytesIO(), format="png")


@pytest.mark.filterwarnings("ignore:Glyph")
def test_figures_draw_the_text_itself() -> None:
    assert failures(check_figure, [*HOSTILE, "_hidden", "$", "$$", r"\$", r"$\frac{1}{"]) == []


def test_a_file_stays_in_its_folder(tmp_path: Path) -> None:
    def check(text: str) -> None:
        path = tmp_path / f"{file_name(text)}.sampled.jsonl.part"
        path.write_text("")
        assert path.resolve().parent == tmp_path.resolve()
        assert (tmp_path / file_name(text)).resolve().parent == tmp_path.resolve()
        assert not path.name.startswith(".")

    assert failures(check, [*NAMES, *HOSTILE]) == []


def test_usual_names_stay() -> None:
    assert [file_name(name) for name in ("aime24", "HuggingFaceH4/MATH-500", "v1.2+x")] == [
        "aime24",
        "HuggingFaceH4_MATH-500",
        "v1.2+x",
    ]


def test_errors_do_not_steer_the_terminal() -> None:
    def check(text: str) -> None:
        terminal = io.StringIO()
        print_error("verl-nthr x", ValueError(text), terminal)
        shown = terminal.getvalue()
        assert shown.startswith("verl-nthr x: ")
        assert shown.replace("\n", "").isprintable()
        assert len(shown) < 21_000

    assert failures(check, [*HOSTILE, LONG]) == []

"""Files appear whole, and links are replaced, not followed."""

from __future__ import annotations

from pathlib import Path

from verl_nthr.files import write_whole


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "reports"
    folder.mkdir()
    for name in ("page.html", "page.html.part"):
        (folder / name).symlink_to(outside)
    write_whole(folder / "page.html", b"page")
    assert outside.read_text() == "mine"
    assert [(path.name, path.is_symlink(), path.read_bytes()) for path in folder.iterdir()] == [
        ("page.html", False, b"page")
    ]


def test_what_a_kill_has_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "page.html.part").write_text("half")
    write_whole(tmp_path / "page.html", b"page")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]

"""Takes the documentation's pictures of a token dump: ``python -m tests.heatmap.screenshots DUMP docs/images``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.heatmap.browser import Tab, chromium
from verl_nthr.heatmap.page import write_heatmap
from verl_nthr.heatmap.token_dump import Group, dumped_steps, read_step

TITLE = "Token scores: nthr on worked additions, seed 0"
DRAWN = "#cards .t"


def example(dump: Path) -> str:
    """The link of the mixed group of the first step that has most eased tokens."""
    step, file = next(iter(dumped_steps(dump).items()))

    def eased(group: Group) -> int:
        return sum(response.eased(i) for response in group.responses for i in range(len(response.tokens)))

    return f"group={step}/{max(read_step(file), key=eased).uid}"


def take(tab: Tab, page: Path, group: str, images: Path) -> None:
    """The group, the numbers of one of its tokens, and the summary in the dark theme."""
    tab.resize(1400, 640)
    tab.open(page, f"#{group}&theme=light")
    tab.wait_for(DRAWN)
    tab.page.screenshot(path=images / "tokens.png")
    tab.resize(1400, 800)
    tab.open(page, f"#{group}&theme=light")
    tab.wait_for(DRAWN)
    tab.press("s", "s")
    tab.page.screenshot(path=images / "heatmap.png")
    tab.open(page, "#view=summary&theme=dark")
    tab.page.screenshot(path=images / "heatmap-summary.png")


def main() -> None:
    """Make the page of the dump and take its pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dump", type=Path, metavar="DUMP", help="token dump of the run")
    parser.add_argument("images", type=Path, metavar="IMAGES", help="folder of the pictures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        write_heatmap(dumped_steps(args.dump).values(), page, TITLE)
        with chromium() as tab:
            take(tab, page, example(args.dump), args.images)


if __name__ == "__main__":
    main()

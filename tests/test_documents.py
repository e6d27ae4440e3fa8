"""The manual: what its pages point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "README.md"]
LINKS = re.compile(r"\]\(([^)#\s]+)(#[\w-]+)?\)|<img src=\"([^\"]+)\"")


def anchor(heading: str) -> str:
    """As forges make it: lower case, hyphens for blanks, and no other signs."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link, place, picture in LINKS.findall(page.read_text()):
        if "://" in link:
            continue
        target = page.parent / (link or picture)
        assert target.exists(), f"{link or picture}"
        if place:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.M)
            assert place[1:] in {anchor(heading) for heading in headings}, f"{link}{place}"

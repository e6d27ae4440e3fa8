"""docs/reference/study_recipe.md against the program: every key, and every default that is a number or a word."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from ncdb_dask.studies import recipe_sections
from ncdb_dask.studies.recipe_keys import KEYS, MANY

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "study_recipe.md").read_text()
SECTIONS = {
    "network": recipe_sections.NetworkRecipe,
    "data": recipe_sections.DataRecipe,
    "evaluation": recipe_sections.EvaluationRecipe,
    "npu": recipe_sections.NpuRecipe,
    "guide": recipe_sections.GuideRecipe,
    "sets": recipe_sections.SetsRecipe,
    "quantizers": recipe_sections.QuantizersRecipe,
}


def documented(section: str) -> dict[str, str]:
    """Key -> default, as the page has them."""
    title = f"`[[{section}]]`" if section in MANY else f"`[{section}]`"
    text = next(one for one in re.split(r"^## ", PAGE, flags=re.M) if one.startswith(title))
    found = {}
    for keys, default in re.findall(r"^\| (`.+?`) \| .+? \| (.+?) \|", text, flags=re.M):
        found |= dict.fromkeys(re.findall(r"`(\w+)`", keys), default)
    return found


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented_and_no_other(section: str) -> None:
    assert set(documented(section)) == set({**KEYS, **MANY}[section])


@pytest.mark.parametrize("section", SECTIONS)
def test_defaults_are_as_documented(section: str) -> None:
    told = documented(section)
    for one in fields(SECTIONS[section]):
        if one.name == "options" or one.default is MISSING:
            continue
        only = one.default[0] if isinstance(one.default, tuple) and len(one.default) == 1 else one.default
        written = told[one.name].strip("`")
        if isinstance(only, bool):
            assert written == str(only).lower(), one.name
        elif isinstance(only, int | float):
            assert float(written) == only, one.name
        elif isinstance(only, str) and only:
            assert written == only, one.name

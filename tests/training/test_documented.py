"""docs/reference/recipe.md against the program: every key, and every default that is a number or a word."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from ncdb_dask.training import recipe_sections
from ncdb_dask.training.recipe_keys import KEYS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "recipe.md").read_text()
SECTIONS = {
    "network": recipe_sections.NetworkRecipe,
    "data": recipe_sections.DataRecipe,
    "loss": recipe_sections.LossRecipe,
    "penalty": recipe_sections.PenaltyRecipe,
    "training": recipe_sections.TrainingRecipe,
    "export": recipe_sections.ExportRecipe,
    "quantization": recipe_sections.QuantizationRecipe,
    "evaluation": recipe_sections.EvaluationRecipe,
}


def documented(section: str) -> dict[str, str]:
    """Key -> default, as the page has them."""
    part = re.split(r"^## ", PAGE, flags=re.M)
    text = next(one for one in part if one.startswith(f"`[{section}]`"))
    found = {}
    for keys, default in re.findall(r"^\| (`.+?`) \| .+? \| (.+?) \|", text, flags=re.M):
        found |= dict.fromkeys(re.findall(r"`(\w+)`", keys), default)
    return found


@pytest.mark.parametrize("section", KEYS)
def test_every_key_is_documented_and_no_other(section: str) -> None:
    assert set(documented(section)) == set(KEYS[section])


@pytest.mark.parametrize("section", KEYS)
def test_defaults_are_as_documented(section: str) -> None:
    told = documented(section)
    for one in fields(SECTIONS[section]):
        name = "lambda" if one.name == "lambdas" else one.name
        default = getattr(SECTIONS[section](), one.name)
        only = default[0] if isinstance(default, tuple) and len(default) == 1 else default
        written = told[name].strip("`")
        if isinstance(only, bool):
            assert written == str(only).lower(), name
        elif isinstance(only, int | float):
            assert float(written) == only, name
        elif isinstance(only, str) and only and not only.startswith("ncdb_dask.") and name != "model_spec":
            assert re.split("[`,]", written)[0] in (only, "required"), name

"""Constraints and answers in words."""

from __future__ import annotations

import re
from typing import Any

import pytest

from spex.evidence.class_additions import add_classes
from spex.evidence.classes import classes
from spex.query.constraints import ANY, Constraints, Distance, IndexCondition
from spex.query.numbers import stated_numbers
from spex.query.reading import LANGUAGES
from spex.query.wording import class_title, constraints_text, with_constraints, wording
from tests.added_classes import remove_added_classes

NDVI = (IndexCondition("NDVI", "above", 0.5), IndexCondition("NDVI", "below", 0.7))
CASES = {
    "at_least": Constraints(min_area=(1, "ha")),
    "at_most": Constraints(max_area=(0.4047, "ha")),
    "range": Constraints(min_area=(2, "ha"), max_area=(5, "ha")),
    "two_units": Constraints(min_area=(2500, "m2"), max_area=(1.5, "km2")),
    "share": Constraints(min_area=(2, "%")),
    "north": Constraints(where=("north",)),
    "parts": Constraints(where=("north_third", "center", "-southeast")),
    "not_east": Constraints(where=("-east",)),
    "top": Constraints(top=3),
    "largest": Constraints(top=1),
    "not_largest": Constraints(top=-1),
    "smallest": Constraints(bottom=1),
    "index": Constraints(index=NDVI),
    "two_indices": Constraints(index=(NDVI[0], IndexCondition("NBR", "below", -0.25))),
    "without": Constraints(exclude=("cropland",)),
    "without_two": Constraints(exclude=("cropland", "water")),
    "near": Constraints(near=(Distance("road", 100),)),
    "far": Constraints(far=(Distance("water", 1500),)),
    "all": Constraints(
        min_area=(1, "ha"),
        where=("north",),
        top=3,
        index=NDVI[:1],
        exclude=("cropland",),
        near=(Distance("building", 50),),
    ),
}
WORDS = {
    "en": {
        "at_least": "of at least 1 ha",
        "at_most": "of at most 0.4047 ha",
        "range": "between 2 and 5 ha",
        "two_units": "between 2,500 m² and 1.5 km²",
        "share": "of at least 2 % of the scene",
        "north": "in the northern half",
        "parts": "in the northern third or in the centre, outside the southeast quarter",
        "not_east": "outside the eastern half",
        "top": "only the 3 largest regions",
        "largest": "only the largest region",
        "not_largest": "all but the largest region",
        "smallest": "only the smallest region",
        "index": "with NDVI above 0.5 and below 0.7",
        "two_indices": "with NDVI above 0.5 and NBR below -0.25",
        "without": "without cropland",
        "without_two": "without cropland or water",
        "near": "within 100 m of roads and paved ground",
        "far": "farther than 1,500 m from water",
        "all": "of at least 1 ha in the northern half, within 50 m of buildings, without cropland, "
        "with NDVI above 0.5, only the 3 largest regions",
    },
    "es": {
        "at_least": "de al menos 1 ha",
        "at_most": "de 0,4047 ha como máximo",
        "range": "de entre 2 y 5 ha",
        "two_units": "de entre 2.500 m² y 1,5 km²",
        "share": "de al menos 2 % de la escena",
        "north": "en la mitad norte",
        "parts": "en el tercio norte o en el centro, fuera del cuadrante sureste",
        "not_east": "fuera de la mitad este",
        "top": "solo las 3 regiones más grandes",
        "largest": "solo la región más grande",
        "not_largest": "todas las regiones menos la más grande",
        "smallest": "solo la región más pequeña",
        "index": "con NDVI mayor que 0,5 y menor que 0,7",
        "two_indices": "con NDVI mayor que 0,5 y NBR menor que -0,25",
        "without": "sin tierras de cultivo",
        "without_two": "sin tierras de cultivo ni agua",
        "near": "a 100 m como máximo de carreteras y suelo pavimentado",
        "far": "a más de 1.500 m de agua",
        "all": "de al menos 1 ha en la mitad norte, a 50 m como máximo de edificios, "
        "sin tierras de cultivo, con NDVI mayor que 0,5, solo las 3 regiones más grandes",
    },
    "pt": {
        "at_least": "com pelo menos 1 ha",
        "at_most": "com no máximo 0,4047 ha",
        "range": "com 2 a 5 ha",
        "two_units": "com 2.500 m² a 1,5 km²",
        "share": "com pelo menos 2 % da cena",
        "north": "na metade norte",
        "parts": "no terço norte ou no centro, fora do quadrante sudeste",
        "not_east": "fora da metade leste",
        "top": "só as 3 maiores regiões",
        "largest": "só a maior região",
        "not_largest": "todas as regiões menos a maior",
        "smallest": "só a menor região",
        "index": "com NDVI acima de 0,5 e abaixo de 0,7",
        "two_indices": "com NDVI acima de 0,5 e NBR abaixo de -0,25",
        "without": "sem lavouras",
        "without_two": "sem lavouras nem água",
        "near": "a no máximo 100 m de vias e superfícies pavimentadas",
        "far": "a mais de 1.500 m de água",
        "all": "com pelo menos 1 ha na metade norte, a no máximo 50 m de edificações, "
        "sem lavouras, com NDVI acima de 0,5, só as 3 maiores regiões",
    },
    "fr": {
        "at_least": "d'au moins 1 ha",
        "at_most": "d'au plus 0,4047 ha",
        "range": "entre 2 et 5 ha",
        "two_units": "entre 2\u202f500 m² et 1,5 km²",
        "share": "d'au moins 2\u202f% de la scène",
        "north": "dans la moitié nord",
        "parts": "dans le tiers nord ou au centre, hors du quart sud-est",
        "not_east": "hors de la moitié est",
        "top": "seulement les 3 plus grandes zones",
        "largest": "seulement la plus grande zone",
        "not_largest": "toutes les zones sauf la plus grande",
        "smallest": "seulement la plus petite zone",
        "index": "avec NDVI supérieur à 0,5 et inférieur à 0,7",
        "two_indices": "avec NDVI supérieur à 0,5 et NBR inférieur à -0,25",
        "without": "sans terres cultivées",
        "without_two": "sans terres cultivées ni eau",
        "near": "à 100 m au plus de routes et sols revêtus",
        "far": "à plus de 1\u202f500 m d'eau",
        "all": "d'au moins 1 ha dans la moitié nord, à 50 m au plus de bâtiments, "
        "sans terres cultivées, avec NDVI supérieur à 0,5, seulement les 3 plus grandes zones",
    },
    "de": {
        "at_least": "von mindestens 1 ha",
        "at_most": "von höchstens 0,4047 ha",
        "range": "von 2 bis 5 ha",
        "two_units": "von 2.500 m² bis 1,5 km²",
        "share": "von mindestens 2 % der Szene",
        "north": "in der nördlichen Hälfte",
        "parts": "im nördlichen Drittel oder in der Mitte, außerhalb des südöstlichen Viertels",
        "not_east": "außerhalb der östlichen Hälfte",
        "top": "nur die 3 größten Flächen",
        "largest": "nur die größte Fläche",
        "not_largest": "alle Flächen außer der größten",
        "smallest": "nur die kleinste Fläche",
        "index": "mit NDVI über 0,5 und unter 0,7",
        "two_indices": "mit NDVI über 0,5 und NBR unter -0,25",
        "without": "ohne Ackerland",
        "without_two": "ohne Ackerland und Wasser",
        "near": "höchstens 100 m von Straßen und befestigten Flächen entfernt",
        "far": "mehr als 1.500 m von Wasser entfernt",
        "all": "von mindestens 1 ha in der nördlichen Hälfte, höchstens 50 m von Gebäuden "
        "entfernt, ohne Ackerland, mit NDVI über 0,5, nur die 3 größten Flächen",
    },
    "zh": {
        "at_least": "面积不小于1公顷",
        "at_most": "面积不大于0.4047公顷",
        "range": "面积在2至5公顷之间",
        "two_units": "面积在2,500平方米至1.5平方公里之间",
        "share": "面积不小于影像的2%",
        "north": "位于北半部",
        "parts": "位于北部三分之一或位于中部，不在东南象限",
        "not_east": "不在东半部",
        "top": "仅最大的3个图斑",
        "largest": "仅最大的图斑",
        "not_largest": "除最大图斑外的全部图斑",
        "smallest": "仅最小的图斑",
        "index": "NDVI高于0.5且低于0.7",
        "two_indices": "NDVI高于0.5且NBR低于-0.25",
        "without": "不含耕地",
        "without_two": "不含耕地和水体",
        "near": "距道路和硬化地面不超过100米",
        "far": "距水体超过1,500米",
        "all": "面积不小于1公顷，位于北半部，距建筑物不超过50米，不含耕地，NDVI高于0.5，"
        "仅最大的3个图斑",
    },
}


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.parametrize("case", CASES)
def test_each_constraint_in_words(language: str, case: str) -> None:
    assert constraints_text(CASES[case], language) == WORDS[language][case]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES)
def test_the_numbers_of_constraints_are_read_back(language: str, case: str) -> None:
    written = stated_numbers(constraints_text(CASES[case], language), language)
    assert sorted(written) == sorted(stated_numbers(constraints_text(CASES[case])))


def _leaves(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for key, item in value.items():
            found |= _leaves(item, f"{path}/{key}")
        return found
    if isinstance(value, list):
        return _leaves(dict(enumerate(value)), path)
    return {path: value}


def _slots(text: str) -> set[str]:
    return set(re.findall(r"\{\w*\}|<fact:[^>]*>", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_all_that_english_says(language: str) -> None:
    """English has some words in the evidence package; words that differ by grammar are optional."""
    own = ("/classes/", "/evidence/", "/requirements/", "/standardised", "/constraints/of/")
    english = _leaves(wording("en"))
    texts = _leaves(wording(language))
    texts = {path: text for path, text in texts.items() if not path.startswith(own)}
    optional = {path for path in english if path.startswith(("/one_unit/", "/constraints/of"))}
    assert english.keys() - optional == texts.keys() - optional
    for path in english.keys() & texts.keys():
        assert _slots(texts[path]) <= _slots(english[path]) | {"{of}"}, path


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_every_class_and_requirement_has_words(language: str) -> None:
    words = wording(language)
    assert words["classes"].keys() == {*classes(), ANY}
    needs = {land_class.needs for land_class in classes().values()}
    assert words["requirements"].keys() == {*needs, "calibrated reflectance"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_added_class_keeps_its_title(language: str) -> None:
    add_classes({"solar_park": {"title": "solar park"}}, "a test")
    try:
        assert class_title("solar_park", language) == "solar park"
        near = Constraints(near=(Distance("solar_park", 5),))
        assert "solar park" in constraints_text(near, language)
    finally:
        remove_added_classes()


def test_a_mask_with_its_constraints() -> None:
    assert with_constraints("lakes", CASES["at_least"]) == "lakes of at least 1 ha"
    assert with_constraints("lakes", CASES["largest"]) == "lakes, only the largest region"
    assert with_constraints("lakes", Constraints()) == "lakes"


def test_titles() -> None:
    assert class_title(ANY) == "all valid pixels"
    assert class_title("road") == "roads and paved ground"

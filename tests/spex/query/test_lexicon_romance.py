"""Phrases of Spanish and Portuguese requests are in the kinds that they belong to."""

from __future__ import annotations

import pytest

from spex.query.lexicon import fold, lexicon

SPANISH = [
    ("mayores de", "at_least"),
    ("más grandes que", "at_least"),
    ("que pasen de", "at_least"),
    ("no menos de", "at_least"),
    ("no inferior a", "at_least"),
    ("que no superen los", "at_most"),
    ("no más de", "at_most"),
    ("que no lleguen a", "at_most"),
    ("por debajo de", "at_most"),
    ("para arriba", "at_least_after"),
    ("como mucho", "at_most_after"),
    ("quitando los pedacitos de menos de", "at_least"),
    ("a menos de", "within"),
    ("a más de", "beyond"),
    ("que no estén a menos de", "beyond"),
    ("que no estén cerca de", "far"),
    ("colindantes con", "near"),
    ("a orillas del", "near"),
    ("kilómetros cuadrados", "unit:km2"),
    ("mts2", "unit:m2"),
    ("por ciento de la imagen", "unit:%"),
    ("tres cuartos de", "number:0.75"),
    ("arriba a la derecha", "northeast"),
    ("esquina", "part_words"),
    ("noroccidental", "northwest"),
    ("todas las clases", "whole_scene"),
    ("sin contar", "not"),
    ("ningún", "not"),
    ("lo mismo para", "same"),
    ("quita el límite de tamaño", "drop"),
    ("no, quise decir", "meant"),
    ("desde 2019", "change"),
    ("qué profundidad", "measure"),
    ("índice de vegetación", "index:NDVI"),
]
PORTUGUESE = [
    ("maiores que", "at_least"),
    ("acima dos", "at_least"),
    ("não menor que", "at_least"),
    ("que não ultrapassem os", "at_most"),
    ("não mais que", "at_most"),
    ("abaixo de", "at_most"),
    ("pra cima", "at_least_after"),
    ("no máximo", "at_most_after"),
    ("retira os menores que", "at_least"),
    ("num raio de", "within"),
    ("a mais de", "beyond"),
    ("que não estejam perto da", "far"),
    ("longe da", "far"),
    ("encostados na", "near"),
    ("à beira do", "near"),
    ("metros quadrados", "unit:m2"),
    ("alqueires paulistas", "unit:alqueire"),
    ("zero vírgula cinco", "number:0.5"),
    ("três quartos de", "number:0.75"),
    ("inferior esquerdo", "southwest"),
    ("terço", "third"),
    ("todas as classes", "whole_scene"),
    ("tirando", "not"),
    ("sem contar", "not"),
    ("o mesmo pra", "same"),
    ("tira o limite de tamanho", "drop"),
    ("quis dizer", "meant"),
    ("desmatamento", "change"),
    ("índice de vegetação", "index:NDVI"),
]


@pytest.mark.parametrize(
    ("language", "phrase", "kind"),
    [("es", *case) for case in SPANISH] + [("pt", *case) for case in PORTUGUESE],
)
def test_phrase_is_of_kind(language: str, phrase: str, kind: str) -> None:
    """The whole phrase is one piece of the kind."""
    folded = fold(phrase).text
    found = [
        (name, str(value))
        for start, end, name, value in lexicon(language).found_in(folded)
        if end - start == len(folded)
    ]
    name, _, value = kind.partition(":")
    assert (name, str(float(value)) if name == "number" else value) in found


@pytest.mark.parametrize(
    ("language", "text", "kind"),
    [
        ("es", "la mayor de todas", "at_least"),
        ("es", "en este mapa", "east"),
        ("es", "los 3 más grandes", "ordinal"),
        ("es", "que se ha quemado", "unit:ha"),
        ("es", "cobertura de nubes", "whole_scene"),
        ("es", "quiero todo el bosque", "any"),
        ("pt", "a maior de todas", "at_least"),
        ("pt", "neste mapa", "east"),
        ("pt", "os 3 maiores", "ordinal"),
        ("pt", "onde há água", "unit:ha"),
        ("pt", "meio hectare", "center"),
        ("pt", "no meio da floresta", "center"),
    ],
)
def test_text_holds_no_such_kind(language: str, text: str, kind: str) -> None:
    """Words that only look alike are not taken."""
    assert kind not in {found[2] for found in lexicon(language).found_in(fold(text).text)}

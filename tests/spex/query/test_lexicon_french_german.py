"""Phrases of French and German requests are in the kinds that they belong to."""

from __future__ import annotations

import pytest

from spex.query.lexicon import fold, lexicon

FRENCH = [
    ("supérieures ou égales à", "at_least"),
    ("plus grands que", "at_least"),
    ("pas moins de", "at_least"),
    ("rien en dessous d'", "at_least"),
    ("supprime tout ce qui fait moins de", "at_least"),
    ("inférieur à", "at_most"),
    ("n'excédant pas", "at_most"),
    ("pas plus de", "at_most"),
    ("enlève tout ce qui dépasse", "at_most"),
    ("et plus", "at_least_after"),
    ("grand maximum", "at_most_after"),
    ("dans un rayon de", "within"),
    ("pas plus loin que", "within"),
    ("à plus de", "beyond"),
    ("mais pas ceux à moins de", "beyond"),
    ("à l'écart des", "far"),
    ("pas à côté des", "far"),
    ("le long de", "near"),
    ("à proximité immédiate de", "near"),
    ("mètres carrés", "unit:m2"),
    ("pour cent", "unit:%"),
    ("zéro virgule cinq", "number:0.5"),
    ("trois quarts d'", "number:0.75"),
    ("en haut à gauche", "northwest"),
    ("bord de l'image", "edge"),
    ("carte d'occupation du sol", "whole_scene"),
    ("à l'exception du", "not"),
    ("n'est pas", "not"),
    ("pareil pour", "same"),
    ("enlève la limite de taille", "drop"),
    ("non, je voulais dire", "meant"),
    ("depuis 2019", "change"),
    ("quelle est la profondeur", "measure"),
    ("indice de végétation", "index:NDVI"),
]
GERMAN = [
    ("größer als", "at_least"),
    ("groesser", "at_least"),
    ("größer sind als", "at_least"),
    ("nicht unter", "at_least"),
    ("ohne die unter", "at_least"),
    ("kleiner sind als", "at_most"),
    ("höchstens", "at_most"),
    ("nicht mehr als", "at_most"),
    ("bis zu", "at_most"),
    ("und mehr", "at_least_after"),
    ("aufwärts", "at_least_after"),
    ("oder weniger", "at_most_after"),
    ("im Umkreis von", "within"),
    ("nicht weiter als", "within"),
    ("nicht näher als", "beyond"),
    ("weiter weg als", "beyond"),
    ("weit entfernt von", "far"),
    ("nicht in der Nähe von", "far"),
    ("nicht allzu weit vom", "near"),
    ("entlang des", "near"),
    ("Quadratmetern", "unit:m2"),
    ("Tagwerk", "unit:arpent"),
    ("anderthalb", "number:1.5"),
    ("fünfundzwanzig", "number:25"),
    ("oben rechts", "northeast"),
    ("Westdrittel", "third"),
    ("westlich der Mitte", "west"),
    ("Landbedeckungskarte", "whole_scene"),
    ("mit Ausnahme von", "not"),
    ("bis auf", "not"),
    ("interessieren mich nicht", "free_after"),
    ("das Gleiche für", "same"),
    ("die Größe ist egal", "drop"),
    ("nein", "meant"),
    ("seit letztem Jahr", "change"),
    ("wie tief ist der", "measure"),
    ("Vegetationsindex", "index:NDVI"),
]


@pytest.mark.parametrize(
    ("language", "phrase", "kind"),
    [("fr", *case) for case in FRENCH] + [("de", *case) for case in GERMAN],
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
        ("fr", "la forêt est dense", "east"),
        ("fr", "où est-ce que la neige est tombée", "east"),
        ("fr", "les prés de plus de 2 ha", "near"),
        ("fr", "où sont les bois", "or"),
        ("fr", "tout le bâti", "any"),
        ("fr", "les 3 plus grands lacs", "both"),
        ("fr", "routes au milieu de la forêt", "center"),
        ("fr", "lacs de 2 ha et plus de 3 km", "at_least_after"),
        ("fr", "sans les nuages", "at_least"),
        ("de", "am oberen Rand", "near"),
        ("de", "alle Felder", "drop"),
        ("de", "alle Felder", "any"),
        ("de", "über 2 ha und kleiner als 7 ha", "at_most_after"),
        ("de", "höchstens 500 m vom Wald entfernt", "far"),
        ("de", "zeig noch die Felder", "not"),
        ("de", "alle Felder unter 2 ha", "at_least"),
        ("de", "in der Nähe der Straße", "northeast"),
    ],
)
def test_text_holds_no_such_kind(language: str, text: str, kind: str) -> None:
    """Words that only look alike are not taken."""
    assert kind not in {found[2] for found in lexicon(language).found_in(fold(text).text)}

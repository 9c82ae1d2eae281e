"""Dialogues: every wording works, answers keep the grammar, follow-ups combine, held-out wordings never train."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from instruction_data.dialogues import Dialogue, dialogue, false_claims, foreign
from instruction_data.dialogues.arguments import CLEAR, DISPLAY, WEAK
from instruction_data.dialogues.phrases import NounPhrase, draw_phrase, nouns, singular
from instruction_data.dialogues.turns import instead, narrowed, opposite, without
from instruction_data.dialogues.typed import slip
from instruction_data.dialogues.words import Options, Words, wording
from instruction_data.review.check import invented_numbers
from spex.evidence.class_words import mentioned_classes, resolve_class
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.model.grammar import numbers_of
from spex.query.answer_markup import parse_answer
from spex.query.constraints import Constraints, IndexCondition
from spex.query.numbers import PLAIN_NUMBER, all_numbers
from spex.query.prompt import MAX_QUERY_CHARS
from spex.raster.scene import Pixels
from spex.sensors import get_sensor

FILES = ("nouns", "constraints", "acts", "followups", "refusals", *foreign.LANGUAGES)
COUNT = 2000


@pytest.fixture(scope="module")
def evidence() -> list[SceneEvidence]:
    """Patchwork scenes of three sensors, calibrated and not."""
    found = []
    for seed, (sensor, level) in enumerate(
        [("sentinel2", "surface"), ("landsat8", "toa"), ("naip", "uncalibrated")]
    ):
        rng, bands = np.random.default_rng(seed), get_sensor(sensor).bands
        values = np.kron(rng.random((len(bands), 8, 8)), np.ones((12, 12))) * 0.4 + rng.normal(
            0, 0.01, (96, 96)
        )
        values = values.clip(0, 1).astype(np.float32)
        found.append(measure(Pixels(values, np.ones((96, 96), bool), bands, level, 10.0)))
    return found


@pytest.fixture(scope="module")
def drawn(evidence: list[SceneEvidence]) -> dict[str, list[Dialogue]]:
    return {
        split: [
            dialogue(np.random.default_rng([seed, i]), evidence[i % 3], split) for i in range(COUNT)
        ]
        for seed, split in enumerate(("train", "val"))
    }


def queries(one: Dialogue) -> str:
    return " ".join(exchange.query for exchange in one.exchanges)


def lists(node: object, path: str = "") -> Iterator[tuple[str, Options]]:
    if isinstance(node, Options):
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from lists(value, f"{path}/{key}")


def test_every_noun_names_its_class() -> None:
    assert set(wording("nouns")) == set(classes())
    english = [
        (name, noun)
        for name, table in wording("nouns").items()
        for noun in (
            *table["mass"].texts,
            *table["many"].texts,
            *map(singular, table["many"].texts),
        )
        if resolve_class(noun) != name
    ]
    assert not english


@pytest.mark.parametrize("language", foreign.LANGUAGES)
def test_every_foreign_noun_phrase_names_its_class(language: str) -> None:
    table = wording(language)
    assert len(table["nouns"]) == 12
    words = Words(np.random.default_rng(0), "train")
    for name in table["nouns"]:
        for options in foreign.nouns(language, name).values():
            for entry in options.texts:
                parts = entry.split("|")
                core = foreign.joined(*parts) if len(parts) == 2 else parts[1]
                if len(parts) == 3:
                    core = foreign.joined(table["plural_article"][parts[2]], parts[1])
                assert resolve_class(core) == name, (name, core)
        for _ in range(40):
            phrase = foreign.draw_phrase(words, language, name, ("R", "N"), 0.9)
            assert name in mentioned_classes(phrase.text), phrase


def test_every_wording_can_be_filled() -> None:
    """Whatever stands in braces is a slot that the code fills or a list of the same file."""
    slots = {
        "np",
        "noun",
        "nouns",
        "one",
        "nps",
        "c",
        "i",
        "x",
        "y",
        "place",
        "a",
        "b",
        "v",
        "n",
        "item",
        "w",
        "s",
        "p",
        "m",
    }
    for file in FILES:
        document = wording(file)
        known = slots | {"bare"} | set(document.get("parts", ())) | set(document)
        for path, options in lists(document, file):
            for text in options.texts:
                assert set(re.findall(r"\{(\w+)\}", text)) <= known, (path, text)
                assert text.count("[") == text.count("]"), (path, text)


def test_a_dialogue_is_a_function_of_its_arguments(evidence: list[SceneEvidence]) -> None:
    first, again = (dialogue(np.random.default_rng(9), evidence[0], "train") for _ in range(2))
    assert first == again
    assert first != dialogue(np.random.default_rng(10), evidence[0], "train")


def test_answers_keep_the_grammar_and_bear_checking(
    drawn: dict[str, list[Dialogue]], evidence: list[SceneEvidence]
) -> None:
    for split in drawn.values():
        for i, one in enumerate(split):
            asked: list[str] = []
            for exchange in one.exchanges:
                answer = parse_answer(exchange.answer)
                asked.append(exchange.query)
                assert not invented_numbers(answer, asked) and not false_claims(
                    exchange.answer, evidence[i % 3]
                ), one
                assert bool(answer.spans) != bool(answer.refusal), one
                assert 0 < len(exchange.query) <= MAX_QUERY_CHARS and len(exchange.answer) < 1100
                assert "{" not in exchange.query + exchange.answer and "[" not in exchange.query, (
                    one
                )
            last = [(s.class_name, s.phrase, s.constraints.to_dict()) for s in answer.spans]
            told = [
                (name, phrase, {key: str(value) for key, value in given.items()})
                for name, phrase, given in last
            ]
            assert told == [(s.class_name, s.phrase, s.attributes) for s in one.spans], one


def test_the_numbers_of_an_answer_stand_in_the_queries(drawn: dict[str, list[Dialogue]]) -> None:
    """Otherwise constrained decoding could not write what training teaches."""
    for one in drawn["train"] + drawn["val"]:
        given = numbers_of(queries(one))
        for span in one.spans:
            limits = " ".join(f"{key}={value}" for key, value in span.attributes.items())
            asked = re.findall(rf"(?<=[=:])(?:-)?({PLAIN_NUMBER})", limits)
            assert set(asked) <= given, (one.exchanges, asked)


def test_mix_of_languages_turns_and_acts(drawn: dict[str, list[Dialogue]]) -> None:
    train = drawn["train"]
    languages, lengths = (
        Counter(d.language for d in train),
        Counter(len(d.exchanges) for d in train),
    )
    assert 0.17 < 1 - languages["en"] / COUNT < 0.23 and set(languages) == {
        "en",
        *foreign.LANGUAGES,
    }
    assert 0.25 < 1 - lengths[1] / COUNT < 0.31 and lengths[3] > 50
    assert {d.template.split(":")[0] for d in train} >= set(wording("acts")["weights"])
    follow = {part.split(":")[0] for d in train for part in d.template.split(" | ")[1:]}
    assert follow >= {f"then {kind}" for kind in wording("followups")["weights"] if kind != "fresh"}


def test_wording_rarely_repeats(drawn: dict[str, list[Dialogue]]) -> None:
    single = [
        d.exchanges[0].query for split in drawn.values() for d in split if len(d.exchanges) == 1
    ]
    assert 1 - len(set(single)) / len(single) < 0.02


def test_held_out_wordings_never_train(drawn: dict[str, list[Dialogue]]) -> None:
    assert not any(one.held_out for one in drawn["train"])
    assert 0.4 < np.mean([one.held_out for one in drawn["val"]]) < 0.6
    for file in FILES:
        for path, options in lists(wording(file), file):
            assert options.texts[0] in options.seen and not set(options.seen) & set(
                options.hidden
            ), path
    frames = {text for _, options in lists(wording("acts")) for text in options.hidden}
    met = [part.split(": ", 1)[1] for one in drawn["val"] for part in one.template.split(" | ")]
    assert len(frames & set(met)) > 20
    assert not frames & {
        part.split(": ", 1)[1] for one in drawn["train"] for part in one.template.split(" | ")
    }


def test_held_out_nouns_never_train_in_any_form() -> None:
    words = Words(np.random.default_rng(0), "train")
    hidden_total = 0
    for name in classes():
        hidden = {singular(text) for options in nouns(name).values() for text in options.hidden}
        hidden_total += len(hidden)
        drawn = {
            singular(words.pick(options)) for options in nouns(name).values() for _ in range(300)
        }
        assert not hidden & drawn, name
    assert hidden_total > 200


def test_about_a_fifth_is_held_out() -> None:
    sizes = [
        (len(o.texts), len(o.hidden))
        for file in FILES
        for _, o in lists(wording(file))
        if len(o.texts) > 3
    ]
    assert 0.12 < sum(hidden for _, hidden in sizes) / sum(count for count, _ in sizes) < 0.25


def test_phrases_are_the_person_s_words_or_the_class_title(
    drawn: dict[str, list[Dialogue]],
) -> None:
    own = 0
    for one in drawn["train"]:
        asked = queries(one).lower()
        for span in one.spans:
            assert resolve_class(span.phrase) == span.class_name
            own += span.phrase.lower() in asked
            assert span.phrase.lower() in asked or span.phrase == classes()[span.class_name].title
    assert own > 1500


def test_what_the_prior_calls_unavailable_is_refused(drawn: dict[str, list[Dialogue]]) -> None:
    seen = 0
    for one in drawn["train"]:
        line = re.search(r"^unavailable: (.*)$", one.prior, re.MULTILINE)
        missing = {name for name in classes() if line and re.search(rf"\b{name} \(", line[1])}
        assert not missing & {span.class_name for span in one.spans}
        seen += "cannot be told here: it needs" in one.exchanges[-1].answer
    assert seen > 20


def test_an_index_is_named_only_with_its_evidence(drawn: dict[str, list[Dialogue]]) -> None:
    for one in drawn["train"]:
        for part, exchange in zip(one.template.split(" | "), one.exchanges, strict=True):
            slots = set(
                re.findall(r"<fact:(?:index|outside|threshold|contrast):(\w+)>", exchange.answer)
            )
            if not part.startswith("index_of"):
                assert all(
                    f"{name} above" in one.prior or f"{name} below" in one.prior for name in slots
                )


def test_explanations_argue_at_different_length(drawn: dict[str, list[Dialogue]]) -> None:
    answers = [
        one.exchanges[0].answer for one in drawn["train"] if one.template.startswith("explain")
    ]
    sentences = Counter(answer.count(". ") for answer in answers)
    assert len(sentences) >= 4
    text = " ".join(answers)
    for said in (
        "<fact:confusion>",
        "<fact:left_out>",
        "<fact:contrast:",
        "<fact:threshold:",
        WEAK,
        CLEAR,
        DISPLAY,
    ):
        assert said in text


def test_a_wrong_claim_is_found(evidence: list[SceneEvidence]) -> None:
    scene = evidence[0]
    clear = next(
        name for name, item in scene.classes.items() if item.status == "present" and not item.weak
    )
    good = f"<seg class={clear}>{classes()[clear].title}</seg>: <fact:area>."

    def found(answer: str) -> str:
        return " ".join(false_claims(answer, scene))

    assert "separates it" in found(f"{good} {WEAK}")
    assert "calibrated" in found(f"{good} {DISPLAY}")
    assert "can be told" in found("<refuse>Water cannot be told here: it needs luck.</refuse>")
    assert "can be told" in found(
        "<refuse>As bandas desta cena não bastam para distinguir: água.</refuse>"
    )
    assert not found(good)


def water(**limits: object) -> tuple[NounPhrase, ...]:
    return (NounPhrase("water", "lakes", "lakes", Constraints(**limits)),)  # type: ignore[arg-type]


def test_follow_ups_combine_with_what_was_asked() -> None:
    north = narrowed(water(min_area=(1.0, "ha")), {"where": "north"})
    assert north[0].constraints == Constraints(min_area=(1.0, "ha"), where="north")
    assert without(north, "wetland")[0].constraints.exclude == ("wetland",)
    two = (*north, NounPhrase("tree_cover", "forest", "forest"))
    assert without(two, "tree_cover") == north
    fields = instead(north, NounPhrase("cropland", "fields", "fields"))
    assert (fields[0].class_name, fields[0].constraints) == ("cropland", north[0].constraints)
    above = narrowed(north, {"index": (IndexCondition("NDVI", "above", 0.2),)})
    assert (
        narrowed(above, {"index": (IndexCondition("NDWI", "below", 0.1),)})[0]
        .attributes["index"]
        .count(":")
        == 4
    )


def test_the_other_way_round_needs_one_way() -> None:
    turned = opposite(water(where="north"))
    assert turned is not None and turned[0].constraints.where == "south"
    small = opposite(water(min_area=(1.0, "ha")))
    assert small is not None and small[0].attributes == {"max_area": "1ha"}
    assert opposite(water()) is None
    assert opposite(water(where="north", min_area=(1.0, "ha"))) is None
    assert opposite(water(where="center")) is None


def test_last_answers_carry_the_constraints_of_earlier_turns(
    drawn: dict[str, list[Dialogue]],
) -> None:
    checked = 0
    for one in drawn["train"]:
        if re.search(r"\| then (where|min_area)", one.template) and len(one.exchanges) == 2:
            before = parse_answer(one.exchanges[0].answer).spans
            for old, new in zip(before, one.spans, strict=True):
                kept = old.constraints.to_dict()
                assert (old.class_name, old.phrase) == (new.class_name, new.phrase)
                assert set(kept) <= set(new.attributes)
                checked += 1
    assert checked > 20


@pytest.mark.parametrize("kind", ["min_area", "max_area", "where", "top", "index", "exclude"])
@pytest.mark.parametrize("short", [False, True])
def test_every_constraint_is_drawn_and_worded(
    kind: str, short: bool, drawn: dict[str, list[Dialogue]]
) -> None:
    wanted = "not" if kind == "exclude" else kind
    assert sum(wanted in span.attributes for one in drawn["train"] for span in one.spans) >= 30
    words = Words(np.random.default_rng(3), "val")
    phrases = [draw_phrase(words, "water", "any", ("G", "N"), 1.0, short=short) for _ in range(300)]
    having = [phrase for phrase in phrases if getattr(phrase.constraints, kind)]
    assert having and all(phrase.text != phrase.noun for phrase in having)


def test_areas_are_written_as_they_are_meant() -> None:
    names = {
        "ha": "ha|hect",
        "m2": "m2|m²|m\\^2|sq|square m",
        "km2": "km2|km²|km\\^2|sq ?km|square k",
        "px": "px|pixel",
    }
    words = Words(np.random.default_rng(4), "train")
    checked = 0
    for _ in range(500):
        phrase = draw_phrase(words, "water", "mass", ("G", "N"), 1.0)
        area = phrase.constraints.min_area
        if area and not phrase.constraints.max_area and not phrase.constraints.index:
            numbers = all_numbers(phrase.text)
            assert re.search(names[area[1]], phrase.text, re.IGNORECASE)
            assert not numbers or float(numbers[0].replace(",", "")) == area[0]
            checked += 1
    assert checked > 80


def test_slips_spare_numbers_and_indices() -> None:
    words = Words(np.random.default_rng(0), "train")
    text = "show the seven largest lakes with NDVI above 0.35"
    slipped = {slip(words, text) for _ in range(200)}
    assert len(slipped) > 60
    assert all("seven" in one and "NDVI" in one and "0.35" in one for one in slipped)


def test_no_foreign_word_is_found_in_english(drawn: dict[str, list[Dialogue]]) -> None:
    """Without slips of the finger, a request names the classes that it was made from and no others."""
    words = Words(np.random.default_rng(5), "train")
    for _ in range(1500):
        name = words.one(list(classes()))
        phrase = draw_phrase(words, name, "any", ("R", "N"), 0.6)
        assert set(mentioned_classes(phrase.text)) <= {name, *phrase.constraints.exclude}, phrase


def test_queries_about_things_that_are_no_land_cover_are_refused(
    drawn: dict[str, list[Dialogue]],
) -> None:
    refused = [one for one in drawn["train"] if " refuse" in f" {one.template.split(':')[0]}"]
    assert 100 < len(refused) < 400
    assert all(one.exchanges[0].answer.startswith("<refuse>") for one in refused)
    assert len({one.exchanges[0].answer for one in refused}) > 20

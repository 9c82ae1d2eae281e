"""Dialogues: all wordings work, answers keep the grammar, held-out wordings never train."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from instruction_data.dialogues.arguments import CLEAR, DISPLAY, WEAK, false_claims
from instruction_data.dialogues.compose import Dialogue, draw_dialogue
from instruction_data.dialogues.foreign import (
    LANGUAGES,
    draw_foreign_phrase,
    foreign_nouns,
    with_article,
)
from instruction_data.dialogues.nouns import class_nouns, singular
from instruction_data.dialogues.phrases import NounPhrase, draw_phrase
from instruction_data.dialogues.turns import (
    add_constraint,
    exclude_class,
    invert_constraint,
    replace_class,
)
from instruction_data.dialogues.typed import add_typing_error
from instruction_data.dialogues.words import Wordings, WordingSampler, load_wording
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

FILES = ("nouns", "constraints", "acts", "followups", "refusals", *LANGUAGES)
COUNT = 2000


@pytest.fixture(scope="module")
def evidence() -> list[SceneEvidence]:
    """Patchwork scenes of three sensors, calibrated and not."""
    scenes = []
    for seed, (sensor, level) in enumerate(
        [("sentinel2", "surface"), ("landsat8", "toa"), ("naip", "uncalibrated")]
    ):
        rng, bands = np.random.default_rng(seed), get_sensor(sensor).bands
        values = np.kron(rng.random((len(bands), 8, 8)), np.ones((12, 12))) * 0.4 + rng.normal(
            0, 0.01, (96, 96)
        )
        values = values.clip(0, 1).astype(np.float32)
        scenes.append(measure(Pixels(values, np.ones((96, 96), bool), bands, level, 10.0)))
    return scenes


@pytest.fixture(scope="module")
def drawn(evidence: list[SceneEvidence]) -> dict[str, list[Dialogue]]:
    return {
        split: [
            draw_dialogue(np.random.default_rng([seed, i]), evidence[i % 3], split)
            for i in range(COUNT)
        ]
        for seed, split in enumerate(("train", "val"))
    }


def queries(dialogue: Dialogue) -> str:
    return " ".join(exchange.query for exchange in dialogue.exchanges)


def lists(node: object, path: str = "") -> Iterator[tuple[str, Wordings]]:
    if isinstance(node, Wordings):
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from lists(value, f"{path}/{key}")


def test_every_noun_names_its_class() -> None:
    assert set(load_wording("nouns")) == set(classes())
    for name, table in load_wording("nouns").items():
        plurals = table["many"].texts
        for noun in (*table["mass"].texts, *plurals, *map(singular, plurals)):
            assert resolve_class(noun) == name, noun


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_foreign_noun_phrase_names_its_class(language: str) -> None:
    table = load_wording(language)
    assert len(table["nouns"]) == 12
    sampler = WordingSampler(np.random.default_rng(0), "train")
    for name in table["nouns"]:
        for options in foreign_nouns(language, name).values():
            for entry in options.texts:
                parts = entry.split("|")
                core = with_article(*parts) if len(parts) == 2 else parts[1]
                if len(parts) == 3:
                    core = with_article(table["plural_article"][parts[2]], parts[1])
                assert resolve_class(core) == name, (name, core)
        for _ in range(40):
            phrase = draw_foreign_phrase(sampler, language, name, ("R", "N"), 0.9)
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
        document = load_wording(file)
        known = slots | {"bare"} | set(document.get("parts", ())) | set(document)
        for path, options in lists(document, file):
            for text in options.texts:
                assert set(re.findall(r"\{(\w+)\}", text)) <= known, (path, text)
                assert text.count("[") == text.count("]"), (path, text)


def test_a_dialogue_is_a_function_of_its_arguments(evidence: list[SceneEvidence]) -> None:
    first, again = (draw_dialogue(np.random.default_rng(9), evidence[0], "train") for _ in range(2))
    assert first == again
    assert first != draw_dialogue(np.random.default_rng(10), evidence[0], "train")


def test_answers_keep_the_grammar_and_claim_nothing_false(
    drawn: dict[str, list[Dialogue]], evidence: list[SceneEvidence]
) -> None:
    for split in drawn.values():
        for i, dialogue in enumerate(split):
            queries_so_far: list[str] = []
            for exchange in dialogue.exchanges:
                answer = parse_answer(exchange.answer)
                queries_so_far.append(exchange.query)
                assert not invented_numbers(answer, queries_so_far), dialogue
                assert not false_claims(exchange.answer, evidence[i % 3]), dialogue
                assert bool(answer.spans) != bool(answer.refusal), dialogue
                assert 0 < len(exchange.query) <= MAX_QUERY_CHARS, dialogue
                assert len(exchange.answer) < 1100, dialogue
                assert "[" not in exchange.query, dialogue
                assert "{" not in exchange.query + exchange.answer, dialogue
            assert len(answer.spans) == len(dialogue.spans), dialogue
            for span, target in zip(answer.spans, dialogue.spans, strict=True):
                constraints = span.constraints.to_dict()
                attributes = {key: str(value) for key, value in constraints.items()}
                assert (span.class_name, span.phrase) == (target.class_name, target.phrase)
                assert attributes == target.attributes, dialogue


def test_the_numbers_of_an_answer_stand_in_the_queries(drawn: dict[str, list[Dialogue]]) -> None:
    """Otherwise constrained decoding could not write what training teaches."""
    for dialogue in drawn["train"] + drawn["val"]:
        query_numbers = numbers_of(queries(dialogue))
        for span in dialogue.spans:
            limits = " ".join(f"{key}={value}" for key, value in span.attributes.items())
            span_numbers = re.findall(rf"(?<=[=:])(?:-)?({PLAIN_NUMBER})", limits)
            assert set(span_numbers) <= query_numbers, (dialogue.exchanges, span_numbers)


def parts(dialogue: Dialogue) -> list[str]:
    """Act and wording of every exchange."""
    return dialogue.template.split(" | ")


def frames(dialogues: list[Dialogue]) -> set[str]:
    """All wordings of the exchanges."""
    return {part.split(": ", 1)[1] for dialogue in dialogues for part in parts(dialogue)}


def test_mix_of_languages_turns_and_acts(drawn: dict[str, list[Dialogue]]) -> None:
    train = drawn["train"]
    languages = Counter(dialogue.language for dialogue in train)
    assert 0.17 < 1 - languages["en"] / COUNT < 0.23
    assert set(languages) == {"en", *LANGUAGES}
    lengths = Counter(len(dialogue.exchanges) for dialogue in train)
    assert 0.25 < 1 - lengths[1] / COUNT < 0.31 and lengths[3] > 50
    acts = {dialogue.template.split(":")[0] for dialogue in train}
    assert acts >= set(load_wording("acts")["weights"])
    follow_ups = {part.split(":")[0] for dialogue in train for part in parts(dialogue)[1:]}
    kinds = set(load_wording("followups")["weights"]) - {"fresh"}
    assert follow_ups >= {f"then {kind}" for kind in kinds}


def test_wording_rarely_repeats(drawn: dict[str, list[Dialogue]]) -> None:
    dialogues = drawn["train"] + drawn["val"]
    single = [queries(dialogue) for dialogue in dialogues if len(dialogue.exchanges) == 1]
    assert 1 - len(set(single)) / len(single) < 0.02


def test_held_out_wordings_never_train(drawn: dict[str, list[Dialogue]]) -> None:
    assert not any(dialogue.held_out for dialogue in drawn["train"])
    assert 0.4 < np.mean([dialogue.held_out for dialogue in drawn["val"]]) < 0.6
    for file in FILES:
        for path, wordings in lists(load_wording(file), file):
            assert wordings.texts[0] in wordings.trained, path
            assert not set(wordings.trained) & set(wordings.held_out), path
    held_out: set[str] = set()
    for _, wordings in lists(load_wording("acts")):
        held_out.update(wordings.held_out)
    assert len(held_out & frames(drawn["val"])) > 20
    assert not held_out & frames(drawn["train"])


def test_held_out_nouns_never_train_in_any_form() -> None:
    sampler = WordingSampler(np.random.default_rng(0), "train")
    held_out_total = 0
    for name in classes():
        held_out: set[str] = set()
        picked: set[str] = set()
        for wordings in class_nouns(name).values():
            held_out.update(map(singular, wordings.held_out))
            picked.update(singular(sampler.pick(wordings)) for _ in range(300))
        assert not held_out & picked, name
        held_out_total += len(held_out)
    assert held_out_total > 200


def test_about_a_fifth_is_held_out() -> None:
    count = 0
    held_out = 0
    for file in FILES:
        for _, wordings in lists(load_wording(file)):
            if len(wordings.texts) > 3:
                count += len(wordings.texts)
                held_out += len(wordings.held_out)
    assert 0.12 < held_out / count < 0.25


def test_phrases_are_the_person_s_words_or_the_class_title(
    drawn: dict[str, list[Dialogue]],
) -> None:
    in_query = 0
    for dialogue in drawn["train"]:
        words = queries(dialogue).lower()
        for span in dialogue.spans:
            assert resolve_class(span.phrase) == span.class_name
            if span.phrase.lower() in words:
                in_query += 1
            else:
                assert span.phrase == classes()[span.class_name].title
    assert in_query > 1500


def test_what_the_evidence_calls_unavailable_is_refused(drawn: dict[str, list[Dialogue]]) -> None:
    refused = 0
    for dialogue in drawn["train"]:
        line = re.search(r"^unavailable: (.*)$", dialogue.evidence_text, re.MULTILINE)
        missing = {name for name in classes() if line and re.search(rf"\b{name} \(", line[1])}
        assert not missing & {span.class_name for span in dialogue.spans}
        refused += "cannot be told here: it needs" in dialogue.exchanges[-1].answer
    assert refused > 20


def test_an_index_is_named_only_with_its_evidence(drawn: dict[str, list[Dialogue]]) -> None:
    index_slot = re.compile(r"<fact:(?:index|outside|threshold|contrast):(\w+)>")
    for dialogue in drawn["train"]:
        for part, exchange in zip(parts(dialogue), dialogue.exchanges, strict=True):
            if part.startswith("index_of"):
                continue
            for index in index_slot.findall(exchange.answer):
                assert re.search(rf"{index} (above|below)", dialogue.evidence_text)


def test_explanations_argue_at_different_length(drawn: dict[str, list[Dialogue]]) -> None:
    answers = [
        dialogue.exchanges[0].answer
        for dialogue in drawn["train"]
        if dialogue.template.startswith("explain")
    ]
    sentences = Counter(answer.count(". ") for answer in answers)
    assert len(sentences) >= 4
    text = " ".join(answers)
    for sentence in (
        "<fact:confusion>",
        "<fact:left_out>",
        "<fact:contrast:",
        "<fact:threshold:",
        WEAK,
        CLEAR,
        DISPLAY,
    ):
        assert sentence in text


def test_a_false_claim_is_reported(evidence: list[SceneEvidence]) -> None:
    scene = evidence[0]
    clear = next(
        name for name, item in scene.classes.items() if item.status == "present" and not item.weak
    )
    true_answer = f"<seg class={clear}>{classes()[clear].title}</seg>: <fact:area>."

    def problems(answer: str) -> str:
        return " ".join(false_claims(answer, scene))

    assert "separates it" in problems(f"{true_answer} {WEAK}")
    assert "calibrated" in problems(f"{true_answer} {DISPLAY}")
    assert "can be mapped" in problems("<refuse>Water cannot be told here: it needs luck.</refuse>")
    assert "can be mapped" in problems(
        "<refuse>As bandas desta cena não bastam para distinguir: água.</refuse>"
    )
    assert not problems(true_answer)


def water(**limits: object) -> tuple[NounPhrase, ...]:
    return (NounPhrase("water", "lakes", "lakes", Constraints(**limits)),)  # type: ignore[arg-type]


def test_follow_ups_combine_with_what_was_asked() -> None:
    north = add_constraint(water(min_area=(1.0, "ha")), {"where": ("north",)})
    assert north[0].constraints == Constraints(min_area=(1.0, "ha"), where=("north",))
    assert exclude_class(north, "wetland")[0].constraints.exclude == ("wetland",)
    two = (*north, NounPhrase("tree_cover", "forest", "forest"))
    assert exclude_class(two, "tree_cover") == north
    fields = replace_class(north, NounPhrase("cropland", "fields", "fields"))
    assert (fields[0].class_name, fields[0].constraints) == ("cropland", north[0].constraints)
    above = add_constraint(north, {"index": (IndexCondition("NDVI", "above", 0.2),)})
    assert (
        add_constraint(above, {"index": (IndexCondition("NDWI", "below", 0.1),)})[0]
        .attributes["index"]
        .count(":")
        == 4
    )


def test_the_other_way_round_needs_one_way() -> None:
    turned = invert_constraint(water(where=("north",)))
    assert turned is not None and turned[0].constraints.where == ("south",)
    small = invert_constraint(water(min_area=(1.0, "ha")))
    assert small is not None and small[0].attributes == {"max_area": "1ha"}
    assert invert_constraint(water()) is None
    assert invert_constraint(water(where=("north",), min_area=(1.0, "ha"))) is None
    assert invert_constraint(water(where=("center",))) is None


def test_last_answers_carry_the_constraints_of_earlier_turns(
    drawn: dict[str, list[Dialogue]],
) -> None:
    checked = 0
    for dialogue in drawn["train"]:
        if (
            re.search(r"\| then (where|min_area)", dialogue.template)
            and len(dialogue.exchanges) == 2
        ):
            before = parse_answer(dialogue.exchanges[0].answer).spans
            for old, new in zip(before, dialogue.spans, strict=True):
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
    assert (
        sum(wanted in span.attributes for dialogue in drawn["train"] for span in dialogue.spans)
        >= 30
    )
    sampler = WordingSampler(np.random.default_rng(3), "val")
    phrases = [
        draw_phrase(sampler, "water", "any", ("G", "N"), 1.0, short=short) for _ in range(300)
    ]
    having = [phrase for phrase in phrases if getattr(phrase.constraints, kind)]
    assert having and all(phrase.text != phrase.noun for phrase in having)


def test_areas_are_written_as_they_are_meant() -> None:
    names = {
        "ha": "ha|hect",
        "m2": "m2|m²|m\\^2|sq|square m",
        "km2": "km2|km²|km\\^2|sq ?km|square k",
        "px": "px|pixel",
    }
    sampler = WordingSampler(np.random.default_rng(4), "train")
    checked = 0
    for _ in range(500):
        phrase = draw_phrase(sampler, "water", "mass", ("G", "N"), 1.0)
        area = phrase.constraints.min_area
        if area and not phrase.constraints.max_area and not phrase.constraints.index:
            numbers = all_numbers(phrase.text)
            assert re.search(names[area[1]], phrase.text, re.IGNORECASE)
            assert not numbers or float(numbers[0].replace(",", "")) == area[0]
            checked += 1
    assert checked > 80


def test_typing_errors_spare_numbers_and_indices() -> None:
    sampler = WordingSampler(np.random.default_rng(0), "train")
    text = "show the seven largest lakes with NDVI above 0.35"
    misspelled = {add_typing_error(sampler, text) for _ in range(200)}
    assert len(misspelled) > 60
    for query in misspelled:
        assert "seven" in query and "NDVI" in query and "0.35" in query


def test_no_foreign_word_is_found_in_english(drawn: dict[str, list[Dialogue]]) -> None:
    """Without typing errors, a request names the classes that it was made from and no others."""
    sampler = WordingSampler(np.random.default_rng(5), "train")
    for _ in range(1500):
        name = sampler.choose(list(classes()))
        phrase = draw_phrase(sampler, name, "any", ("R", "N"), 0.6)
        assert set(mentioned_classes(phrase.text)) <= {name, *phrase.constraints.exclude}, phrase


def test_queries_about_things_that_are_no_land_cover_are_refused(
    drawn: dict[str, list[Dialogue]],
) -> None:
    refused = [
        dialogue
        for dialogue in drawn["train"]
        if " refuse" in f" {dialogue.template.split(':')[0]}"
    ]
    assert 100 < len(refused) < 400
    assert all(dialogue.exchanges[0].answer.startswith("<refuse>") for dialogue in refused)
    assert len({dialogue.exchanges[0].answer for dialogue in refused}) > 20

"""Training of the network that links elements: labels, batches, and the same result in NumPy."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from instruction_data.requests.corpus import REFUSED
from spex.query.linking import Linker
from spex.query.request import linked_pairs, request_of
from train.reading.__main__ import train
from train.reading.examples import Example, joined_examples, mail_examples
from train.reading.expected import Spans
from train.reading.labels import Decision, labels_of
from train.reading.network import collate, compile_example, save_weights

READINGS: dict[str, str | Spans] = {
    "lakes over 2 ha": [("water", frozenset({("min", "m2", 20000.0)}))],
    "forest in the north": [("tree_cover", frozenset({("where", "north")}))],
    "houses within 100 m of water": [("building", frozenset({("near", "water", 100.0)}))],
    "roads without bridges, please": [("road", frozenset())],
    "everything but water": [("any", frozenset({("not", "water")}))],
    "tell me a joke": REFUSED,
}
EXAMPLES = [Example(request_of(text, "en"), reading) for text, reading in READINGS.items()]


def test_labels_name_the_target_its_constraint_and_the_object() -> None:
    example = EXAMPLES[2]
    elements = example.request.elements
    place = {element.value: number for number, element in enumerate(elements)}
    building, water = place["building"], place["water"]
    (relation,) = example.request.numbers_of("relation")
    labels = labels_of(example.request, example.reading)
    assert labels.any_of == [
        [Decision("target", building)],
        [Decision("object", relation, water)],
        [Decision("modifies", relation, building)],
    ]
    assert Decision("target", water) in labels.none_of
    assert Decision("object", relation, building) in labels.none_of
    assert Decision("reversed", relation) in labels.none_of


def test_a_limit_that_is_meant_the_other_way_round_is_reversed() -> None:
    request = request_of("lakes over 2 ha", "en")
    labels = labels_of(request, [("water", frozenset({("max", "m2", 20000.0)}))])
    (limit,) = request.numbers_of("min_area")
    assert [Decision("reversed", limit)] in labels.any_of


def test_joined_requests_ask_for_what_both_ask() -> None:
    for example in joined_examples(EXAMPLES[:3], 20, random.Random(0)):
        assert isinstance(example.reading, list)
        names = [name for name, _ in example.reading]
        mentioned = {element.value for element in example.request.elements}
        assert len(names) == len(set(names)) and set(names) <= mentioned
        for element in example.request.elements[:-1]:
            assert example.request.words_of(element).strip()


def test_sentences_with_names_change_no_reading() -> None:
    for example in mail_examples(EXAMPLES[:2], 10, random.Random(0)):
        assert example.reading in (EXAMPLES[0].reading, EXAMPLES[1].reading)
        assert len(example.request.text) > len("forest in the north")


def test_training_learns_and_numpy_gives_what_torch_gives(tmp_path: Path) -> None:
    network, vocabulary = train(EXAMPLES * 20, epochs=12, minutes=5, seed=0)
    path = tmp_path / "linking.npz"
    save_weights(network, vocabulary, path)
    with np.load(path) as weights:
        linker = Linker(dict(weights))
    for example in EXAMPLES:
        links = linker(example.request)
        batch = collate([compile_example(example, vocabulary)])
        with torch.no_grad():
            intents, scores = network(batch)
        roles = len(example.request.elements) * 3
        assert np.allclose(links.intent, intents.softmax(-1)[0].numpy(), atol=0.02)
        assert np.allclose(links.roles.ravel(), scores[:roles].sigmoid().numpy(), atol=0.02)
        of_pairs = [links.links[pair] for pair in linked_pairs(example.request)]
        if of_pairs:
            expected = scores[roles:].sigmoid().numpy()
            assert np.allclose(np.concatenate(of_pairs), expected, atol=0.02)
    target = linker(EXAMPLES[0].request).roles[0, 0]
    assert EXAMPLES[0].request.elements[0].value == "water" and target > 0.5

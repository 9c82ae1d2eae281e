"""Tiny random language models of every family, made by their own config and tokenizer classes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

from spex.errors import ConfigError, ModelError
from spex.evidence.scene_evidence import measure
from spex.model.config import make_config
from spex.model.grammar import SpanGrammar
from spex.model.language_model import Vocabulary, add_tokens, load_language
from spex.model.loading import load
from spex.model.predictor import ModelPredictor
from spex.model.processor import SpexProcessor
from spex.model.spectral import band_batch
from spex.model.spex import SpexModel
from spex.query.answer_markup import parse_answer
from spex.query.prompt import SPECIAL_TOKENS, Exchange
from spex.raster.scene import Pixels, Scene
from tests.scenes import write_synthetic_scene
from train.run import lora
from train.run.losses import text_loss

TEXTS = [
    "Where is open water larger than 1 ha?",
    "user assistant system It covers this share, in the north.",
    "zonas",
] * 4
ANSWERS = (
    "<seg class=water min_area=1ha where=north>open water</seg> covers <fact:area>.",
    "No clear view: <seg class=burned index=NBR:below:-0.1>zones brûlées</seg>, 湖泊 😀.",
    "<refuse>I only map land cover.</refuse>",
)
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
IM = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
HEADERS = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\n"
    "Today is {{ strftime_now('%d %b %Y') }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def pieces(byte_level: bool, *special: str) -> dict[str, Any]:
    """Vocabulary and merges of a BPE learned from ``TEXTS``, of bytes or with a byte fallback."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=not byte_level))
    alphabet, first = pre_tokenizers.ByteLevel.alphabet(), list(special)
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
        alphabet, first = (
            list("abcdefghijklmnopqrstuvwxyz0123456789.,:"),
            first + [f"<0x{n:02X}>" for n in range(256)],
        )
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=first, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    found = json.loads(tokenizer.to_str())["model"]
    return {"vocab": found["vocab"], "merges": [tuple(pair) for pair in found["merges"]]}


def byte_level_fast(*special: str, **kwargs: Any) -> PreTrainedTokenizerFast:
    """As Llama 3 and SmolLM come: a byte-level ``tokenizer.json`` and the class that reads any."""
    tokenizer = Tokenizer(models.BPE(**pieces(True, *special)))
    split = pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, extra_special_tokens=list(special), **kwargs
    )


def qwen_tokenizer() -> PreTrainedTokenizerBase:
    tokenizer = Qwen2Tokenizer(**pieces(True, "<|endoftext|>"))
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = IM
    return tokenizer


def llama2_tokenizer() -> PreTrainedTokenizerBase:
    tokenizer = LlamaTokenizer(**pieces(False, "<unk>", "<s>", "</s>"))
    tokenizer.chat_template = INST
    return tokenizer


def llama3_tokenizer() -> PreTrainedTokenizerBase:
    special = (
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    )
    names = {"bos_token": special[0], "eos_token": special[1]}
    return byte_level_fast(*special, chat_template=HEADERS, **names)


def smollm_tokenizer() -> PreTrainedTokenizerBase:
    return byte_level_fast(
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", eos_token="<|endoftext|>"
    )  # no template


Made = tuple[Callable[[], PreTrainedTokenizerBase], Callable[..., PreTrainedModel], str]
FAMILIES: dict[str, Made] = {
    "qwen3": (qwen_tokenizer, lambda **fields: Qwen3ForCausalLM(
        Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=True, **fields)
    ), "<|im_end|>"),
    "qwen2.5": (qwen_tokenizer, lambda **fields: Qwen2ForCausalLM(
        Qwen2Config(**SIZES, tie_word_embeddings=False, **fields)
    ), "<|im_end|>"),
    "llama2": (llama2_tokenizer, lambda **fields: LlamaForCausalLM(
        LlamaConfig(**SIZES, **fields)
    ), "</s>"),
    "llama3": (llama3_tokenizer, lambda **fields: LlamaForCausalLM(
        LlamaConfig(**SIZES, **fields)
    ), "<|eot_id|>"),
    "smollm2": (smollm_tokenizer, lambda **fields: LlamaForCausalLM(
        LlamaConfig(**SIZES, tie_word_embeddings=True, **fields)
    ), "<|im_end|>"),
    "smollm3": (smollm_tokenizer, lambda **fields: SmolLM3ForCausalLM(
        SmolLM3Config(**SIZES, pad_token_id=0, **fields)
    ), "<|im_end|>"),
}  # fmt: skip


def saved(family: str, folder: Path) -> Path:
    """A tiny random language model of a family, as its makers' repositories look."""
    make, model, _ = FAMILIES[family]
    torch.manual_seed(0)
    tokenizer = make()
    model(vocab_size=len(tokenizer) + 3).save_pretrained(
        folder
    )  # rows that are no token, as Qwen has
    tokenizer.save_pretrained(folder)
    return folder


def scene(folder: Path) -> Pixels:
    write_synthetic_scene(folder / "scene.tif", height=64, width=64)
    return Scene.open(folder / "scene.tif").overview()


@pytest.fixture(scope="module", params=list(FAMILIES))
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, ModelPredictor]:
    """Family, folder of its language model, and a SPEX model around it."""
    folder = saved(request.param, tmp_path_factory.mktemp(request.param))
    language, tokenizer = load_language(str(folder))
    add_tokens(language, tokenizer)
    model = SpexModel(make_config("micro", tokenizer, language.config), language)
    return (
        request.param,
        folder,
        ModelPredictor(model, SpexProcessor.of(tokenizer, model.config), "tiny", None),
    )


Built = tuple[str, Path, ModelPredictor]


def test_weights_are_kept_and_new_tokens_are_means_of_their_pieces(built: Built) -> None:
    family, folder, predictor = built
    original, tokenizer = load_language(str(folder))
    language, words = predictor.model.language, predictor.processor.tokenizer
    before, after = original.state_dict(), language.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        rows = len(tokenizer) if "embed_tokens" in name or "lm_head" in name else len(value)
        assert torch.equal(after[name][:rows], value[:rows]), name
    ids = torch.arange(12)[None] + 280
    with torch.no_grad():
        one, other = (
            m.eval()(input_ids=ids).logits[..., : len(tokenizer)] for m in (original, language)
        )
    torch.testing.assert_close(one, other)
    token = next(t for t in SPECIAL_TOKENS if t.startswith("<fact:"))
    for layer in (language.get_input_embeddings(), language.get_output_embeddings()):
        read_as = tokenizer(token, add_special_tokens=False)["input_ids"]
        torch.testing.assert_close(
            layer.weight[words.convert_tokens_to_ids(token)], layer.weight[read_as].mean(0)
        )
    assert (
        words.eos_token == FAMILIES[family][2]
        and language.config.eos_token_id == words.eos_token_id
    )
    assert words.pad_token == "<|pad|>"


def test_a_chat_template_of_its_own_is_kept_and_ends_answers_as_it_ends_turns(built: Built) -> None:
    family, folder, predictor = built
    own = load_language(str(folder))[1].chat_template
    ids, _ = predictor.processor.encode(
        "and in the north?", "", ANSWERS[2], [Exchange("open water", ANSWERS[0])]
    )
    text = predictor.processor.tokenizer.decode(ids)
    assert predictor.processor.tokenizer.chat_template.endswith(own or "")
    assert ids[-1] == predictor.processor.tokenizer.eos_token_id
    assert ids.count(predictor.model.config.image_token_id) == 4
    opening = {"llama2": "<s>", "llama3": "<|begin_of_text|>"}.get(family, "<|im_start|>")
    assert text.startswith(opening) and ("<think>" in text) == family.startswith("qwen")
    assert "2026" in text if family == "llama3" else "Today" not in text


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_grammar_lets_every_tokenizer_write_what_it_reads(built: Built, answer: str) -> None:
    processor = built[2].processor
    grammar = SpanGrammar("open water larger than 1 ha, zones brûlées, NBR -0.1")
    written = b""
    for wanted in processor.tokenizer(answer, add_special_tokens=False)["input_ids"]:
        scores = torch.full((len(processor.vocabulary.pieces) + 3,), -1.0)
        scores[-1], scores[wanted] = 2.0, 1.0  # a row that is no token
        assert grammar.choose(written, scores, processor.vocabulary) == wanted, written
        written += processor.vocabulary.piece(wanted)
    assert written.decode().strip() == answer


def test_an_untrained_model_answers_within_the_grammar_and_the_same_after_a_round_trip(
    built: Built, tmp_path: Path
) -> None:
    predictor, pixels = built[2], scene(tmp_path)
    predictor.model.save_pretrained(tmp_path / "model")
    predictor.processor.save_pretrained(str(tmp_path / "model"))
    again, evidence = load(tmp_path / "model"), measure(pixels)
    assert again.processor.vocabulary == predictor.processor.vocabulary
    for query in ("open water larger than 1 ha", "zones brûlées", "标出湖泊"):
        (answer,) = predictor.open(pixels, evidence).propose([(query, ())])
        assert parse_answer(answer.text) == answer and "\ufffd" not in answer.text
        assert again.open(pixels, evidence).propose([(query, ())]) == [answer]


def test_low_rank_pairs_find_the_layers_of_every_family(built: Built) -> None:
    found = {name.rpartition(".")[2] for name in lora.lora_layers(built[2].model.language)}
    assert found == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_pairs_learn_an_answer_and_nothing_else_of_the_language_model_moves(
    built: Built, tmp_path: Path
) -> None:
    model, processor, pixels = copy.deepcopy(built[2].model), built[2].processor, scene(tmp_path)
    lora.inject(model.language, 4)
    ids, start = processor.encode("open water larger than 1 ha", "", ANSWERS[0])
    rows, mask, begin = (
        torch.tensor([ids]),
        torch.ones(1, len(ids), dtype=torch.long),
        torch.tensor([start]),
    )
    weight = (torch.arange(len(ids)) >= start).float()[None]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.AdamW(trained, 1e-2), []
    for _ in range(4):
        values, valid = processor.pixels(pixels)
        context, _ = model.context([values], [valid], band_batch([pixels]))
        out = model(rows, mask, begin, context)
        losses.append(text_loss(out.logits, rows, weight) + out.decoder_weights.square().mean())
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    assert all(
        p.grad is None for name, p in model.language.named_parameters() if "lora" not in name
    )


def test_the_size_for_a_gpu_has_an_encoder_as_large_as_vit_b_and_more_visual_tokens(
    built: Built,
) -> None:
    own = built[2].model.language.config
    with torch.device("meta"):
        model = SpexModel(make_config("qwen", built[2].processor.tokenizer, own))
    assert 80e6 < sum(p.numel() for p in model.encoder.parameters()) < 100e6
    assert SpexProcessor.of(built[2].processor.tokenizer, model.config).visual_tokens == 64


def test_what_cannot_be_loaded_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"language model '.*nothing' cannot be loaded"):
        load_language(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="bits=4 needs"):
        load_language(str(tmp_path), bits=4)


def test_control_tokens_add_nothing_to_an_answer() -> None:
    tokenizer = llama3_tokenizer()
    words = Vocabulary.of(tokenizer)
    assert words.piece(tokenizer.convert_tokens_to_ids("<|begin_of_text|>")) == b""
    assert words.piece(10**6) == b""

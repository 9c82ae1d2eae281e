"""Low-rank pairs change nothing at first, train alone, and merge into plain weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import nn
from transformers import PhiConfig, PhiForCausalLM

from spex.errors import ConfigError
from spex.model.config import make_config
from spex.model.spex import SpexModel
from train.run import lora
from train.stages.tokenizer import train_tokenizer


def spex_model() -> SpexModel:
    torch.manual_seed(0)
    return SpexModel(make_config("micro", train_tokenizer(["open water"] * 3, 700))).eval()


def outputs(model: SpexModel) -> list[torch.Tensor]:
    """What language, convolutions and refiner make of fixed inputs."""
    ids = torch.arange(6)[None] + 40
    fused, evidence = torch.ones(1, 24, 8, 8), torch.ones(1, model.config.evidence_channels, 32, 32)
    with torch.no_grad():
        hidden = model.language(input_ids=ids, use_cache=False).logits
        return [hidden, model.decoder(fused, evidence), model.refiner(torch.ones(1, 2, 32), fused)]


def stir(model: nn.Module) -> None:
    """As if trained."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)


def test_targets_are_linear_layers_and_ungrouped_convolutions() -> None:
    model = spex_model()
    found = lora.lora_layers(model)
    layers = {name: model.get_submodule(name) for name in found}
    assert {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"} <= {
        name.rpartition(".")[2] for name in found if name.startswith("language.")
    }
    assert "decoder.up4.0.0" in found and "encoder.lateral.0" in found
    assert all(layer.groups == 1 for layer in layers.values() if isinstance(layer, nn.Conv2d))
    assert not any(
        "embed_tokens" in name or "lm_head" in name or "attn.out_proj" in name for name in found
    )


def test_pairs_start_as_nothing_train_alone_and_merge_to_the_same_function() -> None:
    model = spex_model()
    names, before = set(model.state_dict()), outputs(model)
    lora.inject(model, 4)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained and all(".lora_" in name for name in trained)
    for a, b in zip(before, outputs(model), strict=True):
        torch.testing.assert_close(a, b)
    stir(model)
    moved, plain = outputs(model), lora.merged_state(model)
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(before, moved, strict=True))
    assert set(plain) == names
    merged = spex_model()
    merged.load_state_dict(plain)
    for a, b in zip(moved, outputs(merged), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_merged_and_unmerged_by_peft_the_model_says_the_same() -> None:
    model = spex_model()
    lora.inject(model, 4)
    stir(model)
    moved, kept = (
        outputs(model),
        {name: value.clone() for name, value in model.state_dict().items()},
    )
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    for layer in layers:
        layer.merge()
    changed = [
        name for name, value in model.state_dict().items() if not torch.equal(value, kept[name])
    ]
    assert len(changed) == len(layers) and all(
        name.endswith("base_layer.weight") for name in changed
    )
    merged = outputs(model)
    for layer in layers:
        layer.unmerge()
    for a, b, c in zip(moved, merged, outputs(model), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(a, c, atol=1e-5, rtol=1e-5)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, kept[name], atol=1e-6, rtol=0)


def test_the_pairs_that_are_read_out_are_the_whole_difference() -> None:
    model, plain = spex_model(), spex_model()
    names = [name for name in lora.lora_layers(model) if name.startswith(("decoder.", "language."))]
    assert lora.inject(model, 2, names) == names
    stir(model)
    found = lora.lora_pairs(model)
    assert list(found) == names
    for name, (a, b, scale) in found.items():
        weight = plain.get_parameter(f"{name}.weight")
        assert a.shape[0] == b.shape[1] == 2
        weight.data += scale * (b @ a).view_as(weight)
    for one, other in zip(outputs(model), outputs(plain), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_checkpoint_of_merged_weights_loads_without_peft(tmp_path: Path) -> None:
    model = spex_model()
    lora.inject(model.language, 2)
    assert model.decoder.out.weight.requires_grad, "only the part is frozen"
    stir(model)
    model.save_pretrained(tmp_path, state_dict=lora.merged_state(model))
    assert not any(
        "lora" in name or "base_layer" in name for name in load_file(tmp_path / "model.safetensors")
    )
    again = SpexModel.from_pretrained(tmp_path).eval()
    for a, b in zip(outputs(model), outputs(again), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no layer 'nose'"):
        lora.inject(spex_model(), 2, ["nose"])
    with pytest.raises(ConfigError, match="has no linear layer"):
        lora.inject(nn.LayerNorm(3), 2)


@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_of_chosen_tokens_are_learned_and_the_others_stay(
    tmp_path: Path, tied: bool
) -> None:
    model = spex_model()
    if not tied:
        model.language.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = (
            False
        )
        model.config.tie_word_embeddings = False
        model.language.lm_head.weight = nn.Parameter(model.language.lm_head.weight.detach().clone())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = outputs(model)
    lora.inject(model.language, 2, tokens=[42, 41])
    for a, b in zip(plain, outputs(model), strict=True):
        torch.testing.assert_close(a, b)
    optimizer = torch.optim.AdamW(
        [p for p in model.language.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1
    )
    model.language(input_ids=torch.arange(6)[None] + 40).logits.square().mean().backward()
    optimizer.step()
    moved = outputs(model)
    assert not torch.allclose(plain[0], moved[0], atol=1e-2)
    state = lora.merged_state(model)
    assert set(state) == set(before)
    for name in ("language.model.embed_tokens.weight", "language.lm_head.weight"):
        assert (state[name] != before[name]).any(1).nonzero().flatten().tolist() == [41, 42]
    assert (
        torch.equal(state["language.model.embed_tokens.weight"], state["language.lm_head.weight"])
        == tied
    )
    model.save_pretrained(tmp_path, state_dict=state)
    for a, b in zip(moved, outputs(SpexModel.from_pretrained(tmp_path).eval()), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_an_output_layer_with_a_bias_keeps_it() -> None:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    model = PhiForCausalLM(PhiConfig(vocab_size=60, **sizes)).eval()
    nn.init.normal_(model.lm_head.bias)
    ids = torch.arange(6)[None] + 40
    before = model(input_ids=ids).logits
    lora.inject(model, 2, tokens=[42, 41])
    torch.testing.assert_close(model(input_ids=ids).logits, before)

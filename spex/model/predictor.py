"""The model behind the engine's door: plan a query once on the overview, decode it on any tile."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import logging as transformers_logging

from spex.errors import ModelError
from spex.evidence.classes import classes
from spex.evidence.maps import evidence_maps
from spex.evidence.scene_evidence import SceneEvidence
from spex.evidence.text import evidence_text
from spex.model.adapter import Adapter, read_adapter
from spex.model.config import FORMAT
from spex.model.generation import GenerationRequest, write
from spex.model.precision import autocast
from spex.model.processor import SpexProcessor
from spex.model.spectral import band_batch
from spex.model.spex import SceneContext, SpexModel
from spex.model.standins import StandIns
from spex.query.answer_markup import Plan, format_span, parse_answer
from spex.query.prompt import IMAGE_TOKEN, Exchange
from spex.raster.scene import Pixels

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "base"
_SCENES_KEPT = 4


class ModelPredictor:
    """A loaded model with its processor.

    Args:
        model: in evaluation mode. prior: whether prior text and evidence maps are given to it (off: an ablation).
        adapter: its masks of the classes that the adapter learned are made with it.
    """

    def __init__(
        self, model: SpexModel, processor: SpexProcessor, name: str, sha256: str | None, prior: bool = True,
        adapter: Adapter | None = None,
    ) -> None:  # fmt: skip
        self.model, self.processor, self.name, self.sha256, self.prior = (
            model.eval(),
            processor,
            name,
            sha256,
            prior,
        )
        self.learned: tuple[str, ...] = ()
        if adapter is not None:
            self.learned, self.adapted = adapter.learned, adapter.applied_to(model, str(sha256))
            self.name = f"{name}+{adapter.name}"
            self.sha256 = hashlib.sha256(f"{sha256}{adapter.sha256}".encode()).hexdigest()
        self.device = model.device
        self._contexts: OrderedDict[int, tuple[SceneEvidence, SceneContext]] = OrderedDict()

    @torch.inference_mode()
    def context(self, overview: Pixels, evidence: SceneEvidence) -> SceneContext:
        """What is computed once per scene; the last few scenes are kept, known by their evidence."""
        key = id(evidence)
        if key not in self._contexts:
            longest = self.model.config.overview_size
            scale = min(1.0, longest / max(overview.valid.shape))
            values, valid = self.processor.pixels(overview)
            if scale < 1:
                size = [max(32, round(n * scale / 32) * 32) for n in overview.valid.shape]
                values = F.interpolate(values[None], size=size, mode="area")[0]
                valid = F.interpolate(valid[None, None].float(), size=size, mode="area")[0, 0] > 0.5
            with autocast(self.device):
                gsd = overview.gsd_m and overview.gsd_m / scale
                bands = band_batch([replace(overview, gsd_m=gsd)]).to(self.device)
                context, _ = self.model.context(
                    [values.to(self.device)], [valid.to(self.device)], bands
                )
            self._contexts[key] = (evidence, context)
            if len(self._contexts) > _SCENES_KEPT:
                self._contexts.popitem(last=False)
        return self._contexts[key][1]

    def plan(
        self,
        query: str,
        overview: Pixels,
        evidence: SceneEvidence,
        history: Sequence[Exchange] = (),
    ) -> Plan:
        """Read the query: generate the answer, condense its spans to decoder weights (the plan's state).

        One row of ``pixel_dim + 2`` weights per span, then one per excluded class. ``history``: the exchanges before.
        """
        return self.plan_all([(query, history)], overview, evidence)[0]

    @torch.inference_mode()
    def plan_all(
        self,
        asked: Sequence[tuple[str, Sequence[Exchange]]],
        overview: Pixels,
        evidence: SceneEvidence,
        prior: str | None = None,
    ) -> list[Plan]:
        """As ``plan``, for several queries with their histories about one scene, in one batch.

        ``prior``: a prior text in place of the evidence's (the oracle arm of an evaluation).
        """
        context = self.context(overview, evidence)
        requests = [self._request(query, evidence, history, prior) for query, history in asked]
        *_, texts = self._write(requests, context)
        return self._plans(requests, texts, context)

    @torch.inference_mode()
    def stream(
        self,
        query: str,
        overview: Pixels,
        evidence: SceneEvidence,
        history: Sequence[Exchange] = (),
    ) -> Generator[str, None, Plan]:
        """As ``plan``, yielding the answer so far, in the model's own markup, with every token."""
        context, request = self.context(overview, evidence), self._request(query, evidence, history)
        text = ""
        for (text,) in self._write([request], context):
            yield text
        return self._plans([request], [text], context)[0]

    def _request(
        self,
        query: str,
        evidence: SceneEvidence,
        history: Sequence[Exchange],
        prior: str | None = None,
    ) -> GenerationRequest:
        if prior is None:
            prior = (
                evidence_text(evidence, (*history, Exchange(query, ""))[0].query)
                if self.prior
                else ""
            )
        return GenerationRequest(query, prior, tuple(evidence.indices), tuple(history))

    def _write(
        self, requests: Sequence[GenerationRequest], context: SceneContext
    ) -> Iterator[list[str]]:
        told = self.model.config.prior_in_answer
        given = [one if told else replace(one, prior="") for one in requests]
        stand_ins = [StandIns.of(one) for one in given]
        asked = [known.asked(one) for known, one in zip(stand_ins, given, strict=True)]
        for texts in write(self.model, self.processor, context.visual, asked):
            yield [known.answered(text) for known, text in zip(stand_ins, texts, strict=True)]

    def _plans(
        self, requests: Sequence[GenerationRequest], texts: Sequence[str], context: SceneContext
    ) -> list[Plan]:
        answers = [parse_answer(text) for text in texts]
        taken = [
            dict.fromkeys(name for span in one.spans for name in span.constraints.exclude)
            for one in answers
        ]
        hidden = [
            " ".join(format_span(name, classes()[name].title) for name in names) for names in taken
        ]
        rows = [*zip(requests, texts, strict=True), *zip(requests, hidden, strict=True)]
        weights = self.weights(rows, context)
        both = zip(answers, weights[: len(answers)], weights[len(answers) :], strict=True)
        return [Plan(answer, torch.cat(parts)) for answer, *parts in both]

    @torch.inference_mode()
    def weights(
        self, rows: Sequence[tuple[GenerationRequest, str]], context: SceneContext
    ) -> list[Tensor]:
        """Decoder weights (S, pixel_dim + 2) of the spans of answers to requests about one scene."""
        found = [torch.zeros(0, self.model.config.pixel_dim + 2, device=self.device)] * len(rows)
        spoken = [number for number, (_, answer) in enumerate(rows) if "</seg>" in answer]
        if not spoken:
            return found
        given = [rows[number] for number in spoken]
        encoded = [
            self.processor.encode(one.query, one.prior, answer, one.history)
            for one, answer in given
        ]
        ids = [torch.tensor(tokens, device=self.device) for tokens, _ in encoded]
        start = torch.tensor([at for _, at in encoded], device=self.device)
        count = (len(given), *[-1] * 3)
        shared = SceneContext(
            context.bands, context.coarse.expand(count), context.visual.expand(count[:3])
        )
        mask = pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
        tokens = pad_sequence(ids, batch_first=True)
        with autocast(self.device):
            out = self.model(tokens, mask, start, shared, logits=False)
            made = out.weights
            own = [
                span.class_name in self.learned
                for _, answer in given
                for span in parse_answer(answer).spans
            ]
            if any(own):
                prompts = self.adapted.prompts(out.hidden, self.model.spans(tokens, start))
                learned = self.adapted.refiner(prompts, shared.coarse[out.owner])
                made = torch.where(torch.tensor(own, device=self.device)[:, None], learned, made)
        for place, number in enumerate(spoken):
            found[number] = made[out.owner == place].float()
        return found

    @torch.inference_mode()
    def features(self, pixels: Pixels, evidence: SceneEvidence) -> NDArray[np.float16]:
        """Pixel features (pixel_dim, h, w) of a tile; ``context`` or ``plan`` must have seen its scene."""
        context = self._contexts[id(evidence)][1]
        maps = evidence_maps(pixels, evidence)
        values, valid = self.processor.pixels(pixels)
        height, width = pixels.valid.shape
        padding = (0, valid.shape[1] - width, 0, valid.shape[0] - height)
        stacked = F.pad(torch.from_numpy(maps if self.prior else np.zeros_like(maps)), padding)[
            None
        ]
        with autocast(self.device):
            gsd = torch.full_like(
                context.bands.gsd, pixels.gsd_m or math.nan
            )  # not that of the decimated overview
            kernels = self.model.encoder.embedding.generate(replace(context.bands, gsd=gsd))
            seen = self.model.encoder([values.to(self.device)], [valid.to(self.device)], kernels)
            found = self.model.features(
                seen.fused, stacked.to(self.device, memory_format=torch.channels_last)
            )
        return found[0, :, :height, :width].to(torch.float16).cpu().contiguous().numpy()

    @torch.inference_mode()
    def decode(
        self, features: NDArray[np.float16], plan: Plan, pixels: Pixels, evidence: SceneEvidence
    ) -> NDArray[np.float32]:
        """Probabilities (spans and excluded classes, h, w); all zero for a class that is nowhere in the scene."""
        weights: Tensor = plan.state
        logits = self.model.masks(
            torch.from_numpy(np.asarray(features)).to(self.device, torch.float32), weights
        )
        present = (weights[:, -1].sigmoid() >= self.model.config.presence_threshold).to(
            logits.dtype
        )
        return (logits.sigmoid() * present[:, None, None]).cpu().numpy()


def load(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    device: str | None = None,
    prior: bool = True,
    adapter: str | os.PathLike[str] | None = None,
) -> ModelPredictor:
    """Load a checkpoint folder, or the ``base`` model that ships with SPEX, with the folder of an adapter.

    Raises:
        ModelError: no such folder, files missing, damaged or of another kind, or an adapter of another model.
        ConfigError: the adapter brings a class that is known already as another one.
    """
    folder = SHIPPED if name_or_path in (None, "base") else Path(str(name_or_path))
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelError(
            f"no SPEX checkpoint at {folder} (model.safetensors is missing); give a folder made by save_pretrained"
        )
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get(
            "format_version", FORMAT
        )
        if found != FORMAT:
            raise ModelError(
                f"it has format {found}, and this version of SPEX reads {FORMAT}; install the one it is of"
            )
        model = SpexModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
        model.to(place)  # type: ignore[arg-type]  # transformers' decorator hides self
        processor = SpexProcessor.from_pretrained(str(folder), model.config)
        _require_tokens(processor, model.config)
    except Exception as error:  # whatever the files' readers raise, the cause is the checkpoint
        raise ModelError(f"the checkpoint {folder} cannot be loaded: {error}") from error
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    learned = None if adapter is None else read_adapter(adapter)
    return ModelPredictor(model, processor, folder.name, digest, prior, learned)


def _require_tokens(processor: SpexProcessor, config: Any) -> None:
    """Refuse a tokenizer that reads images or spans otherwise than the model does."""
    wanted = {
        IMAGE_TOKEN: config.image_token_id,
        "<seg": config.seg_start_id,
        "</seg>": config.seg_end_id,
    }
    known = processor.tokenizer.get_vocab()
    for token, number in wanted.items():
        if known.get(token) != number:
            raise ModelError(
                f"its tokenizer has the special token {token!r} as {known.get(token)}, not {number}; "
                "take the tokenizer files that were saved with the weights"
            )

"""The model as a method of the engine: what it makes of a class in a scene, and its own readings.

The mask of a class comes from one canonical exchange about it: the class's title asked for and
answered. So no wording, language or earlier turn has any influence on a mask.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from spex.evidence.classes import classes
from spex.evidence.maps import evidence_maps
from spex.evidence.scene_evidence import SceneEvidence
from spex.evidence.text import evidence_text
from spex.model.adapter import Adapter
from spex.model.generation import GenerationRequest, write
from spex.model.precision import autocast
from spex.model.processor import SpexProcessor
from spex.model.spectral import band_batch
from spex.model.spex import SceneContext, SpexModel
from spex.model.standins import StandIns
from spex.query.answer_markup import Answer, format_span, parse_answer
from spex.query.prompt import Exchange
from spex.raster.scene import Pixels


class ModelPredictor:
    """A loaded model with its processor; ``open`` a scene to ask it.

    Args:
        model: the weights; set to evaluation mode.
        processor: of the same checkpoint.
        name: written into the results.
        sha256: digest of the weights file; None for a model that has none.
        use_evidence: whether the model is given evidence text and evidence maps (off: an ablation).
        adapter: makes the masks of the classes that it learned.
    """

    def __init__(
        self,
        model: SpexModel,
        processor: SpexProcessor,
        name: str,
        sha256: str | None,
        use_evidence: bool = True,
        adapter: Adapter | None = None,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.name = name
        self.sha256 = sha256
        self.use_evidence = use_evidence
        self.device = model.device
        self.learned: tuple[str, ...] = ()
        if adapter is not None:
            self.learned = adapter.learned
            self.adapted = adapter.applied_to(model, str(sha256))
            self.name = f"{name}+{adapter.name}"
            self.sha256 = hashlib.sha256(f"{sha256}{adapter.sha256}".encode()).hexdigest()

    def open(
        self, overview: Pixels, evidence: SceneEvidence, described: SceneEvidence | None = None
    ) -> ModelScenePredictor:
        """Open a scene for queries; the model sees it when it is first needed.

        Args:
            overview: the whole scene, decimated.
            evidence: measured on the overview.
            described: evidence that the evidence text describes instead (the oracle arm of an
                evaluation).
        """
        return ModelScenePredictor(self, overview, evidence, described or evidence)


class ModelScenePredictor:
    """A model with one scene open: what is computed once per scene, and all that depends on it."""

    def __init__(
        self,
        predictor: ModelPredictor,
        overview: Pixels,
        evidence: SceneEvidence,
        described: SceneEvidence,
    ) -> None:
        self.predictor = predictor
        self.model = predictor.model
        self.processor = predictor.processor
        self.device = predictor.device
        self.overview = overview
        self.evidence = evidence
        self.described = described
        self._class_weights: dict[str, Tensor] = {}

    @cached_property
    @torch.inference_mode()
    def context(self) -> SceneContext:
        """What the model computes once per scene, from the overview."""
        longest_side = self.model.config.overview_size
        height, width = self.overview.valid.shape
        scale = min(1.0, longest_side / max(height, width))
        values, valid = self.processor.pixels(self.overview)
        if scale < 1:
            size = [max(32, round(side * scale / 32) * 32) for side in (height, width)]
            values = F.interpolate(values[None], size=size, mode="area")[0]
            valid = F.interpolate(valid[None, None].float(), size=size, mode="area")[0, 0] > 0.5
        gsd = self.overview.gsd_m and self.overview.gsd_m / scale
        with autocast(self.device):
            bands = band_batch([replace(self.overview, gsd_m=gsd)]).to(self.device)
            context, _ = self.model.context(
                [values.to(self.device)], [valid.to(self.device)], bands
            )
        return context

    def class_weights(self, class_name: str) -> Tensor:
        """Decoder weights (``pixel_dim + 2``) of a class in this scene, from its own exchange.

        Each class is read alone: beside others in a batch the last bits of its weights would
        depend on their lengths.
        """
        if class_name not in self._class_weights:
            title = classes()[class_name].title
            request = self._request(title, ())
            answer = format_span(class_name, title)
            self._class_weights[class_name] = self.decoder_weights([(request, answer)])[0][0]
        return self._class_weights[class_name]

    @torch.inference_mode()
    def propose(self, queries: Sequence[tuple[str, Sequence[Exchange]]]) -> list[Answer]:
        """What the language model reads in queries, as answers in span markup; no mask is made.

        It does not see the scene: zeros stand in the place of the visual tokens. Those that it
        knows only from a short training made it refuse what it reads rightly without them.

        Args:
            queries: as ``clean_query`` returns them, each with the exchanges before it; they are
                read in one batch.

        Raises:
            AnswerError: an answer is not well formed.
        """
        requests = [self._request(query, history) for query, history in queries]
        return [parse_answer(text) for text in self._write(requests)]

    def _request(self, query: str, history: Sequence[Exchange]) -> GenerationRequest:
        first_query = history[0].query if history else query
        text = ""
        if self.predictor.use_evidence:
            text = evidence_text(self.described, first_query)
        return GenerationRequest(query, text, tuple(self.evidence.indices), tuple(history))

    def _write(self, requests: Sequence[GenerationRequest]) -> list[str]:
        """The language model's answers."""
        if not self.model.config.prior_in_answer:
            requests = [replace(request, evidence_text="") for request in requests]
        stand_ins = [StandIns.of(request) for request in requests]
        known_requests = [
            names.replace_added(request) for names, request in zip(stand_ins, requests, strict=True)
        ]
        unseen = torch.zeros_like(self.model.place)[None]
        texts = write(self.model, self.processor, unseen, known_requests)
        return [names.restore(text) for names, text in zip(stand_ins, texts, strict=True)]

    @torch.inference_mode()
    def decoder_weights(self, rows: Sequence[tuple[GenerationRequest, str]]) -> list[Tensor]:
        """Decoder weights of the spans of answers.

        Args:
            rows: requests about this scene, each with its answer, which has a span.

        Returns:
            For each row (S, ``pixel_dim + 2``), S the number of its spans.
        """
        encoded = [
            self.processor.encode(request.query, request.evidence_text, answer, request.history)
            for request, answer in rows
        ]
        ids = [torch.tensor(tokens, device=self.device) for tokens, _ in encoded]
        start = torch.tensor([position for _, position in encoded], device=self.device)
        mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        tokens = pad_sequence(ids, batch_first=True)
        context = self.context.expand(len(rows))
        with autocast(self.device):
            output = self.model(tokens, mask, start, context, logits=False)
            weights = output.decoder_weights
            learned = []
            for _, answer in rows:
                spans = parse_answer(answer).spans
                learned += [span.class_name in self.predictor.learned for span in spans]
            if any(learned):
                adapted = self.predictor.adapted
                prompts = adapted.prompts(output.hidden, output.spans)
                adapted_weights = adapted.refiner(prompts, context.coarse[output.span_owner])
                by_adapter = torch.tensor(learned, device=self.device)[:, None]
                weights = torch.where(by_adapter, adapted_weights, weights)
        return [weights[output.span_owner == row].float() for row in range(len(rows))]

    @torch.inference_mode()
    def features(self, pixels: Pixels) -> NDArray[np.float16]:
        """Pixel features (pixel_dim, h, w) of a tile of the scene."""
        context = self.context
        maps = evidence_maps(pixels, self.evidence)
        if not self.predictor.use_evidence:
            maps = np.zeros_like(maps)
        values, valid = self.processor.pixels(pixels)
        height, width = pixels.valid.shape
        padding = (0, valid.shape[1] - width, 0, valid.shape[0] - height)
        padded_maps = F.pad(torch.from_numpy(maps), padding)[None]
        with autocast(self.device):
            # The tile's own GSD, not that of the decimated overview.
            gsd = torch.full_like(context.bands.gsd, pixels.gsd_m or math.nan)
            kernels = self.model.encoder.embedding.generate(replace(context.bands, gsd=gsd))
            encoded = self.model.encoder([values.to(self.device)], [valid.to(self.device)], kernels)
            features = self.model.features(
                encoded.fused, padded_maps.to(self.device, memory_format=torch.channels_last)
            )
        return features[0, :, :height, :width].to(torch.float16).cpu().contiguous().numpy()

    def decode(
        self, features: NDArray[np.float16], class_names: Sequence[str], pixels: Pixels
    ) -> NDArray[np.float32]:
        """Probabilities (classes, h, w) of a tile.

        They are all zero for a class that is nowhere in the scene.
        """
        return self.probabilities(features, [self.class_weights(name) for name in class_names])

    @torch.inference_mode()
    def probabilities(
        self, features: NDArray[np.float16], weights: Sequence[Tensor]
    ) -> NDArray[np.float32]:
        """Probabilities (masks, h, w) of a tile.

        Args:
            features: of the tile (pixel_dim, h, w).
            weights: decoder weights (``pixel_dim + 2``) of each mask.
        """
        pixel_features = torch.from_numpy(np.asarray(features)).to(self.device, torch.float32)
        maps = []
        for mask_weights in weights:  # one by one: a product of several rows rounds otherwise
            present = mask_weights[-1].sigmoid() >= self.model.config.presence_threshold
            logits = self.model.masks(pixel_features, mask_weights[None])[0]
            maps.append((logits.sigmoid() * present).cpu().numpy())
        return np.stack(maps)

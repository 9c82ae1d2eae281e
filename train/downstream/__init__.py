"""Downstream tasks of the encoder: linear probe, fine-tuning, few-shot curves, baselines."""

"""The training stages: pretrain, masks, language, align, instruct."""

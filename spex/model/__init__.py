"""The vision-language model: spectral encoder, language model, mask decoder."""

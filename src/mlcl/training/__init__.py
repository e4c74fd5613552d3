"""Pre-training: token store, sampler, batches, momentum encoder, trainer, arguments, callbacks."""

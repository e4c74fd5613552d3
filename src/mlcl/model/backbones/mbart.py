"""mBART and mBART-50: the decoder writes the text again from one with spans replaced by masks (arXiv 2001.08210).

sentence-transformers loads the whole model of such a folder, and is told to take the encoder's states.
"""

from mlcl.model.backbones._seq2seq import Seq2Seq

FAMILY = Seq2Seq(
    model_types=("mbart",),
    term="infilling",
    start=lambda config: None,
    library=lambda: {
        "modality_config": {"text": {"method": "forward", "method_output_name": "encoder_last_hidden_state"}},
        "module_output_name": "token_embeddings",
    },
    decoder_keys=True,
)

"""Text: tokenizer training, language-balanced samples, fertility, placeholders."""

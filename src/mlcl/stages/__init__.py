"""One module per verb of the command line, found by its file name: `corpus_build.py` is `mlcl corpus build`.

A stage is a frozen dataclass `Config`, whose field docstrings become `--help`, and

    run(config: Config) -> Path | None

which reads from top to bottom, prints its results on standard output (progress goes to standard error) and returns what
it made. Its module docstring's first line is what `mlcl --help` says of it. `pipelines/` holds stages that compose
others. Metadata of a field may say `{"positional": True}`; a trailing underscore is no part of the flag (`in_` is `--in`).
"""

"""One module per verb of the command line, found by its file name: `corpus_build.py` is `mlcl corpus build`.

A stage is a frozen dataclass `Config`, whose field docstrings become `--help`, and

    run(config: Config) -> Path | None

which reads from top to bottom and returns what it made, if anything; the command line prints that path as its last
line. Results go to standard output, progress to standard error. The first line of the module's docstring is what
`mlcl --help` says of it. `pipelines/` holds stages that compose others. Metadata of a field may say
`{"positional": True}`; a trailing underscore is no part of the flag (`in_` is `--in`).
"""

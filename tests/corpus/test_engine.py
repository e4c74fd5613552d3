"""The engines and restarts of a build: whatever happens on the way, the corpus is the same, bit for bit."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import corpus_digests
from mlcl.core.errors import UserError
from mlcl.corpus import second_pass, units, work
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.clean import CleanSettings
from mlcl.corpus.engine import EngineSettings
from mlcl.corpus.sources import Source
from mlcl.corpus.store import Corpus

digests = corpus_digests.digests


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Translations, raw text by language with duplicates, bad rows, and evaluation texts."""
    root = tmp_path / "data"
    root.mkdir()
    corpus_digests.write_sources(root, 120)
    return root


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the report is most of the time of a small build, and not what is tested here."""
    monkeypatch.setattr("mlcl.corpus.build.write_report", corpus_digests.plain_report)


def settings(**changes: Any) -> BuildSettings:
    return BuildSettings(**(corpus_digests.settings() | changes))


def make(data: Path, out: Path, engine: EngineSettings | None = None, **changes: Any) -> Corpus:
    return build(settings(**changes), data, out, show_progress=False, engine_settings=engine)


def left_behind(out: Path) -> list[str]:
    return [path.name for path in out.parent.iterdir() if path.name not in ("data", out.name, "one")]


@pytest.mark.parametrize(("workers", "texts_per_unit"), [(1, 7), (2, 40)])
def test_units_and_processes_change_no_byte(data: Path, tmp_path: Path, workers: int, texts_per_unit: int) -> None:
    make(data, tmp_path / "one")
    make(data, tmp_path / "two", EngineSettings("local", workers, texts_per_unit))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert left_behind(tmp_path / "two") == []


def test_a_source_is_cut_into_its_files_but_not_where_a_limit_counts_over_them(data: Path) -> None:
    from mlcl.corpus.sources import split

    source = Source("text", ".", options={"pattern": "mono.{language}.txt"})
    [parts] = split([source], data)
    assert [part.source.options["languages"] for part in parts] == [["de"], ["en"]]
    limited = Source("text", ".", limit=3, options={"pattern": "mono.{language}.txt"})
    [[part]] = split([limited], data)
    assert {file.name for file in part.files} == {"mono.de.txt", "mono.en.txt"}
    (data / "mono.deu.txt").write_text("Noch einer\n")  # the same language: their order must stay
    [[part]] = split([source], data)
    assert part.source == source


class Stopped(Exception):
    """What kills a build in these tests."""


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], None]:
    """Let cleaning raise after some units."""

    def prepare(count: int, error: BaseException) -> None:
        made = 0
        clean = units.clean_unit

        def counted(*arguments: Any) -> units.Done:
            nonlocal made
            if made == count:
                raise error
            made += 1
            return clean(*arguments)

        monkeypatch.setattr("mlcl.corpus.engine_local.clean_unit", counted)

    return prepare


@pytest.mark.parametrize("error", [Stopped(), KeyboardInterrupt()])
def test_a_stopped_build_goes_on_where_it_stopped(
    data: Path, tmp_path: Path, stop_after: Callable[..., None], error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EngineSettings(texts_per_unit=10)
    make(data, tmp_path / "one")
    stop_after(9, error)
    with pytest.raises(type(error)):
        make(data, tmp_path / "two", engine)
    assert not (tmp_path / "two").exists()
    assert len(list((tmp_path / ".two.build").glob("units/*/*.arrow"))) == 9

    again: list[tuple[int, int]] = []

    def clean(unit: units.Unit, *rest: Any) -> units.Done:
        again.append((unit.part, unit.number))
        return units.clean_unit(unit, *rest)

    monkeypatch.setattr("mlcl.corpus.engine_local.clean_unit", clean)
    make(data, tmp_path / "two", engine)
    assert again[0] == (0, 9)  # the units before are not made again
    assert len(again) > 9
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert left_behind(tmp_path / "two") == []


def test_ctrl_c_says_how_to_go_on(
    data: Path, tmp_path: Path, stop_after: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after(2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        make(data, tmp_path / "two", EngineSettings(texts_per_unit=10))
    said = " ".join(capsys.readouterr().err.split())
    assert "repeat the same command to go on from there" in said


@pytest.mark.parametrize("change", ["file", "settings", "evaluation"])
def test_work_on_other_inputs_is_not_used(
    data: Path, tmp_path: Path, stop_after: Callable[..., None], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(9, Stopped())
    with pytest.raises(Stopped):
        make(data, tmp_path / "two", EngineSettings(texts_per_unit=10))
    monkeypatch.setattr("mlcl.corpus.engine_local.clean_unit", units.clean_unit)
    changes: dict[str, Any] = {}
    if change == "file":
        (data / "a.en").write_text((data / "a.en").read_text().replace("sentence", "phrase"))
    elif change == "settings":
        changes["clean"] = CleanSettings(min_length=14)
    else:
        (data / "eval.txt").write_text("Der Satz 17 steht hier\n")
    make(data, tmp_path / "one", **changes)
    make(data, tmp_path / "two", EngineSettings(texts_per_unit=10), **changes)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on(data: Path, tmp_path: Path, repo_root: Path, workers: int) -> None:
    """A real SIGKILL in the middle of the first pass; a process pool ends with its parent."""
    corpus_digests.write_sources(data, 600)
    make(data, tmp_path / "one", rows_per_shard=1000)
    command = [sys.executable, str(repo_root / "tests/corpus_digests.py"), str(data), str(tmp_path / "two")]
    environment = {**os.environ, "PYTHONPATH": str(repo_root / "src")}
    process = subprocess.Popen([*command, str(workers), "1000", "0"], env=environment, stderr=subprocess.DEVNULL)
    folder = tmp_path / ".two.build"
    deadline = time.monotonic() + 60
    while len(list(folder.glob("units/*/*.arrow"))) < 8 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, "the build was over before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "two").exists()
    for sign in folder.glob("workers/*"):
        pid = int(sign.name.rpartition("-")[2])
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline, "a worker outlived its parent"
            time.sleep(0.05)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("units/*/*.arrow")}
    assert before
    subprocess.run([*command, "1", "1000", "0"], env=environment, check=True, stderr=subprocess.DEVNULL)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert left_behind(tmp_path / "two") == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_build_killed_in_the_second_pass_goes_on_at_its_shard(data: Path, tmp_path: Path, repo_root: Path) -> None:
    """A real SIGKILL while the sixth shard is written; one of the five before it is damaged in the meantime."""
    make(data, tmp_path / "one")
    command = [sys.executable, str(repo_root / "tests/corpus_digests.py"), str(data), str(tmp_path / "two"), "1", "100"]
    environment = {**os.environ, "PYTHONPATH": str(repo_root / "src")}
    killed = subprocess.run([*command, "5"], env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "two").exists()
    [made] = (tmp_path / ".two.build/selection").glob("*/corpus")
    shards = sorted(made.glob("*/[0-9]*.parquet"))
    assert len(shards) == 5
    assert len(list(made.rglob(".partial*"))) == 1
    damaged, *whole = shards
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    before = {path.relative_to(made): path.stat().st_mtime_ns for path in whole}

    goes_on = subprocess.run([*command, "0"], env=environment, capture_output=True, text=True)
    assert goes_on.returncode == 0
    said = " ".join(goes_on.stderr.split())
    assert "what stays was decided by an earlier build" in said
    assert f"going on with 4 of {len(list((tmp_path / 'two').glob('*/*.parquet')))} shards" in said
    assert {path: (tmp_path / "two" / path).stat().st_mtime_ns for path in before} == before
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert left_behind(tmp_path / "two") == []


@pytest.mark.parametrize("changes", [{"rows_per_shard": 70}, {"near_duplicates": 0.8}, {}])
def test_a_selection_is_used_for_the_same_settings_only(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    if "near_duplicates" in changes:
        pytest.importorskip("rensa")
    write = second_pass.write_shard

    def first_alone(task: second_pass.Task, plan: second_pass.Plan) -> int:
        if (task.kind, task.number) != ("pairs", 0):
            raise Stopped
        return write(task, plan)

    monkeypatch.setattr(second_pass, "write_shard", first_alone)
    with pytest.raises(Stopped):
        make(data, tmp_path / "two")
    written: list[second_pass.Task] = []

    def noted(task: second_pass.Task, plan: second_pass.Plan) -> int:
        written.append(task)
        return write(task, plan)

    monkeypatch.setattr(second_pass, "write_shard", noted)
    make(data, tmp_path / "two", **changes)
    assert (written[0].kind, written[0].number) == (("pairs", 0) if changes else ("pairs", 1))
    make(data, tmp_path / "one", **changes)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_two_builds_into_one_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / ".two.build").mkdir()
    (tmp_path / ".two.build/owner.json").write_text(json.dumps({"pid": 123, "host": "elsewhere"}))
    with FileLock(tmp_path / ".two.build/lock"):
        with pytest.raises(UserError, match="another build into this folder is running: process 123 on elsewhere"):
            make(data, tmp_path / "two")
        assert (tmp_path / ".two.build/owner.json").exists()
    make(data, tmp_path / "two")  # a lock file without its process stops nobody
    assert left_behind(tmp_path / "two") == []


def test_a_full_disk_is_one_line_and_loses_nothing(
    data: Path, tmp_path: Path, stop_after: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(data, tmp_path / "one")
    stop_after(5, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(UserError, match="no space is left on the disk; 5 finished units are kept") as error:
        make(data, tmp_path / "two", EngineSettings(texts_per_unit=10))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "two").exists()
    monkeypatch.setattr("mlcl.corpus.engine_local.clean_unit", units.clean_unit)
    make(data, tmp_path / "two", EngineSettings(texts_per_unit=10))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_mistake_found_late_keeps_much_work(
    data: Path, tmp_path: Path, stop_after: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_WORTH_KEEPING", 1)
    (data / "b.en").write_text("only one line\n")
    with pytest.raises(UserError, match="line n must be the same sentence"):
        make(data, tmp_path / "two", EngineSettings(texts_per_unit=10))
    kept = len(list((tmp_path / ".two.build").glob("units/*/*.arrow")))
    assert kept > 3
    corpus_digests.write_sources(data, 120)
    with pytest.raises(UserError, match="needs two languages"):
        make(data, tmp_path / "two", EngineSettings(texts_per_unit=10), sources=[Source("moses", "nowhere")])


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"texts_per_unit": 0}])
def test_engine_settings_that_cannot_work(data: Path, tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))}=0"):
        make(data, tmp_path / "two", EngineSettings(**wrong))
    assert left_behind(tmp_path / "two") == []


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no file size limit on this system")
def test_a_file_that_cannot_grow_is_one_line(data: Path, tmp_path: Path, repo_root: Path) -> None:
    """The limit of a real system call stands for a full disk: the error comes from the writers themselves."""
    import resource

    command = [sys.executable, str(repo_root / "tests/corpus_digests.py"), str(data), str(tmp_path / "two")]
    command += ["1", "1000", "0"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(repo_root / "src")},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert "UserError" in done.stderr.strip().split("\n")[-1]
    assert "no space is left on the disk" in done.stderr.strip().split("\n")[-1]
    assert not (tmp_path / "two").exists()

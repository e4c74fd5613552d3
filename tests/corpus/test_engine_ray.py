"""A real Ray cluster on this machine, with two workers, one of which is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

import corpus_digests
from mlcl.core.errors import UserError
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.engine import EngineSettings

ray = pytest.importorskip("ray", reason="the extra ray is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # warnings of Ray about itself


@pytest.fixture(scope="module")
def cluster():
    """Two workers; the builds join it."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_a_killed_worker_loses_nothing(cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlcl.corpus.build.write_report", corpus_digests.plain_report)
    data = tmp_path / "data"
    data.mkdir()
    corpus_digests.write_sources(data, 2000)
    settings = BuildSettings(**corpus_digests.settings() | {"rows_per_shard": 2000})
    build(settings, data, tmp_path / "one", show_progress=False)

    folder, killed = tmp_path / ".two.build", []

    def kill() -> None:
        """SIGKILL one of the processes that left their sign in the work folder, as soon as there are some units."""
        while not killed:
            signs = sorted(folder.glob("workers/*"))
            if signs and len(list(folder.glob("units/*/*.arrow"))) >= 4:  # on a busy machine, one may make them all
                pid = int(signs[-1].name.rpartition("-")[2])
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.01)

    threading.Thread(target=kill, daemon=True).start()
    engine = EngineSettings("ray", 2, texts_per_unit=100)
    build(settings, data, tmp_path / "two", show_progress=False, engine_settings=engine)
    assert killed, "the build was over before a worker could be killed"
    assert corpus_digests.digests(tmp_path / "one") == corpus_digests.digests(tmp_path / "two")
    assert not folder.exists()


def test_a_mistake_on_the_cluster_is_one_line(cluster, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    corpus_digests.write_sources(data, 20)
    (data / "b.en").write_text("only one line\n")
    settings = BuildSettings(**corpus_digests.settings())
    with pytest.raises(UserError, match="line n must be the same sentence") as error:
        build(settings, data, tmp_path / "two", show_progress=False, engine_settings=EngineSettings("ray", 2))
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]

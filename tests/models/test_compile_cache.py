"""What one engine compiled and another starts with."""

from pathlib import Path

import pytest

from toolkit.models import compile_cache
from toolkit.models.compile_cache import CompileCache


@pytest.fixture(autouse=True)
def node(tmp_path, monkeypatch):
    """A node's own disk."""
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path))
    return tmp_path


def own(folder, text="graph"):
    (folder / "torch_compile_cache").mkdir(parents=True)
    (folder / "torch_compile_cache" / "index.py").write_text(text)
    return folder


def test_the_second_engine_of_a_kind_starts_with_a_copy_of_its_own(node):
    cache = CompileCache("model", {"max_num_seqs": 8})
    assert not cache.copy_to(node / "first")
    cache.keep(own(node / "first"))
    assert cache.copy_to(node / "second")
    index = node / "second" / "torch_compile_cache" / "index.py"
    index.write_text("spoilt")
    assert cache.copy_to(node / "third")
    assert (node / "third" / "torch_compile_cache" / "index.py").read_text() == "graph"
    assert not CompileCache("model", {"max_num_seqs": 9}).copy_to(node / "other")


def test_what_is_kept_first_stays(node):
    cache = CompileCache("model")
    cache.keep(own(node / "first"))
    cache.keep(own(node / "second", "later"))
    cache.copy_to(node / "third")
    assert (node / "third" / "torch_compile_cache" / "index.py").read_text() == "graph"


def test_only_the_kinds_used_last_are_kept(node):
    for i in range(compile_cache.KEPT + 2):
        CompileCache(i).keep(own(node / str(i)))
    found = [CompileCache(i).copy_to(node / f"copy{i}") for i in range(compile_cache.KEPT + 2)]
    assert found == [False, False] + [True] * compile_cache.KEPT


def test_a_copy_that_was_interrupted_is_not_taken_for_a_cache(node, monkeypatch):
    cache = CompileCache("model")

    def dies(source, target, **_):
        Path(target, "half").write_text("")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compile_cache.shutil, "copytree", dies)
        with pytest.raises(KeyboardInterrupt):
            cache.keep(own(node / "first"))
    assert not cache.copy_to(node / "second")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device")])
def test_no_room_is_no_error(node, monkeypatch, error, caplog):
    cache = CompileCache("model")
    cache.keep(own(node / "first"))

    def full(*_, **__):
        raise error

    monkeypatch.setattr(compile_cache.shutil, "copytree", full)
    assert not cache.copy_to(node / "second")
    CompileCache("other").keep(node / "first")
    assert "No space left on device" in caplog.text
    (node / "file").write_text("")
    CompileCache("model", where=str(node / "file")).keep(node / "first")

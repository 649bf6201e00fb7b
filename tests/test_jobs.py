"""Many files: the same result from every executor, whatever happens to one of the files or of the processes."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.errors import ModelError
from codec import models
from codec.many import cluster
from codec.many.executors import in_processes, in_turn
from codec.many.files import RequestError
from codec.many.planning import in_batches, planned
from codec.many.tasks import Compression, Job, Output, Task
from codec.options import Options
from tests.conftest import TINY, picture
from tests.picture_files import calm
from tests.test_cli import IGPT, igpt

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Copying(Task):
    """Copies; but a file may say what it does to the process."""

    suffix = ".copy"
    grave: Path | None = None  # a file that says that somebody died

    def pixels_in(self, source):
        return 0

    def largest(self, start):
        return 1000

    def transform(self, source, suffix, report):
        data = source.read()
        report(0, 10)
        report(4, 0)
        match data:
            case b"kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case b"kill once" if not self.grave.exists():
                self.grave.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case b"exit":
                sys.exit(7)
            case b"bug":
                raise ZeroDivisionError
            case b"slow":
                time.sleep(60)
        report(6, 0)
        return Output(data, "", "", "", {"bytes": len(data)})


@pytest.fixture
def copied(tmp_path):
    """Runs an executor on files of these contents; gives results by name, and checks what must hold of them all."""

    def run(executor, *contents, grave=None, batches=in_batches):
        jobs = []
        for k, content in enumerate(contents):
            (tmp_path / f"{k}.bin").write_bytes(content)
            jobs.append(Job(tmp_path / f"{k}.bin", tmp_path / "out" / f"{k}.copy", 10))
        done = []
        report = lambda pixels, more: done.append((pixels, more))  # noqa: E731
        results = list(executor(Copying(folders=True, grave=grave), batches(jobs), report))
        assert sorted(result.job.source for result in results) == sorted(job.source for job in jobs)
        for result in results:
            target = tmp_path / "out" / f"{result.job.source.stem}.copy"
            assert target.exists() == (not result.error)
            assert result.error or target.read_bytes() == result.job.source.read_bytes()
        kept = {path.name for path in (tmp_path / "out").iterdir()} if (tmp_path / "out").exists() else set()
        assert kept == {result.job.target.name for result in results if not result.error}
        return {contents[int(result.job.source.stem)]: result for result in results}, done

    return run


def two(task, batches, report):
    return in_processes(task, batches, 2, report)


@pytest.mark.parametrize("executor", [in_turn, two])
def test_every_file_has_its_result(executor, copied):
    results, done = copied(executor, b"a", b"bug", b"", b"b")
    assert {name for name, result in results.items() if result.error} == {b"bug"}
    assert "ZeroDivisionError" in results[b"bug"].error
    assert "report it" in results[b"bug"].error
    assert sum(pixels for pixels, _ in done) == 34
    assert 40 + sum(more for _, more in done) == 34


@pytest.mark.parametrize("content", [b"kill", b"exit"])
def test_a_process_that_dies_takes_one_file_with_it(content, copied):
    results, _ = copied(two, content, b"a", b"b", b"c", batches=lambda jobs: [jobs[:3], jobs[3:]])
    how = {b"kill": "was killed by SIGKILL", b"exit": "ended with exit code 7"}[content]
    assert results.pop(content).error.endswith(f"0.bin: the process that worked on it {how}")
    assert not any(result.error for result in results.values())


def test_all_processes_may_die(copied):
    results, _ = copied(two, b"kill", b"exit")
    assert all(result.error for result in results.values())


def test_who_stops_asking_stops_the_work(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"slow" if name == "b" else b"a")
    jobs = [Job(tmp_path / name, tmp_path / f"{name}.copy") for name in ("a", "b")]
    results, start = two(Copying(), in_batches(jobs), lambda _, __: None), time.perf_counter()
    assert next(results).job.source.name == "a"
    results.close()
    assert time.perf_counter() - start < 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.copy", "b"]


@pytest.fixture
def tree(tmp_path):
    """Pictures in folders; one is none."""
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    for k in range(4):
        Image.fromarray(picture(20, 30 + k, 3)).save(tmp_path / "in" / ("deeper" if k % 2 else "") / f"{k}.png")
    (tmp_path / "in" / "worse").mkdir()
    (tmp_path / "in" / "worse" / "bad.png").write_bytes(b"nonsense")
    return tmp_path


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_processes_change_nothing(tree):
    for out, options in (("one", ()), ("two", ("-j", 2))):
        result = igpt("compress", "-r", tree / "in", "--out-dir", tree / out, "--model", TINY, *options)
        assert result.exit_code == 1
        assert "4 of 5 files" in result.stderr.splitlines()[-1]
        assert not (tree / out / "worse").exists()
    assert contents(tree / "one") == contents(tree / "two")
    again = igpt("compress", "-r", tree / "in", "--out-dir", tree / "two", "--model", TINY, "-j", 2, "--skip-existing", "--json")
    assert "0 of 5 files, 4 up to date" in again.stderr
    assert again.stdout.count("\n") == 1


def running(*arguments):
    return subprocess.Popen([IGPT, *map(str, arguments)], stderr=subprocess.PIPE, start_new_session=True)


def members(session):
    """The processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_leaves_no_process_and_no_half_file(number, tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(2):
        Image.fromarray(picture(1500, 1500, 3, k)).save(tmp_path / "in" / f"{k}.png")
    process = running("compress", "-r", tmp_path / "in", "--out-dir", tmp_path / "out", "-j", 2)
    while len(members(process.pid)) < 3:
        time.sleep(0.1)
    time.sleep(3)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    if number != signal.SIGKILL:
        assert errors == b""
    end = time.monotonic() + 20
    while members(process.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert members(process.pid) == []
    assert not (tmp_path / "out").exists()


def test_inputs_are_planned_before_anything_is_done(tree):
    jobs, unread, notes, _ = planned([tree / "in"], None, tree / "out", True, lambda _: ".igpt", (".png",))
    assert (unread, notes) == ([], [])
    assert [job.target.relative_to(tree / "out").as_posix() for job in jobs] == [
        "0.igpt",
        "2.igpt",
        "deeper/1.igpt",
        "deeper/3.igpt",
        "worse/bad.igpt",
    ]
    assert [Compression().measured(job).pixels for job in jobs] == [600, 640, 620, 660, 0]


def test_what_is_no_file_in_a_tree(tree):
    """Links to folders and named pipes are passed over with a note, broken links fail, nothing is waited for."""
    (tree / "in" / "up").symlink_to("..")
    (tree / "in" / "loop.png").symlink_to("loop.png")
    (tree / "in" / "dead.png").symlink_to("nowhere")
    os.mkfifo(tree / "in" / "pipe.png")
    (tree / "in" / "link.png").symlink_to("0.png")
    (tree / "in" / "folder.png").mkdir()
    jobs, unread, notes, _ = planned([tree / "in"], None, tree / "out", True, lambda _: ".igpt", (".png",))
    assert [job.source.name for job in jobs] == ["0.png", "2.png", "dead.png", "1.png", "3.png", "link.png", "loop.png", "bad.png"]
    assert unread == []
    assert sorted(note.partition(": note: ")[0] for note in notes) == [str(tree / "in" / "pipe.png"), str(tree / "in" / "up")]
    for name, reason in (("dead.png", "No such file"), ("loop.png", "Too many levels")):
        result = Compression().run(Job(tree / "in" / name, tree / "x.igpt"), lambda _, __: None)
        assert result.code == 1
        assert reason in result.error


def test_named_pipes_among_several_inputs(tree):
    pipe, names = tree / "pipe.png", [tree / "in" / "0.png", tree / "in" / "2.png"]
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(names[0].read_bytes()))
    writer.start()
    result = igpt("compress", names[0], pipe, names[1], "--model", TINY)
    writer.join()
    assert result.exit_code == 0
    assert "3 of 3 files" in result.stderr
    assert pipe.with_suffix(".igpt").read_bytes() == names[0].with_suffix(".igpt").read_bytes()


def test_one_output_by_two_ways_is_noticed(tree):
    (tree / "link").symlink_to("in")
    for name, suffix in (("0.png", ".igpt"), ("0.igpt", ".png")):
        names = [tree / "in" / name, tree / "link" / name]
        with pytest.raises(RequestError, match="would both become"):
            planned(names, None, tree / "out", False, lambda _, suffix=suffix: suffix, ())


def test_inputs_that_differ_in_their_extensions_keep_these(tree):
    names, out = [tree / "in" / name for name in ("0.png", "0.bmp", "2.png")], tree / "out"
    jobs, *_ = planned(names, None, out, False, lambda _: ".igpt", ())
    assert [job.target.name for job in jobs] == ["0.png.igpt", "0.bmp.igpt", "2.igpt"]
    for name, suffix, target in (("0.jpg.igpt", ".jpg", "0.jpg"), ("0.bmp.igpt", ".png", "0.bmp.png"), ("0.PNG.igpt", ".png", "0.PNG")):
        (job,) = planned([tree / name], None, out, False, lambda _, suffix=suffix: suffix, ()).jobs
        assert job.target == out / target


def sent(task, model, data, version=codec.__version__):
    (output,) = cluster.transform_all(version, task, model, [(data, ".igpt")])
    return output


def test_a_cluster_knows_models_by_their_digest(tmp_path, monkeypatch):
    monkeypatch.setenv("IGPT_MODEL_PATH", str(tmp_path / "store"))
    Image.fromarray(calm(32, 40)).save(tmp_path / "x.png")
    data, digest = (tmp_path / "x.png").read_bytes(), models.digest_of(TINY)
    mine = shutil.copytree(TINY, tmp_path / "mine")
    model, _ = cluster._models(Compression(options=Options(model=mine)))
    assert model == (digest, "mine")
    made = sent(Compression(options=Options(model=mine, device="cpu")), model, data)
    assert [(model.name, model.digest) for model in codec.info(made.data).models] == [("mine", digest.hex())]
    (mine / "config.json").write_text((mine / "config.json").read_text().replace('window": 40', 'window": 32'))  # means another one here
    lacking = sent(Compression(options=Options(model=mine, device="cpu")), model, data)
    assert isinstance(lacking, ModelError)
    assert digest.hex() in str(lacking)
    assert "models add" in str(lacking)
    models.add(str(TINY))
    assert sent(Compression(options=Options(model=mine, device="cpu")), model, data).data == made.data
    assert "install the same" in str(sent(Compression(), None, data, version="0"))


def test_what_comes_back_from_a_cluster_is_checked(tmp_path):
    Image.fromarray(calm(32, 40)).save(tmp_path / "x.png")
    task, job = Compression(options=Options(device="cpu")), Job(tmp_path / "x.png", tmp_path / "x.igpt")
    given, (model, expected) = task.load(job), cluster._models(task)
    assert model is None
    other = sent(
        Compression(options=Options(model=TINY, device="cpu")), cluster.NamedModel(models.digest_of(TINY), "tiny"), given.source.read()
    )
    refused = cluster._stored(task, job, given, other, expected)
    assert "another model" in refused.error
    assert models.digest_of(TINY).hex() in refused.error
    broken = other._replace(data=other.data[:-1] + bytes([other.data[-1] ^ 1]))
    assert "damaged" in cluster._stored(task, job, given, broken, expected | {models.digest_of(TINY)}).error
    assert not job.target.exists()
    assert not cluster._stored(task, job, given, other, expected | {models.digest_of(TINY)}).error


needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install igpt[ray]")


def test_without_ray_it_is_said(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = igpt("compress", tree / "in" / "0.png", "--ray", "auto")
    assert result.exit_code == 2
    assert result.stderr == "igpt: --ray needs Ray: `pip install igpt[ray]` first\n"


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_a_killed_ray_worker_loses_nothing(copied, tmp_path, monkeypatch):
    """Two workers; one dies amid a file, and another one on the same file forever."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def on_ray(task, batches, report):
        return cluster.on_ray(task, batches, "local", 2, report)

    names = [b"file %d" % k for k in range(12)]
    results, _ = copied(on_ray, b"kill once", *names, b"bug", b"kill", grave=tmp_path / "grave")
    assert (tmp_path / "grave").exists()
    assert {name for name, result in results.items() if result.error} == {b"bug", b"kill"}
    assert "Ray gave it up" in results[b"kill"].error


@needs_ray
@pytest.mark.slow
def test_ray_changes_no_byte(tree):
    """Pictures on two workers, of which one is killed from outside amid its work."""
    Image.fromarray(picture(700, 700, 3)).save(tree / "in" / "large.png")
    plain = igpt("compress", "-r", tree / "in", "--out-dir", tree / "one", "--model", TINY, "--json")
    process = running("compress", "-r", tree / "in", "--out-dir", tree / "two", "--model", TINY, "--ray", "local", "-j", 2)
    victims = []
    while not victims:
        time.sleep(0.05)
        assert process.poll() is None
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.read_text().startswith("ray::transform_all"):
                    victims.append(int(path.parent.name))
    os.kill(victims[0], signal.SIGKILL)
    errors = process.communicate(timeout=300)[1].decode()
    assert (plain.exit_code, process.returncode) == (1, 1)
    assert "5 of 6 files" in errors.splitlines()[-1]
    assert contents(tree / "one") == contents(tree / "two")
    back = igpt("decompress", "-r", tree / "two", "--out-dir", tree / "back", "--model", TINY, "--ray", "local", "-j", 2)
    assert back.exit_code == 0
    assert (np.asarray(Image.open(tree / "back" / "large.png")) == picture(700, 700, 3)).all()


@needs_ray
def test_no_cluster_is_a_sentence(tmp_path):
    with pytest.raises(RequestError, match="no Ray cluster"):
        list(cluster.on_ray(Copying(), [], "127.0.0.1:1", 1, lambda _, __: None))

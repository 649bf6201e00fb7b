"""What may go wrong around a file: the old output stays, nothing else is left, one sentence, the right exit code."""

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from codec import jit as compiled
from codec import models
from codec.many import executors, files, stopping
from codec.many.tasks import Compression, Job
from codec.network import coding
from codec.options import Options
from tests.conftest import TINY, picture
from tests.test_cli import IGPT, PIXELS, assert_refused, igpt

OLD = b"old output"
NOBODY = 65534


@pytest.fixture
def place(tmp_path):
    """A picture, and an old output that must not suffer."""
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    (tmp_path / "x.igpt").write_bytes(OLD)
    return tmp_path


def assert_untouched(place, *more):
    assert sorted(path.name for path in place.iterdir()) == sorted(["x.igpt", "x.png", *more])
    assert (place / "x.igpt").read_bytes() == OLD


def run(*arguments, **options):
    return subprocess.run([IGPT, *map(str, arguments)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options)


def test_an_encoder_that_goes_wrong_writes_nothing(place, monkeypatch):
    right = coding.tokens_and_frequencies

    def wrong(network, turns, *rest):
        (turn, samples), *others = turns
        changed = samples.copy()
        changed.flat[0] ^= 1
        return right(network, [(turn, changed), *others], *rest)

    monkeypatch.setattr(coding, "tokens_and_frequencies", wrong)
    for options in ((), ("--verify",), ("--delete-input",)):
        assert_refused(igpt("compress", place / "x.png", "-f", "--model", TINY, *options), 1, "does not give back the picture", "report")
        assert_untouched(place)


def test_inputs_are_deleted_when_all_is_well(place):
    assert igpt("compress", place / "x.png", "-f", "--model", TINY, "--delete-input").exit_code == 0
    assert [path.name for path in place.iterdir()] == ["x.igpt"]
    assert (np.asarray(codec.decompress((place / "x.igpt").read_bytes(), model=TINY)) == PIXELS).all()


def test_inputs_whose_loss_would_be_a_loss_are_kept(place):
    Image.fromarray(PIXELS).save(place / "y.jpg", comment="hello")
    assert_refused(igpt("compress", place / "y.jpg", "--pixels", "--delete-input"), 1, "comment", "--delete-input")
    assert_refused(igpt("compress", place / "x.png", "-f", "--strip", "--delete-input"), 2, "--strip")
    assert_refused(igpt("compress", place / "x.png", "-", "--delete-input"), 2, "--delete-input")
    for target in ("/dev/null", "/dev/stdout"):
        assert_refused(igpt("compress", place / "x.png", target, "-f", "--delete-input"), 2, "--delete-input")
    assert_refused(
        igpt("compress", "-", place / "x.igpt", "-f", "--delete-input", data=(place / "x.png").read_bytes()), 2, "--delete-input"
    )
    assert_untouched(place, "y.jpg")


def test_an_input_that_changed_meanwhile_is_kept(place, monkeypatch):
    right = Compression.transform

    def slow(*arguments):
        (place / "x.png").write_bytes(b"new")
        return right(*arguments)

    monkeypatch.setattr(Compression, "transform", slow)
    assert_refused(igpt("compress", place / "x.png", "-f", "--model", TINY, "--delete-input"), 1, "changed", "kept")
    assert (place / "x.png").read_bytes() == b"new"


def test_an_input_that_vanishes(place):
    gone = place / "gone.png"
    result = Compression(options=Options(model=TINY)).run(Job(gone, place / "gone.igpt", 10), lambda _, __: None)
    assert (result.code, result.error) == (1, f"{gone}: No such file or directory")
    assert_untouched(place)


def test_a_full_disk(place):
    """The largest file that may be written is smaller than the output."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))

    options = {"preexec_fn": limit, "env": {**os.environ, "NUMBA_CACHE_DIR": str(place.parent / "numba")}}
    for folder in ((), ("--out-dir", place / "new")):
        result = run("compress", place / "x.png", *folder, "-f", "--model", TINY, **options)
        assert (result.returncode, result.stdout) == (1, "")
        assert "File too large" in result.stderr
        assert_untouched(place)


def test_a_device_without_room(place):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    assert_refused(igpt("compress", place / "x.png", "/dev/full", "-f", "--model", TINY), 1, "No space left")
    assert_untouched(place)


def test_a_folder_that_cannot_be_written(place):
    """Root may write everywhere, so it becomes nobody, in a folder that nobody may read."""
    assert igpt("compress", place / "x.png", place / "y.igpt", "--model", TINY).exit_code == 0  # everything is compiled
    folder, user = Path(tempfile.mkdtemp()), os.geteuid()
    for name in ("x.png", "x.igpt"):
        shutil.copy(place / name, folder)
    folder.chmod(0o555)
    try:
        if user == 0:
            os.seteuid(NOBODY)
        assert_refused(igpt("compress", folder / "x.png", "-f", "--model", TINY), 1, "Permission denied")
        assert_refused(igpt("compress", "-r", folder, "--out-dir", folder / "new", "-q", "--model", TINY), 1, "Permission denied")
        assert_untouched(folder)
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_an_output_on_another_file_system(place):
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == place.stat().st_dev:
        pytest.skip("there is no other file system")
    target = shared / f"igpt-test-{os.getpid()}.igpt"
    try:
        assert igpt("compress", place / "x.png", target, "--model", TINY).exit_code == 0
        assert (np.asarray(codec.decompress(target.read_bytes(), model=TINY)) == PIXELS).all()
    finally:
        target.unlink(missing_ok=True)
    assert_untouched(place)


def test_a_file_system_without_links(place, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(files.os, "link", refuse)
    assert igpt("compress", place / "x.png", place / "y.igpt", "--model", TINY).exit_code == 0
    assert_refused(igpt("compress", place / "x.png", place / "y.igpt", "--model", TINY), 1, "--force")
    assert_untouched(place, "y.igpt")


@pytest.mark.parametrize("force", [False, True])
def test_two_that_write_the_same_output_at_once(place, force):
    """Without --force exactly one succeeds; with it the output is one of the two as a whole."""
    bodies, came = [bytes([k]) * 300_000 for k in range(8)], []
    barrier = threading.Barrier(len(bodies))

    def save(body):
        def fill(stream):
            stream.write(body)
            barrier.wait()

        with contextlib.suppress(files.RequestError):
            files.write(place / "new", files.PIPE, False, force, fill)
            came.append(body)

    threads = [threading.Thread(target=save, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == (len(bodies) if force else 1)
    assert (place / "new").read_bytes() in came
    assert_untouched(place, "new")


STREAMS = {  # a command line, its exit code, and what is said on stderr
    '"$IGPT" compress "$X" -f -o - <&- | wc -c': (0, ""),
    '"$IGPT" compress - <&-': (1, "standard input: Bad file descriptor"),
    '"$IGPT" compress "$X" - >&-': (1, "standard output: Bad file descriptor"),
    '"$IGPT" info "$Y" >&-': (1, "standard output: Bad file descriptor"),
    '"$IGPT" info "$Y" 2>&-': (0, ""),
    '"$IGPT" info none 2>&-': (1, ""),
    '"$IGPT" compress "$X" -f >&- 2>&-; cmp "$Y" "${X%png}igpt"': (0, ""),
    '"$IGPT" info "$Y" >/dev/full': (1, "standard output: No space left on device"),
    '"$IGPT" compress "$X" - >/dev/full': (1, "standard output: No space left on device"),
    '"$IGPT" info "$Y" | true; exit ${PIPESTATUS[0]}': (141, ""),
    '"$IGPT" compress "$X" - -q 2>&1 | (exec <&-; sleep 0.1); exit ${PIPESTATUS[0]}': (141, ""),
    'set -o pipefail; "$IGPT" compress "$X" /dev/stdout -q | cmp "$Y"': (0, ""),
    'set -o pipefail; "$IGPT" compress /dev/stdin -q <"$X" | cmp "$Y"': (0, ""),
    '"$IGPT" compress "$X" -q >(cat >"$Z"; kill $$); sleep 5; cmp "$Y" "$Z"': (-signal.SIGTERM, ""),
    '"$IGPT" compress <(cat "$X") "$Z" -q; cmp "$Y" "$Z"': (0, ""),
    '(printf head; "$IGPT" compress "$X" /dev/fd/1 -q) >"$Z"; cmp <(printf head; cat "$Y") "$Z"': (0, ""),
    '"$IGPT" compress "$X" /dev/fd/9': (1, "/dev/fd/9: Bad file descriptor"),
    'mkfifo "$Z"; (cat "$Z" | cmp "$Y") & "$IGPT" compress "$X" "$Z" -q && wait $!': (0, ""),
}


@pytest.mark.parametrize("line", STREAMS)
def test_streams(line, tmp_path):
    """Named or closed, full or unread."""
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(tmp_path / "x.png")
    (tmp_path / "y").write_bytes(codec.compress(Image.open(tmp_path / "x.png")))
    code, text = STREAMS[line]
    names = {name.upper(): str(tmp_path / path) for name, path in (("x", "x.png"), ("y", "y"), ("z", "z"))}
    result = subprocess.run(
        ["bash", "-c", line], env={**os.environ, "IGPT": str(IGPT), **names}, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == code, result
    assert text in result.stderr
    assert result.stderr.count("\n") == (1 if text else 0) or " -> " in result.stderr
    assert "Traceback" not in result.stderr
    assert "y: " not in result.stderr


def test_a_tree_that_cannot_be_read_whole(place):
    """Root may read everywhere, so it becomes nobody."""
    folder, user = Path(tempfile.mkdtemp()), os.geteuid()
    for name in ("open", "shut"):
        (folder / "in" / name).mkdir(parents=True)
        shutil.copy(place / "x.png", folder / "in" / name)
    assert igpt("compress", place / "x.png", "-f", "--model", TINY).exit_code == 0  # everything is compiled
    (folder / "in" / "shut").chmod(0)
    for path in (folder, folder / "in"):
        path.chmod(0o777)
    try:
        if user == 0:
            os.seteuid(NOBODY)
        result = igpt("compress", "-r", folder / "in", "--out-dir", folder / "out", "--json", "--model", TINY)
        assert result.exit_code == 1
        said = [json.loads(line) for line in result.stdout.splitlines()]
        assert said[0] == {"input": str(folder / "in" / "shut"), "error": f"{folder / 'in' / 'shut'}: Permission denied"}
        assert (folder / "out" / "open" / "x.igpt").exists()
        assert "1 of 1 files" in result.stderr
        assert_refused(igpt("decompress", "-r", folder / "in" / "shut", "-q"), 1, "shut: Permission denied")
    finally:
        os.seteuid(user)
        (folder / "in" / "shut").chmod(0o755)
        shutil.rmtree(folder)


def test_nobody_is_at_home(place, monkeypatch):
    """A name that begins with ~ stays as it is where there is no home folder: nothing may be made that is called so."""
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "IGPT_MODEL_PATH", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(place)
    assert models.stores() == []
    assert igpt("models").exit_code == 0
    assert_refused(igpt("models", "add", TINY), 1, "IGPT_MODEL_PATH")
    assert igpt("compress", "x.png", "-f", "-q").exit_code == 0
    monkeypatch.setenv("IGPT_MODEL_PATH", "~/models")
    assert_refused(igpt("models", "add", TINY), 1, "IGPT_MODEL_PATH")
    assert sorted(path.name for path in place.iterdir()) == ["x.igpt", "x.png"]
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not compiled._has_place(models.stores)


PHASES = {  # where a signal is to arrive: a function of the package that is entered then
    "reading": "codec.pictures.reading.open_picture",
    "analysing": "codec.compression.offers",
    "coding": "codec.network.coding.hidden_states",
    "checking": "codec.network.coding.step_through",
    "writing": "codec.many.files._put",
}
WRAPPED = """
import importlib, os, sys
import cli
number, where, phase = int(sys.argv[1]), sys.argv[2], sys.argv[2].rpartition(".")
module = importlib.import_module(phase[0])
right = getattr(module, phase[2])
def wrapped(*arguments, **options):
    os.kill(os.getpid(), number)
    return right(*arguments, **options)
for name, other in list(sys.modules.items()):
    if name.startswith(("codec", "cli")) and getattr(other, phase[2], None) is right:
        setattr(other, phase[2], wrapped)
sys.argv = ["igpt", *sys.argv[3:]]
cli.main()
"""


SIGNALS = [(signal.SIGTERM, phase) for phase in PHASES] + [
    (number, phase) for number in (signal.SIGINT, signal.SIGKILL) for phase in ("coding", "writing")
]


@pytest.mark.parametrize(("number", "phase"), SIGNALS)
def test_a_signal_in_every_phase(phase, number, place):
    command = [sys.executable, "-c", WRAPPED, str(int(number)), PHASES[phase], "compress", str(place / "x.png"), "-f", "--model", str(TINY)]
    result = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[1])
    if number != signal.SIGKILL:
        assert (result.returncode, result.stdout, result.stderr) == (128 + number, b"", b"")
        assert_untouched(place)
        return
    assert result.returncode == -number
    litter = [path.name for path in place.iterdir() if path.name.startswith(files.TEMPORARY)]
    assert len(litter) == (phase == "writing")
    assert_untouched(place, *litter)
    assert igpt("compress", "-r", place, "-f", "--model", TINY, "-q").exit_code == 0
    assert "1 of 1 files" in igpt("decompress", "-r", place, "-f", "--model", TINY).stderr


def signalled(place, number, delay):
    """A run on two files that gets a signal after some seconds: its exit code."""
    process = subprocess.Popen([IGPT, "compress", "-r", place, "-f", "--model", TINY, "-q"], stderr=subprocess.PIPE)
    time.sleep(delay)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode in (-number, 0, 128 + number)
    assert errors == b"" or b"Traceback" not in errors
    return process.returncode


@pytest.mark.slow
def test_signals_at_any_time(place):
    """Whatever the moment, each output is the old or the new one."""
    (place / "y.png").write_bytes((place / "x.png").read_bytes())
    (place / "y.igpt").write_bytes(OLD)
    new = codec.compress(Image.open(place / "x.png"), model=TINY)
    rng, codes = random.Random(0), []
    for k in range(60):
        codes.append(signalled(place, (signal.SIGINT, signal.SIGTERM)[k % 2], rng.uniform(0.2, 4)))
        for path in place.iterdir():
            assert path.suffix == ".png" or path.read_bytes() in (OLD, new)
        assert sorted(path.name for path in place.iterdir()) == ["x.igpt", "x.png", "y.igpt", "y.png"]
    assert len(set(codes)) > 1


def test_a_model_that_computes_otherwise_is_refused(place):
    """Of the same name, with other numerics: the digest knows."""
    folder = place / "tiny"
    shutil.copytree(TINY, folder)
    text = (folder / "config.json").read_text()
    window = '"attention_window": 40'
    assert window in text
    (folder / "config.json").write_text(text.replace(window, '"attention_window": 32'))
    data = codec.compress(Image.fromarray(PIXELS), model=TINY)
    with pytest.raises(codec.ModelError, match="needs the model tiny"):
        codec.decompress(data, model=folder)


def test_workers_clean_up_in_the_middle_of_a_write(monkeypatch):
    """A worker leaves at once, but lets a write take back what it has done."""
    left = []
    monkeypatch.setattr(executors.os, "_exit", left.append)
    monkeypatch.setattr(stopping, "stopped", [])
    executors._leave(signal.SIGTERM, None)
    assert left == [128 + signal.SIGTERM]
    monkeypatch.setattr(executors, "unfinished", {Path("x")})
    with pytest.raises(SystemExit):
        executors._leave(signal.SIGTERM, None)
    assert len(left) == 1


def test_a_signal_amid_many_writes_leaves_nothing(place):
    def fill(stream):
        stream.write(bytes(1000))
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        files.write(place / "a" / "b" / "new", files.PIPE, False, True, fill, folders=True)
    assert files.unfinished == set()
    assert_untouched(place)


def test_large_pictures_are_refused_before_the_output_is_touched(place):
    Image.fromarray(picture(30, 30, 3)).save(place / "x.png")
    assert_refused(igpt("compress", place / "x.png", "-f", "--max-pixels", 899), 1, "--max-pixels")
    assert_untouched(place)


def test_what_is_durable_is_so_with_the_folders_made_for_it(tmp_path, monkeypatch):
    synced, right = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda opened: synced.append(os.fstat(opened).st_ino) or right(opened))
    target = tmp_path / "one" / "two" / "x"
    files.write(target, files.PIPE, False, False, lambda stream: stream.write(b"x"), folders=True, durable=True)
    assert {path.stat().st_ino for path in (target, target.parent, target.parent.parent, tmp_path)} == {*synced}

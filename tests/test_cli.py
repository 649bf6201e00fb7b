"""The command line: files, pipes, messages, exit codes, and what is left behind."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cli
import codec
from bitstream import container
from codec.many import files
from tests.conftest import TINY, picture
from tests.picture_files import calm

IGPT = Path(sys.executable).parent / "igpt"
PIXELS = calm(34, 42)


@pytest.fixture
def photo(tmp_path, nothing_mixed):
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    path.chmod(0o640)
    return path


def igpt(*arguments, data=None):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], input=data)


def compressed(photo):
    result = igpt("compress", photo, "--model", TINY)
    assert result.exit_code == 0
    return photo.with_suffix(".igpt")


def assert_refused(result, code, *words):
    """One line on stderr that says why, nothing on stdout."""
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_there_and_back(photo):
    result = igpt("compress", photo, "--model", TINY)
    packed = photo.with_suffix(".igpt")
    size = packed.stat().st_size
    assert result.exit_code == 0
    assert result.stdout == ""
    raw, bpsp = PIXELS.size, 8 * size / PIXELS.size
    ratios = f"{size / photo.stat().st_size:.3f} of the input file, {size / raw:.3f} of raw"
    assert result.stderr.splitlines()[-1] == f"{photo} -> {packed}: {size:,} bytes, {bpsp:.3f} bpsp, {ratios}"
    back = photo.with_name("back.png")
    assert igpt("decompress", packed, back, "--model", TINY).exit_code == 0
    assert (np.asarray(Image.open(back)) == PIXELS).all()
    for path in (packed, back):
        assert path.stat().st_mtime == 1_000_000_000
        assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in photo.parent.iterdir()) == ["back.png", "photo.igpt", "photo.png"]


def test_no_preserve(photo):
    before = os.umask(0o027)
    try:
        assert igpt("compress", photo, "--model", TINY, "--no-preserve").exit_code == 0
    finally:
        os.umask(before)
    packed = photo.with_suffix(".igpt")
    assert packed.stat().st_mtime > 1_000_000_000
    assert packed.stat().st_mode & 0o777 == 0o640


def test_quiet_says_nothing(photo):
    for command in (("compress", photo), ("verify", photo.with_suffix(".igpt")), ("decompress", photo.with_suffix(".igpt"), photo, "-f")):
        result = igpt(*command, "-q", "--model", TINY)
        assert (result.exit_code, result.output) == (0, "")


def test_pipes(photo):
    packed = igpt("compress", "-", "--model", TINY, data=photo.read_bytes())
    assert packed.exit_code == 0
    assert packed.stdout_bytes == compressed(photo).read_bytes()
    back = igpt("decompress", "-", "-", "--model", TINY, data=packed.stdout_bytes)
    assert (np.asarray(Image.open(io.BytesIO(back.stdout_bytes))) == PIXELS).all()


def test_output_option(photo, tmp_path):
    assert igpt("compress", photo, "-o", tmp_path / "a.igpt", "--model", TINY).exit_code == 0
    assert (tmp_path / "a.igpt").exists()
    assert_refused(igpt("compress", photo, "x.igpt", "-o", "y.igpt"), 2, "twice")


def test_nothing_is_overwritten_unless_forced(photo):
    packed = compressed(photo)
    packed.write_bytes(b"precious")
    assert_refused(igpt("compress", photo, "--model", TINY), 1, "--force")
    assert packed.read_bytes() == b"precious"
    assert igpt("compress", photo, "--model", TINY, "-f").exit_code == 0
    assert_refused(igpt("decompress", packed, "--model", TINY), 1, "photo.png exists")
    assert_refused(igpt("compress", photo, "-o", photo, "-f"), 2, "input itself")
    for make in (os.link, os.symlink):
        other = photo.with_name(f"{make.__name__}.igpt")
        make(photo, other)
        assert_refused(igpt("compress", photo, other, "-f"), 2, "input itself")


def test_links_and_devices_are_written_through(photo, tmp_path):
    real, link = tmp_path / "real.igpt", tmp_path / "link.igpt"
    real.write_bytes(b"old")
    link.symlink_to(real)
    assert igpt("compress", photo, link, "--model", TINY, "-f").exit_code == 0
    assert link.is_symlink()
    assert codec.info(real.read_bytes()).width == 42
    assert igpt("compress", photo, "/dev/null", "--model", TINY, "-f").exit_code == 0
    assert not Path("/dev/null").is_file()


def test_a_name_as_long_as_names_can_be(photo, tmp_path):
    target = tmp_path / ("n" * 250 + ".igpt")
    assert igpt("compress", photo, target, "--model", TINY).exit_code == 0
    assert target.exists()


@pytest.mark.parametrize("command", ["compress", "decompress", "info", "verify", "heatmap"])
def test_endless_input_is_refused_at_once(command, tmp_path):
    assert_refused(igpt(command, "/dev/zero", *([tmp_path / "x.png"] if command in ("decompress", "heatmap") else [])), 1, "/dev/zero")


def test_input_is_read_no_further_than_it_can_go(photo):
    packed = compressed(photo)
    packed.write_bytes(packed.read_bytes() + bytes(1_000_000))
    assert_refused(igpt("verify", packed, "--model", TINY), 1, "goes on behind it")
    for most in (10, files.FIRST_BYTES, files.FIRST_BYTES + 5, packed.stat().st_size - 1):
        with pytest.raises(codec.TooLargeError, match=f"more than {most:,} bytes"):
            files.read(packed, lambda _, most=most: most)
    assert files.read(packed, lambda _: packed.stat().st_size) == packed.read_bytes()
    with packed.open("rb") as stream:
        assert container.largest_file(stream.read(100)) > 1_000_000


def test_outputs_that_make_no_sense(photo, tmp_path):
    packed = compressed(photo)
    assert_refused(igpt("compress", photo, tmp_path), 2, "folder")
    assert_refused(igpt("decompress", packed, tmp_path / "x.jpg"), 1, "not a JPEG file")
    assert_refused(igpt("compress", photo, tmp_path / "none" / "x.igpt", "--model", TINY), 1, "No such file")
    assert_refused(igpt("compress", photo, photo / "x.igpt"), 1, "Not a directory")
    assert_refused(igpt("compress", photo, "--out-dir", photo), 2, "no folder")
    (tmp_path / "loop.igpt").symlink_to("loop.igpt")
    assert_refused(igpt("compress", photo, tmp_path / "loop.igpt", "-f"), 1, "loop.igpt: Too many levels")


@pytest.mark.parametrize("exists", [False, True])
def test_the_format_is_that_of_the_name_that_was_given(exists, photo, tmp_path):
    """Not of the file that it leads to."""
    packed = compressed(photo)
    for link, place, magic in (("out.tif", "blob.png", b"II*"), ("out.png", "x.webp", b"\x89PNG")):
        (tmp_path / link).symlink_to(place)
        if exists:
            (tmp_path / place).write_bytes(b"old")
        assert igpt("decompress", packed, tmp_path / link, "-f", "--model", TINY).exit_code == 0
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / place).read_bytes().startswith(magic)


def test_a_picture_is_not_replaced_by_its_completions(photo):
    before = photo.read_bytes()
    assert_refused(igpt("sample", photo, "--complete", photo, "-f"), 2, "is the input itself")
    assert photo.read_bytes() == before
    assert igpt("sample", photo.with_name("x.png"), "--seed", "-1").exit_code == 2


def test_what_a_training_would_stumble_over_is_said_before(tmp_path, monkeypatch):
    from codec.training import loop

    monkeypatch.setattr(loop, "train", None)
    (tmp_path / "sources.txt").write_bytes(b"\xff\xfe")
    shared = ["train", tmp_path, "--validation", tmp_path, "--out", tmp_path / "out", "--device", "cpu"]
    assert_refused(igpt(*shared, "--sources", tmp_path / "sources.txt"), 2, "no text in UTF-8")
    assert igpt(*shared, "--sources", tmp_path).exit_code == 2
    assert_refused(igpt(*shared, "--config", TINY, "--start-from", TINY), 2, "leave --config out")
    assert_refused(igpt(*shared, "--layout", "dct", "--config", TINY), 2, "leave --config and --start-from out")
    assert_refused(igpt(*shared, "--layout", "dct"), 1, "give 0 coefficients")


def test_standard_input_is_never_up_to_date(photo, tmp_path):
    result = igpt("compress", "--skip-existing", "-", tmp_path / "p.igpt", "--model", TINY, data=photo.read_bytes())
    assert result.exit_code == 0
    assert container.read((tmp_path / "p.igpt").read_bytes()).head.width == 42


def test_a_file_that_is_too_long_is_not_called_damaged(photo, monkeypatch):
    monkeypatch.setattr("codec.pictures.reading.largest_picture_file", lambda start, limit: 200)
    assert_refused(igpt("compress", photo, "--model", TINY), 1, "more than 200 bytes")


@pytest.mark.parametrize("name", [".", "/", "..", "folder.png"])
def test_folders_are_no_files(name, tmp_path, monkeypatch):
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    assert_refused(igpt("compress", name), 2, "folder", "-r")
    assert_refused(igpt("decompress", name), 2, "folder", "-r")
    assert_refused(igpt("heatmap", name), 2, "folder")
    assert_refused(igpt("info", name), 2, "folder", "-r")
    assert_refused(igpt("verify", name), 2, "folder", "-r")


def test_a_picture_is_no_igpt_file(photo):
    """That is said before the output, which would be the input."""
    assert_refused(igpt("decompress", photo), 1, "this is not an igpt file")


def test_an_unknown_device_is_a_wrong_request(photo):
    result = igpt("compress", photo, "--device", "gpu")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'gpu'" in result.stderr
    assert "cuda" in result.stderr


@pytest.fixture
def three(tmp_path, photo):
    """A folder of two right files, a damaged one, and something else; their names."""
    data = compressed(photo).read_bytes()
    folder = tmp_path / "some"
    (folder / "deeper").mkdir(parents=True)
    paths = [folder / "a.igpt", folder / "b.igpt", folder / "deeper" / "c.igpt"]
    for path, own in zip(paths, (data, data[:-1], data), strict=True):
        path.write_bytes(own)
    shutil.copy(photo, folder / "d.png")
    return paths


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_files_are_verified(three, jobs):
    result = igpt("verify", "-r", three[0].parent, "-j", jobs, "--model", TINY)
    assert (result.exit_code, result.stdout) == (1, "")
    *lines, last = result.stderr.splitlines()
    right = [f"{path}: ok, 42x34 pixels, RGB, 8 bits" for path in three[::2]]
    assert last == "2 of 3 files"
    assert sorted(lines)[:2] == right
    assert sorted(lines)[2].startswith(f"igpt: {three[1]}: ")
    assert "truncated" in sorted(lines)[2]
    assert igpt("verify", "-q", three[0], three[2], "--model", TINY).stderr == ""
    lines = igpt("verify", "--json", *three, "--model", TINY).stdout.splitlines()
    found = {one["input"]: one for one in map(json.loads, lines)}
    assert [found[str(path)].get("pixels") for path in three] == [34 * 42, None, 34 * 42]
    assert "truncated" in found[str(three[1])]["error"]
    assert {path.name for path in three[0].parent.iterdir()} == {"a.igpt", "b.igpt", "d.png", "deeper"}


def test_one_file_is_verified_for_programs(three):
    result = igpt("verify", "--json", "-", "--model", TINY, data=three[0].read_bytes())
    assert json.loads(result.stdout)["input"] == "-"
    assert result.exit_code == 0


def test_many_files_are_described(three):
    three[1].write_bytes(b"nothing")
    result = igpt("info", "-r", three[0].parent)
    assert result.exit_code == 1
    assert [line.split()[-1] for line in result.stdout.splitlines() if line.startswith("input ")] == [str(three[0]), str(three[2])]
    assert result.stderr == f"igpt: {three[1]}: this is not an igpt file\n"
    found = [json.loads(line) for line in igpt("info", "--json", three[0], three[2]).stdout.splitlines()]
    assert [(one["input"], one["width"]) for one in found] == [(str(three[0]), 42), (str(three[2]), 42)]


def test_what_can_be_named_is_completed():
    def complete(*words):
        given = {"_IGPT_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        return subprocess.run([IGPT], env={**os.environ, **given}, capture_output=True, text=True, check=False).stdout.split()

    assert complete("igpt", "compress", "--level", "b") == ["best"]
    assert complete("igpt", "verify", "--device", "cu") == ["cuda"]
    assert "photo-3" in complete("igpt", "compress", "--model", "photo")


@pytest.mark.parametrize("arguments", [["compress", ""], ["compress", "x.png", ""], ["info", ""], ["compress", "x.png", "-o", ""]])
def test_an_empty_name_is_no_file(arguments):
    result = igpt(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "an empty name" in result.stderr


@pytest.mark.parametrize("command", ["heatmap", "sample", "quantize"])
def test_a_png_is_called_so(command, photo):
    for suffix in (".jpg", ".tif"):
        target = photo.with_name(f"out{suffix}")
        arguments = {"heatmap": [photo, target], "sample": [target], "quantize": [photo, target, "--model", TINY]}[command]
        assert_refused(igpt(command, *arguments), 2, ".png")
        assert not target.exists()


def test_names_that_are_no_text(photo):
    name = photo.with_name(os.fsdecode(b"\xff.png"))
    photo.rename(name)
    result = igpt("compress", name, "--model", TINY, "--json", "-v")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["input"] == str(name)
    assert_refused(igpt("compress", name, "--model", TINY), 1, "exists already")


BAD = {"missing": None, "empty": b"", "text": b"hello", "png": b"\x89PNG\r\n\x1a\n"}


@pytest.mark.parametrize("command", ["compress", "decompress", "info", "verify"])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_leaves_nothing_behind(tmp_path, command, name):
    source = tmp_path / "x.bin"
    if BAD[name] is not None:
        source.write_bytes(BAD[name])
    assert_refused(igpt(command, source), 1, str(source))
    assert list(tmp_path.iterdir()) == ([source] if source.exists() else [])


def test_damage_is_named_and_leaves_nothing_behind(photo):
    packed = compressed(photo)
    data = bytearray(packed.read_bytes())
    data[-30] ^= 4
    packed.write_bytes(data)
    out = photo.with_name("out.png")
    for command in (("decompress", packed, out), ("verify", packed)):
        assert_refused(igpt(*command, "--model", TINY), 1, "chunk 1 of 1", "damaged")
    assert not out.exists()


def test_the_wrong_model_says_which(photo):
    packed = compressed(photo)
    assert_refused(igpt("decompress", packed, "-f"), 1, "--model", codec.info(packed.read_bytes()).models[0].digest)


def test_limits(photo):
    assert_refused(igpt("compress", photo, "--max-pixels", 1427), 1, "42x34", "--max-pixels")
    packed = compressed(photo)
    assert_refused(igpt("verify", packed, "--max-pixels", 1427), 1, "42x34")
    assert igpt("verify", packed, "--max-pixels", 1428, "--model", TINY).exit_code == 0


def test_metadata_that_is_left_out_is_said(photo):
    jpeg = photo.with_suffix(".jpg")
    Image.fromarray(PIXELS).save(jpeg, comment="hello")
    result = igpt("compress", jpeg, "--pixels", "--model", TINY)
    assert "not stored: the JPEG itself: these are its decoded pixels, the JPEG's comment" in result.stderr.splitlines()[0]
    assert "the JPEG's comment" in igpt("compress", jpeg, "-f", "-q", "--strip", "--model", TINY).stderr
    result = igpt("compress", jpeg, "-f", "-q", "--json", "--pixels", "--model", TINY)
    assert result.stderr == ""
    assert json.loads(result.stdout)["left_out"][1] == "the JPEG's comment"


def test_metadata_are_kept_or_stripped(photo, tmp_path):
    Image.fromarray(PIXELS).save(photo, dpi=(72, 72))
    for name, options in (("kept", ()), ("stripped", ("--strip",))):
        packed, back = tmp_path / f"{name}.igpt", tmp_path / f"{name}.png"
        assert igpt("compress", photo, packed, "--model", TINY, *options).exit_code == 0
        assert igpt("decompress", packed, back, "--model", TINY).exit_code == 0
        with Image.open(back) as image:
            assert ("dpi" in image.info) == (name == "kept")


def test_info(photo):
    packed = compressed(photo)
    result = igpt("info", packed, "--json")
    assert result.stderr == ""
    fields = json.loads(result.stdout)
    found = codec.info(packed.read_bytes())
    assert [*fields] == ["input", "file_bytes", *asdict(found)]
    assert fields["models"] == [{"name": "tiny", "digest": found.models[0].digest}]
    assert (fields["width"], fields["height"], fields["mode"], fields["digest"]) == (42, 34, "RGB", found.digest)
    assert re.search(r"^models +tiny [0-9a-f]{32}$", igpt("info", packed).stdout, re.MULTILINE)


def test_verify(photo):
    result = igpt("verify", compressed(photo), "--model", TINY)
    assert result.exit_code == 0
    assert "ok, 42x34" in result.stderr


def test_verbose_shows_times_and_tracebacks(photo):
    printed = igpt("compress", photo, "-v", "--model", TINY).stderr
    assert re.search(r"^igpt: \d+\.\d\d s; coded as: .+?(; engine: .*)?$", printed, re.MULTILINE)
    assert "Traceback" in igpt("info", photo, "-v").stderr
    assert "Traceback" not in igpt("info", photo).stderr


def test_usage_errors():
    for arguments in ([], ["compress"], ["nonsense"], ["compress", "a", "--nonsense"], ["compress", "a", "-j", "-1"]):
        assert igpt(*arguments).exit_code == 2


def run(*arguments, **options):
    return subprocess.run([IGPT, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options)


def test_the_installed_command(photo):
    assert run("--version").stdout == f"igpt {codec.__version__}\n"
    assert run("compress", photo, "-j", 1, "--device", "cpu").returncode == 0
    packed = photo.with_suffix(".igpt")
    assert run("decompress", packed, photo, "-f").returncode == 0
    assert (np.asarray(Image.open(photo)) == PIXELS).all()
    bad = run("decompress", photo, "x.png")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == f"igpt: {photo}: this is not an igpt file\n"


def test_help_and_info_are_quick_and_import_no_torch(photo):
    packed = compressed(photo)
    code = "import sys, cli; sys.argv = ['igpt', *sys.argv[1:]]\ntry: cli.app()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    for arguments in (["--help"], ["info", packed], ["compress", packed]):
        result = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert result.stderr.endswith("False\n")
    start = time.perf_counter()
    assert run("--help").returncode == 0
    assert time.perf_counter() - start < 2  # 0.1 s on a quiet machine


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path, number):
    source = tmp_path / "large.png"
    Image.fromarray(picture(1500, 1500, 3)).save(source)
    process = subprocess.Popen([IGPT, "compress", source], stderr=subprocess.PIPE)
    time.sleep(4)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode not in (0, 1, 2)
    assert list(tmp_path.iterdir()) == [source]


def test_a_full_disk_leaves_nothing_behind(photo, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.shutil, "copystat", full)
    assert_refused(igpt("compress", photo, "--model", TINY), 1, "No space left")
    assert [p.name for p in photo.parent.iterdir()] == ["photo.png"]


@pytest.fixture
def tree(tmp_path):
    """Two pictures and something else, in folders."""
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    Image.fromarray(PIXELS).save(tmp_path / "in" / "a.png")
    Image.fromarray(PIXELS[:9]).save(tmp_path / "in" / "deeper" / "b.bmp")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    return tmp_path


def test_folders_are_mirrored(tree):
    result = igpt("compress", "-r", tree / "in", "--out-dir", tree / "out", "--model", TINY)
    assert result.exit_code == 0
    assert "2 of 2 files" in result.stderr.splitlines()[-1]
    assert sorted(p.relative_to(tree / "out").as_posix() for p in (tree / "out").rglob("*.*")) == ["a.igpt", "deeper/b.igpt"]
    assert igpt("decompress", "-r", tree / "out", "--model", TINY).exit_code == 0
    assert (np.asarray(Image.open(tree / "out" / "deeper" / "b.png")) == PIXELS[:9]).all()


def test_several_names_and_one_bad_file(tree):
    bad = tree / "in" / "bad.png"
    bad.write_bytes(b"nonsense")
    names = [tree / "in" / "a.png", bad, tree / "in" / "deeper" / "b.bmp"]
    result = igpt("compress", *names, "--out-dir", tree / "out", "--model", TINY, "--json")
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [set(line) >= {"output", "bytes", "bpsp"} for line in lines] == [True, False, True]
    assert "bad.png" in lines[1]["error"]
    assert "2 of 3 files" in result.stderr.splitlines()[-1]
    assert sorted(p.name for p in (tree / "out").iterdir()) == ["a.igpt", "b.igpt"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_names(count, tmp_path):
    """As `*.png` and `*.igpt` give them."""
    names = [tmp_path / f"{k}.png" for k in range(count)]
    for name in names:
        Image.fromarray(PIXELS).save(name)
    assert igpt("compress", *names, "--model", TINY).exit_code == 0
    packed = [name.with_suffix(".igpt") for name in names]
    assert all(path.exists() for path in packed)
    assert igpt("decompress", *packed, "-f", "--model", TINY).exit_code == 0
    assert sorted(tmp_path.iterdir()) == sorted([*names, *packed])


def test_the_second_name_is_an_output_where_nothing_can_be_lost(photo, tmp_path):
    notes, empty, old, other = (tmp_path / name for name in ("notes.txt", "empty", "old", "plain"))
    notes.write_text("hello")
    result = igpt("compress", photo, notes, "-f", "--model", TINY)
    assert result.exit_code == 1
    assert "notes.txt: this is not a picture" in result.stderr
    assert notes.read_text() == "hello"
    packed = photo.with_suffix(".igpt")
    empty.touch()
    old.write_bytes(packed.read_bytes())
    other.write_bytes(packed.read_bytes())
    for target in (empty, old):
        assert igpt("compress", photo, target, "-f", "--model", TINY).exit_code == 0
        assert target.read_bytes() == packed.read_bytes()
    assert igpt("decompress", packed, other, "-f", "--model", TINY).exit_code == 0
    assert other.read_bytes() == packed.read_bytes()
    assert (np.asarray(Image.open(tmp_path / "plain.png")) == PIXELS).all()


def test_what_is_up_to_date_is_skipped(tree):
    arguments = ("compress", "-r", tree / "in", "--out-dir", tree / "out", "--model", TINY)
    assert igpt(*arguments).exit_code == 0
    assert igpt(*arguments).exit_code == 1  # there already
    again = igpt(*arguments, "--skip-existing")
    assert again.exit_code == 0
    assert "0 of 2 files, 2 up to date" in again.stderr
    os.utime(tree / "in" / "a.png", (4e9, 4e9))
    assert "1 of 2 files" in igpt(*arguments, "--skip-existing", "-f").stderr.splitlines()[-1]


def test_requests_with_several_inputs_that_make_no_sense(tree):
    a, b = tree / "in" / "a.png", tree / "in" / "deeper" / "b.bmp"
    assert_refused(igpt("compress", a, b, "-o", tree / "x.igpt"), 2, "--out-dir")
    assert_refused(igpt("compress", "-", b), 2, "standard input")
    assert_refused(igpt("compress", "/dev/fd/0", b), 2, "/dev/fd/0")
    assert_refused(igpt("compress", tree / "in", "--out-dir", tree / "out"), 2, "-r")
    assert_refused(igpt("compress", a, b, a, "-o", tree / "x.igpt"), 2, "--out-dir")
    assert_refused(igpt("compress", a, a, "--out-dir", tree / "out"), 2, "both")
    assert not (tree / "out").exists()


@pytest.mark.parametrize("suffix", [".ppm", ".bmp", ".tiff", ".webp"])
def test_other_outputs(photo, suffix):
    packed, back = compressed(photo), photo.with_suffix(suffix)
    assert igpt("decompress", packed, back, "--model", TINY).exit_code == 0
    assert (np.asarray(Image.open(back)) == PIXELS).all()


def test_an_output_that_cannot_hold_the_picture_is_refused(photo):
    Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]])).save(photo)
    packed = compressed(photo)
    for suffix in (".ppm", ".bmp"):
        assert_refused(igpt("decompress", packed, photo.with_suffix(suffix), "--model", TINY), 1, "without loss")
        assert not photo.with_suffix(suffix).exists()
    assert igpt("decompress", packed, photo.with_suffix(".webp"), "--model", TINY).exit_code == 0


def test_what_one_cannot_ask_for(photo):
    assert_refused(igpt("compress", photo, "-", "--json"), 2, "standard output")
    assert_refused(igpt("compress", photo, "-", photo, "--out-dir", photo.parent / "out"), 2, "standard input")
    assert igpt("compress", photo, "--model", TINY).exit_code == 0
    assert igpt("compress", photo, "--model", TINY, "--skip-existing").exit_code == 0


def test_a_models_folder_may_have_any_name(photo, tmp_path):
    folder = tmp_path / ("mod\u00e8le " * 12)
    shutil.copytree(TINY, folder)
    assert igpt("compress", photo, "--model", folder).exit_code == 0
    assert igpt("verify", photo.with_suffix(".igpt"), "--model", TINY).exit_code == 0

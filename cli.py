"""The `igpt` command: arguments, messages, exit codes. No codec logic."""

import contextlib
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitstream.errors import IgptError
from codec import manual

if TYPE_CHECKING:
    from codec.image import Picture

FIRST_BYTES = 1 << 16
BLOCK_BYTES = 1 << 24

app = typer.Typer(
    help="Lossless image compression with an ImageGPT transformer and a range coder.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Input = Annotated[Path, typer.Argument(metavar="IN", help="Input file; - for standard input.")]
Output = Annotated[Path | None, typer.Argument(metavar="[OUT]", help="Output file; - for standard output.")]
Inputs = Annotated[
    list[Path], typer.Argument(metavar="IN... [OUT]", help="Input files, or one and its output; - for standard input or output.")
]
OutDir = Annotated[Path | None, typer.Option("--out-dir", metavar="FOLDER", help="Where the outputs go, under their inputs' names.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Go through folders; --out-dir gets the same tree.")]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Leave outputs alone that are not older than their inputs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per file on standard output.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT", help="Output file, instead of [OUT].")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite an existing output file.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FOLDER|ID",
        help="Folder of an integer model, or folder or hub id of a published ImageGPT; default: the models in the package.",
    ),
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a model on the hub.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where the network runs; never changes the result.")]
Threads = Annotated[
    int, typer.Option("--threads", "-j", min=0, help="CPU threads; 0: as many as there are cores. Never changes the result.")
]
MaxPixels = Annotated[int | None, typer.Option("--max-pixels", min=1, help="Refuse larger pictures; default: 178,956,970.")]
UsePast = Annotated[
    bool,
    typer.Option("--past/--no-past", help="Code what a decoded JPEG or PhotoCD was made of, where it is recognised."),
]
Preserve = Annotated[bool, typer.Option("--preserve/--no-preserve", help="Copy the modification time and the mode bits.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print times, and tracebacks of errors.")]


class RequestError(Exception):
    """The request itself makes no sense or would destroy something: exit code 2 for the former, 1 for the latter."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def say(text: str) -> None:
    print(text, file=sys.stderr)


@contextlib.contextmanager
def reported(source: Path, verbose: bool) -> Iterator[dict[str, str]]:
    """Turns errors into one sentence on stderr and an exit code; the sentence is also put into what it gives, as "error"."""
    name = "standard input" if str(source) == "-" else str(source)
    said: dict[str, str] = {}

    def fail(text: str) -> None:
        said["error"] = text
        say(f"igpt: {text}")

    try:
        yield said
    except RequestError as error:
        fail(str(error))
        raise typer.Exit(error.code) from None
    except (IgptError, OSError) as error:
        if verbose:
            traceback.print_exc()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        where = getattr(error, "filename", None) or name
        fail(reason if reason.startswith(f"{where}: ") else f"{where}: {reason}")
        raise typer.Exit(1) from None
    except MemoryError:
        fail(f"{name}: there is not enough memory")
        raise typer.Exit(1) from None


def read(source: Path, plausible: Callable[[bytes], int]) -> bytes:
    """The whole input, but no more than it can be: `plausible` is shown how it begins, and gives its largest size or raises IgptError."""
    with contextlib.nullcontext(sys.stdin.buffer) if str(source) == "-" else source.open("rb") as stream:
        blocks = [stream.read(FIRST_BYTES)]
        left = plausible(blocks[0]) - len(blocks[0]) + 1
        while left > 0 and (block := stream.read(min(left, BLOCK_BYTES))):
            blocks.append(block)
            left -= len(block)
        return b"".join(blocks)


def read_picture(source: Path, max_pixels: int | None) -> tuple["Picture", int]:
    """The picture, and the size of its file in bytes."""
    import io

    from codec.image import MAX_PIXELS, largest_picture_file, open_picture

    limit = MAX_PIXELS if max_pixels is None else max_pixels
    data = read(source, lambda start: largest_picture_file(start, limit))
    return open_picture(io.BytesIO(data), limit), len(data)


def destination(source: Path, out: Path | None, option: Path | None, suffix: str, force: bool) -> Path:
    """Where the output goes. Raises RequestError where that would be a mistake."""
    if out and option:
        msg = "the output is named twice"
        raise RequestError(msg)
    target = out or option
    if target is None:
        target = Path("-") if str(source) == "-" else source.with_suffix(suffix)
    if str(target) == "-":
        if sys.stdout.isatty():
            msg = "refusing to write binary data to a terminal: name an output file or use a pipe"
            raise RequestError(msg)
        return target
    target = target.resolve() if target.is_symlink() else target
    if target.is_dir():
        msg = f"{target} is a folder: name an output file"
        raise RequestError(msg)
    if str(source) != "-" and source.exists() and target.exists() and source.samefile(target):
        msg = f"{target} is the input itself"
        raise RequestError(msg)
    refuse_overwriting(target, force)
    return target


def refuse_overwriting(target: Path, force: bool) -> None:
    if target.is_file() and not force:
        msg = f"{target} exists already; use --force to overwrite it"
        raise RequestError(msg, code=1)


def write(target: Path, source: Path, preserve: bool, force: bool, save: Callable[[Any], object]) -> None:
    """Lets `save` fill a temporary file beside `target`, which then takes its place at once, or leaves nothing behind."""
    if str(target) == "-":
        save(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    if target.exists() and not target.is_file():  # a device or a named pipe
        with target.open("wb") as stream:
            save(stream)
        return
    handle, name = tempfile.mkstemp(prefix=".igpt-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            save(stream)
        if preserve and str(source) != "-":
            shutil.copystat(source, name)
        else:
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod((stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH) & ~mask)
        refuse_overwriting(target, force)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


stopped: list[int] = []  # signals that asked to stop


def stop(number: int, _: object) -> None:
    stopped.append(number)
    leave_if_stopped()


def leave_if_stopped() -> None:
    """Also called while work goes on: an exception that a signal raises amid a compilation is lost."""
    if stopped:
        raise SystemExit(128 + stopped[0])


@contextlib.contextmanager
def progress_bar(pixels: int, what: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar in megapixels on stderr, on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: leave_if_stopped()
        return
    from tqdm import tqdm

    with tqdm(total=pixels / 1e6, desc=what, unit="MP", leave=False, bar_format="{desc}: {percentage:3.0f}% |{bar}| {remaining}") as bar:

        def update(pixels: int) -> None:
            leave_if_stopped()
            bar.update(pixels / 1e6)

        yield update


def use_threads(threads: int) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)


@app.command()
def compress(
    inputs: Inputs,
    option: OutputOption = None,
    out_dir: OutDir = None,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    as_json: AsJson = False,
    force: Force = False,
    model: Model = None,
    revision: Revision = None,
    palette_only: Annotated[
        bool, typer.Option("--palette-only", help="With a published ImageGPT: refuse pictures with other colours than its palette's.")
    ] = False,
    use_past: UsePast = True,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out metadata: colour profile, EXIF, XMP, text, resolution, time.")] = False,
    device: Device = "auto",
    threads: Threads = 0,
    max_pixels: MaxPixels = None,
    preserve: Preserve = True,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compress pictures: IN OUT, or with --out-dir, -r or more than two names all are inputs.

    An output is by default the input with the extension .igpt.
    """

    def one(source: Path, target: Path, quiet: bool) -> tuple[str, dict[str, Any]]:
        start = time.perf_counter()
        picture, file_bytes = read_picture(source, max_pixels)
        if strip:
            picture = picture.stripped()
        elif picture.left_out and not quiet:
            say(f"igpt: {source}: note: not stored: {', '.join(picture.left_out)}")
        from codec import compress_picture, info

        use_threads(threads)
        height, width, _ = picture.pixels.shape
        with progress_bar(height * width, source.name, quiet) as progress:
            packed = compress_picture(
                picture,
                model=model,
                revision=revision,
                palette_only=palette_only,
                device=device,
                past=use_past,
                progress=progress,
            )
        write(target, source, preserve, force, lambda stream: stream.write(packed))
        seconds = time.perf_counter() - start
        if verbose:
            header = info(packed)
            say(f"igpt: {seconds:.2f} s; coded as: {header.get('past', header['kind'])}")
        raw, bpsp = picture.pixels.size * picture.form.depth / 8, 8 * len(packed) / picture.pixels.size
        ratios = f"{len(packed) / file_bytes:.3f} of the input file, {len(packed) / raw:.3f} of raw"
        figures = {"input_bytes": file_bytes, "bytes": len(packed), "bpsp": round(bpsp, 4), "seconds": round(seconds, 3)}
        return f"{len(packed):,} bytes, {bpsp:.3f} bpsp, {ratios}", figures

    from codec.image import SUFFIXES

    on_files(one, inputs, option, out_dir, recursive, skip_existing, as_json, ".igpt", SUFFIXES, force, quiet, verbose)


@app.command()
def decompress(
    inputs: Inputs,
    option: OutputOption = None,
    out_dir: OutDir = None,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    as_json: AsJson = False,
    force: Force = False,
    model: Model = None,
    device: Device = "auto",
    threads: Threads = 0,
    max_pixels: MaxPixels = None,
    preserve: Preserve = True,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decompress igpt files to PNG, or to what OUT's extension says: PPM, BMP, TIFF, lossless WebP.

    IN OUT, or with --out-dir, -r or more than two names all are inputs. An output is by default the input with the extension .png.
    """

    def one(source: Path, target: Path, quiet: bool) -> tuple[str, dict[str, Any]]:
        from codec.image import OUTPUTS, written_as

        if target.suffix.lower() not in ("", ".png", *OUTPUTS):
            msg = f"{target}: the output cannot be {target.suffix}; choose .png, {', '.join(OUTPUTS)}"
            raise RequestError(msg)
        start = time.perf_counter()
        picture = decompressed(source, model, device, threads, max_pixels, quiet)
        data = written_as(picture, target.suffix)
        write(target, source, preserve, force, lambda stream: stream.write(data))
        seconds = time.perf_counter() - start
        if verbose:
            say(f"igpt: {seconds:.2f} s")
        return picture.described, {"bytes": len(data), "seconds": round(seconds, 3)}

    on_files(one, inputs, option, out_dir, recursive, skip_existing, as_json, ".png", (".igpt",), force, quiet, verbose)


def on_files(
    work: Callable[[Path, Path, bool], tuple[str, dict[str, Any]]],
    inputs: list[Path],
    option: Path | None,
    out_dir: Path | None,
    recursive: bool,
    skip_existing: bool,
    as_json: bool,
    suffix: str,
    wanted: Collection[str],
    force: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Does the work on every input, whatever happens to the others, and says what came of it."""
    pairs: list[tuple[Path, Path | None]] = []
    with reported(inputs[0], verbose):
        several = bool(out_dir or recursive or len(inputs) > 2)
        if several:
            pairs += planned(inputs, option, out_dir, recursive, suffix, wanted)
        else:
            pairs.append((inputs[0], inputs[1] if len(inputs) > 1 else None))
            refuse_pictures_as_output(inputs[0], pairs[0][1] or option, suffix)
    done, skipped, failed = [], 0, 0
    for source, out in pairs:
        try:
            with reported(source, verbose) as said:
                if skip_existing and is_up_to_date(source, out or option or source.with_suffix(suffix)):
                    skipped += 1
                    continue
                if several and out:
                    out.parent.mkdir(parents=True, exist_ok=True)
                target = destination(source, out, None if several else option, suffix, force)
                if as_json and str(target) == "-":
                    msg = "--json and the output would both go to standard output"
                    raise RequestError(msg)
                text, figures = work(source, target, quiet or (several and not verbose))
                done.append(figures)
                if as_json:
                    print(json.dumps({"input": str(source), "output": str(target), **figures}), flush=True)
                elif not quiet:
                    say(f"{source} -> {target}: {text}")
        except typer.Exit as error:
            if not several:
                raise
            failed = max(failed, error.exit_code)
            if as_json:
                print(json.dumps({"input": str(source), "error": said["error"]}), flush=True)
    if several and not quiet:
        counted = f"{len(done)} of {len(pairs)} files, {sum(figures['bytes'] for figures in done):,} bytes"
        before = sum(figures.get("input_bytes", 0) for figures in done)
        say(counted + (f" from {before:,}" if before else "") + (f", {skipped} up to date" if skipped else ""))
    if failed:
        raise typer.Exit(1)


def planned(
    inputs: list[Path], option: Path | None, out_dir: Path | None, recursive: bool, suffix: str, wanted: Collection[str]
) -> Iterator[tuple[Path, Path]]:
    """Inputs with their outputs: folders are gone through, and mirrored in out_dir. Raises RequestError where two have the same output."""
    if option:
        msg = "several inputs have several outputs: use --out-dir"
        raise RequestError(msg)
    if Path("-") in inputs:
        msg = "standard input cannot be one of several inputs"
        raise RequestError(msg)
    taken: dict[Path, Path] = {}
    for path in inputs:
        if path.is_dir() and not recursive:
            msg = f"{path} is a folder: use -r to go through it"
            raise RequestError(msg)
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in wanted and p.is_file()) if path.is_dir() else [path]
        for source in found:
            place = source.relative_to(path) if path.is_dir() else Path(source.name)
            target = ((out_dir / place) if out_dir else source).with_suffix(suffix)
            if target in taken:
                msg = f"{taken[target]} and {source} would both become {target}"
                raise RequestError(msg)
            taken[target] = source
            yield source, target


def is_up_to_date(source: Path, target: Path) -> bool:
    return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime


def refuse_pictures_as_output(source: Path, target: Path | None, suffix: str) -> None:
    """What looks like a second input is no output of `compress`."""
    from codec.image import SUFFIXES

    if target and target != source and suffix == ".igpt" and target.suffix.lower() in SUFFIXES:
        msg = f"{target} looks like a picture, not like an output: name it .igpt, or use --out-dir for several inputs"
        raise RequestError(msg)


@app.command()
def verify(
    source: Input,
    model: Model = None,
    device: Device = "auto",
    threads: Threads = 0,
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decompress an igpt file and compare its pixels with their digest, writing nothing."""
    with reported(source, verbose):
        picture = decompressed(source, model, device, threads, max_pixels, quiet)
        if not quiet:
            say(f"{source}: ok, {picture.described}")


def decompressed(source: Path, model: str | None, device: str, threads: int, max_pixels: int | None, quiet: bool) -> "Picture":
    from codec import decompress_picture, info, largest_file

    data = read(source, largest_file)
    header = info(data)
    use_threads(threads)
    with progress_bar(header["width"] * header["height"], source.name, quiet) as progress:
        return decompress_picture(data, model=model, device=device, max_pixels=max_pixels, progress=progress)


@app.command("info")
def show_info(
    source: Input,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    verbose: Verbose = False,
) -> None:
    """Print what an igpt file's header says; nothing is decompressed."""
    with reported(source, verbose):
        from codec import info, largest_file

        data = read(source, largest_file)
        fields = {"file_bytes": len(data), **info(data)}
        if as_json:
            print(json.dumps(fields))
        else:
            width = max(map(len, fields))
            for name, value in fields.items():
                print(f"{name.replace('_', ' '):{width}}  {value}")


@app.command()
def heatmap(
    source: Input,
    out: Output = None,
    option: OutputOption = None,
    force: Force = False,
    model: Model = None,
    use_past: UsePast = True,
    device: Device = "auto",
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw where a picture's bits go: the picture, and the bits of each channel (of a drawing's channels together) from black (0) to
    pale yellow (8 or more).

    OUT is by default IN with the extension .heat.png.
    """
    with reported(source, verbose):
        target = destination(source, out, option, ".heat.png", force)
        pixels = read_picture(source, max_pixels)[0].plain_pixels
        from codec import models, what_is_coded
        from codec.analysis import bits_of_drawing, bits_per_pixel, costs_of, heat_map

        _, coded = what_is_coded(pixels, models.chosen(model), device, use_past)
        channels = bits_per_pixel(costs_of(coded), coded) if coded else bits_of_drawing(pixels)
        write(target, source, False, force, lambda stream: heat_map(pixels, channels.values()).save(stream, "PNG"))
        if not quiet:
            shares = ", ".join(f"{name} {bits.mean():.3f}" for name, bits in channels.items())
            say(f"{source} -> {target}: bits per pixel: {shares}")


@app.command()
def sample(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="PNG for the grid of pictures.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1024, help="Pictures to draw.")] = 16,
    complete: Annotated[Path | None, typer.Option(metavar="IN", help="Keep the upper half of this picture's 32x32 thumbnail.")] = None,
    temperature: Annotated[float, typer.Option(min=0.01, max=10, help="Below 1: likelier pictures; above: wilder ones.")] = 1.0,
    top_k: Annotated[int, typer.Option(min=0, max=256, help="Draw from the K likeliest tokens only; 0: from all.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures on the same machine.")] = 0,
    force: Force = False,
    model: Model = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw 32x32 pictures from a model, the way the decoder works, with chance in the place of a file."""
    with reported(complete or out, verbose):
        target = destination(Path("-"), out, None, ".png", force)
        import numpy as np
        from PIL import Image

        given = None
        if complete:
            picture = read_picture(complete, None)[0].plain_pixels
            whole = Image.fromarray(picture.repeat(4 - picture.shape[-1], -1)[..., :3])
            given = np.asarray(whole.resize((32, 32), Image.Resampling.LANCZOS))
        from codec import models
        from codec.devices import device_named
        from codec.sampling import draw, grid_of

        network = models.of_layout(models.chosen(model), "rgb", device_named(device))
        with progress_bar(count * 1024, "sample", quiet) as progress:
            pictures = draw(network, count, seed, temperature, top_k, given, progress)
        sheet = grid_of(pictures if given is None else [given, *pictures])
        write(target, Path("-"), False, force, lambda stream: sheet.save(stream, "PNG"))


@app.command()
def train(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of lossless training pictures.", exists=True, file_okay=False)
    ],
    validation: Annotated[Path, typer.Option(help="Folder of pictures for validation.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the checkpoint; an unfinished training there goes on.")],
    steps: Annotated[int, typer.Option(min=1, help="Batches in all.")] = 13000,
    tiles: Annotated[int, typer.Option(min=1, help="Tiles per batch.")] = 12,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 6e-3,
    config: Annotated[Path | None, typer.Option(help="Folder with the config.json to use.", exists=True)] = None,
    layout: Annotated[str | None, typer.Option(metavar="rgb|ycc", help="What to code: pixels, or luma and chroma of pasts.")] = None,
    start_from: Annotated[Path | None, typer.Option(help="Checkpoint folder whose weights to begin with.", exists=True)] = None,
    quantize_from: Annotated[float, typer.Option(min=0, max=1, help="Share of the steps after which integers are simulated.")] = 0.88,
    sources: Annotated[Path | None, typer.Option(help="Text on the data's sources and licences, for the model card.", exists=True)] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model; write its float checkpoint, its integer form and a model card."""
    with reported(folders[0], verbose):
        from codec.devices import device_named
        from codec.network.config import ModelConfig
        from codec.training.card import finish
        from codec.training.loop import train as run

        chosen = ModelConfig.load(folder) if (folder := start_from or config) else ModelConfig()
        chosen = replace(chosen, layout=layout or chosen.layout)
        run(folders, validation, out, steps, chosen, device_named(device), tiles, rate, start_from, quantize_from, quiet)
        finish(out, folders, validation, sources.read_text() if sources else "", device_named(device))


@app.command()
def quantize(
    source: Input,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="PNG; - for standard output.")],
    model: Annotated[str, typer.Option("--model", metavar="FOLDER|ID", help="Folder or hub id of a published ImageGPT.")],
    revision: Revision = None,
    force: Force = False,
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a picture in the colours of a published ImageGPT's palette. This is lossy; the result compresses without loss as any other."""
    with reported(source, verbose):
        target = destination(source, out, None, ".png", force)
        if str(target) != "-" and target.suffix.lower() != ".png":
            msg = f"{target}: the output is a PNG; name it .png"
            raise RequestError(msg)
        pixels = read_picture(source, max_pixels)[0].plain_pixels
        from codec import models
        from codec.devices import device_named
        from codec.image import image_of
        from codec.palette.packing import quantized

        palette = models.with_palette(model, revision, device_named("cpu")).palette
        image = image_of(quantized(palette, pixels))
        write(target, source, False, force, lambda stream: image.save(stream, "PNG"))
        if not quiet:
            say(f"{source} -> {target}: in the {len(palette)} colours of the model's palette; this was lossy")


models_app = typer.Typer(rich_markup_mode=None)
app.add_typer(models_app, name="models")


@models_app.callback(invoke_without_command=True)
def list_models(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list instead of a table.")] = False
) -> None:
    """List the models on this machine: what files name them by, size, licence, and the bits per subpixel that were measured with them.

    Those were measured on single 32x32 tiles of photographs that training did not see; whole pictures take less.
    """
    if context.invoked_subcommand:
        return
    with reported(Path("models"), False):
        from codec import models

    found = []
    for folder in (*models.shipped(), *models.added()):
        with reported(folder, False), contextlib.suppress(typer.Exit):
            found.append(models.described(folder))
    if as_json:
        print(json.dumps(found))
        return
    table = [("name", "digest", "layout", "MB", "licence", "bpsp", "folder")]
    for m in found:
        rates = ", ".join(f"{kind} {rate:.3f}" for kind, rate in m["bpsp"].items())
        table.append((m["name"], m["digest"], m["layout"], f"{m['bytes'] / 1e6:.1f}", m["licence"] or "?", rates or "?", m["folder"]))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.rjust(n) if k == 3 else cell.ljust(n) for k, (cell, n) in enumerate(zip(row, widths, strict=True))).rstrip())


@models_app.command("add")
def add_model(
    source: Annotated[str, typer.Argument(metavar="FOLDER|ID", help="Folder or hub id of a published ImageGPT, as openai/imagegpt-small.")],
    revision: Revision = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Convert a published ImageGPT to integers and keep it.

    Files that are made with it need it for decompression. It is kept in the first folder of IGPT_MODEL_PATH, by default in the user's data
    folder. A hub id is downloaded if it is not in the hub's cache.
    """
    with reported(Path(source), verbose):
        from codec import models
        from codec.devices import device_named

        folder = models.add(source, revision)
        if not quiet:
            say(f"{source}: {models.read(folder, device_named('cpu')).digest.hex()}, in {folder}")


def version(show: bool) -> None:
    if show:
        from codec import __version__

        print(f"igpt {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=version, is_eager=True)] = False,
) -> None:
    pass


manual.describe(app)


def main() -> None:
    """The entry point. A terminated or interrupted run cleans up after itself as any other error does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    app()


if __name__ == "__main__":
    main()

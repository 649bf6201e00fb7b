"""The `igpt` command: arguments, messages, exit codes. No codec logic."""

import contextlib
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from bitstream.constants import MAGIC
from bitstream.errors import IgptError
from codec import manual
from codec.box import Box
from codec.many.executors import executed
from codec.many.files import PIPE, RequestError, destination, fill_streams, flush, is_file, output_of, put, read, sentence, stream_of, write
from codec.many.planning import Plan, listed, planned
from codec.many.stopping import leave_if_stopped, stop
from codec.many.tasks import Compression, Decompression, Report, Result, Task, Verification
from codec.messages import Bar, above_bar, say, show_log
from codec.options import LARGEST_ERROR, Level, Lossy, Options

if TYPE_CHECKING:
    from codec.pictures.picture import Picture

IGPT = (".igpt",)

app = typer.Typer(
    help="Lossless image compression with an ImageGPT transformer and a range coder.\n\n"
    "`igpt COMMAND --help` has the options of a command, and examples.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def name(text: str) -> Path:
    """An argument that names a file."""
    if not text:
        msg = "an empty name is that of no file"
        raise typer.BadParameter(msg)
    return Path(text)


def box(text: str) -> Box:
    """An argument that says which part of a picture is wanted."""
    try:
        left, top, width, height = map(int, text.split(","))
    except ValueError:
        msg = f"{text!r} is not X,Y,W,H, four whole numbers"
        raise typer.BadParameter(msg) from None
    return Box(left, top, left + width, top + height)


def names_of_models(begun: str) -> list[str]:
    """Those of the models on this machine that begin so, for shells that complete."""
    from codec import models

    return [folder.name for folder in (*models.shipped(), *models.added()) if folder.name.startswith(begun)]


Packed = Annotated[list[Path], typer.Argument(metavar="IN...", parser=name, help="igpt files; - for standard input.")]
Input = Annotated[Path, typer.Argument(metavar="IN", parser=name, help="Input file; - for standard input.")]
Output = Annotated[Path | None, typer.Argument(metavar="[OUT]", parser=name, help="Output file; - for standard output.")]
Inputs = Annotated[
    list[Path],
    typer.Argument(metavar="IN... [OUT]", parser=name, help="Input files, or one and its output; - for standard input or output."),
]
OutDir = Annotated[
    Path | None, typer.Option("--out-dir", metavar="FOLDER", parser=name, help="Where the outputs go, under their inputs' names.")
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Go through folders; --out-dir gets the same tree.")]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Leave outputs alone that are not older than their inputs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per file on standard output.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT", parser=name, help="Output file, instead of [OUT].")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite an existing output file.")]
AtLevel = Annotated[
    Level,
    typer.Option("--level", help="How much work a smaller file is worth; decompressing it is nearly as much."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FOLDER|NAME|ID",
        autocompletion=names_of_models,
        help="Folder of an integer model, name or digest of one that `igpt models` lists, or folder or hub id of a published ImageGPT; "
        "default: the models in the package.",
    ),
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a model on the hub.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where the network runs; never changes the result.")]
Threads = Annotated[
    int, typer.Option("--threads", min=0, help="CPU threads of each process; 0: share the cores. Never changes the result.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Files at a time, each in a process of its own.")]
OnRay = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on a Ray cluster: auto, HOST:PORT, ray://HOST:PORT, or local for one of --jobs processes.",
    ),
]
MaxPixels = Annotated[int | None, typer.Option("--max-pixels", min=1, help="Refuse larger pictures; default: 178,956,970.")]
UsePast = Annotated[
    bool,
    typer.Option("--past/--no-past", help="Where a picture is a decoded JPEG or PhotoCD, code what it was decoded from: that is smaller."),
]
Preserve = Annotated[bool, typer.Option("--preserve/--no-preserve", help="Copy the modification time and the mode bits.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only, and what is not stored where --json does not say it.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print times, the engine, and tracebacks of errors.")]


@contextlib.contextmanager
def reported(source: Path, verbose: bool) -> Iterator[None]:
    """Turns errors into one sentence on stderr and an exit code."""
    show_log(verbose)
    try:
        yield
    except (RequestError, IgptError, OSError, MemoryError) as error:
        if verbose and not isinstance(error, RequestError):
            traceback.print_exc()
        say(f"igpt: {sentence(error, source)}")
        raise typer.Exit(error.code if isinstance(error, RequestError) else 1) from None


def read_picture(source: Path, max_pixels: int | None) -> "Picture":
    """A picture file. Raises IgptError or OSError."""

    from codec.pictures.reading import MAX_PIXELS, largest_picture_file, open_picture

    limit = MAX_PIXELS if max_pixels is None else max_pixels
    data = read(source, lambda start: largest_picture_file(start, limit))
    return open_picture(io.BytesIO(data), limit)


def picture_shown(data: bytes, options: Options, report: Report) -> "tuple[Picture, bool]":
    """What a picture file or an igpt file shows, and whether that is what a JPEG file decodes to. Raises IgptError."""
    from bitstream import container
    from codec.decompression import decompress_file
    from codec.pictures import kept
    from codec.pictures.formats import format_of
    from codec.pictures.reading import MAX_PIXELS, open_picture

    if not data.startswith(MAGIC):
        return open_picture(io.BytesIO(data), MAX_PIXELS if options.max_pixels is None else options.max_pixels), format_of(data) == "JPEG"
    file = container.read(data)
    report(0, file.head.pixels)
    picture = decompress_file(file, options, lambda pixels: report(pixels, 0))
    return (kept.picture_shown(picture, options.max_pixels), True) if picture.is_file else (picture, False)


@contextlib.contextmanager
def progress_bar(pixels: int, what: str, quiet: bool) -> Iterator[Report]:
    """A progress bar on stderr, on a terminal only."""
    with Bar(what, pixels, hidden=quiet or not sys.stderr.isatty()) as bar:

        def report(pixels: int, more: int) -> None:
            leave_if_stopped()
            bar.update(pixels, more)

        yield report


@app.command()
def compress(
    inputs: Inputs,
    option: OutputOption = None,
    out_dir: OutDir = None,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    jobs: Jobs = 1,
    ray: OnRay = None,
    as_json: AsJson = False,
    force: Force = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Decompress all of the result and compare it; without, the beginning of every part is.")
    ] = False,
    delete_input: Annotated[
        bool, typer.Option("--delete-input", help="Remove each input when its output is verified and safely on the disk.")
    ] = False,
    level: AtLevel = Level.DEFAULT,
    model: Model = None,
    revision: Revision = None,
    palette_only: Annotated[
        bool, typer.Option("--palette-only", help="With a published ImageGPT: refuse pictures with other colours than its palette's.")
    ] = False,
    use_past: UsePast = True,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Of JPEG files code the decoded pixels; they do not come back as the files they were.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Put a lossy picture of an eighth of the sides in, too, which `igpt thumbnail` shows at once.")
    ] = False,
    max_error: Annotated[
        int,
        typer.Option(
            "--max-error",
            metavar="K",
            min=0,
            max=LARGEST_ERROR,
            help="Lossy: no sample differs by more than K, 1 to 16, of 16 bits to 4096. JPEG files, palettes and alpha stay as they are.",
        ),
    ] = 0,
    lossy: Annotated[
        Lossy | None,
        typer.Option(
            "--lossy",
            help="Lossy: pictures of 8 bits come near to what they were, in far fewer bytes. JPEG files, palettes and alpha stay.",
        ),
    ] = None,
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave out metadata: colour profile, EXIF, XMP, text, resolution, time. Implies --pixels.")
    ] = False,
    device: Device = "auto",
    threads: Threads = 0,
    max_pixels: MaxPixels = None,
    preserve: Preserve = True,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compress pictures: one, from IN to OUT; or many: with --out-dir, with -r, or of more than two names all are inputs.

    JPEG files come back byte for byte, pictures of other formats pixel for pixel (but for --max-error and --lossy), with their metadata.

    Of two names the second is an input, too, if it has a picture's extension, or is a file with something else in it than an igpt file; -o
    names an output in any case.

    An output is by default the input with the extension .igpt. It gets its name after a check: its beginnings, or with --verify all of it,
    are decompressed and compared with the input.
    """
    from codec.pictures.reading import SUFFIXES

    with reported(inputs[0], verbose):
        if strip and delete_input:
            msg = "--strip and --delete-input together would lose the metadata"
            raise RequestError(msg)
        if (max_error or lossy) and delete_input:
            msg = f"{'--max-error' if max_error else '--lossy'} and --delete-input together would lose what the pictures were"
            raise RequestError(msg)
        if lossy and (max_error or palette_only or not use_past):
            msg = "--lossy does not go with --max-error, --palette-only or --no-past"
            raise RequestError(msg)
    options = Options(
        model=model,
        revision=revision,
        palette_only=palette_only,
        level=level,
        device=device,
        past=use_past,
        pixels=pixels,
        verify=verify,
        preview=preview,
        max_error=max_error,
        lossy=lossy or "",
        max_pixels=max_pixels,
    )
    task = Compression(
        options=options,
        strip=strip,
        delete_input=delete_input,
        threads=threads,
        force=force,
        skip_existing=skip_existing,
        preserve=preserve,
        folders=out_dir is not None,
        verbose=verbose,
    )
    with reported(inputs[0], verbose):
        plan = planned(inputs, option, out_dir, recursive, task.suffix_for, SUFFIXES)
        require_one_output(plan, as_json)
    on_files(task, plan, jobs, ray, as_json, quiet)


@app.command()
def decompress(
    inputs: Inputs,
    option: OutputOption = None,
    out_dir: OutDir = None,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    jobs: Jobs = 1,
    ray: OnRay = None,
    as_json: AsJson = False,
    force: Force = False,
    crop: Annotated[
        Box | None,
        typer.Option(
            "--crop", metavar="X,Y,W,H", parser=box, help="Only W x H pixels, from column X and row Y on; the rest is not decoded."
        ),
    ] = None,
    model: Model = None,
    device: Device = "auto",
    threads: Threads = 0,
    max_pixels: MaxPixels = None,
    preserve: Preserve = True,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decompress igpt files to PNG, or to what OUT's extension says: PPM, BMP, TIFF, lossless WebP; to the JPEG file that there was.

    One, from IN to OUT; or many: with --out-dir, with -r, or of more than two names all are inputs. Of two names the second is an input,
    too, if it ends in .igpt, or is an igpt file; -o names an output in any case. An output is by default the input with the extension
    .png, or .jpg where a JPEG file comes back. To another extension its pixels are written.
    """
    task = Decompression(
        options=Options(model=model, device=device, max_pixels=max_pixels, box=crop),
        threads=threads,
        force=force,
        skip_existing=skip_existing,
        preserve=preserve,
        folders=out_dir is not None,
        verbose=verbose,
    )
    with reported(inputs[0], verbose):
        plan = planned(inputs, option, out_dir, recursive, task.suffix_for, IGPT)
        require_one_output(plan, as_json)
    on_files(task, plan, jobs, ray, as_json, quiet)


def require_one_output(plan: Plan, as_json: bool) -> None:
    """Raises RequestError where the output itself goes where its figures are to go, too."""
    if as_json and not plan.several and (plan.jobs[0].target == PIPE or stream_of(plan.jobs[0].target) == 1):
        msg = "--json and the output would both go to standard output"
        raise RequestError(msg)


def on_files(task: Task, plan: Plan, count: int, ray: str | None, as_json: bool, quiet: bool) -> None:
    """Does the task with every input, whatever happens to the others, and says what came of it."""
    jobs = [task.measured(job) for job in plan.jobs] if plan.several else plan.jobs
    for note in plan.notes if not quiet else ():
        say(f"igpt: {note}")
    for result in plan.unread:
        show_result(result, as_json, quiet, task.verbose)
    results: list[Result] = []
    what = f"{len(jobs)} files" if plan.several else jobs[0].source.name
    with reported(Path(what), task.verbose), progress_bar(sum(job.pixels for job in jobs), what, quiet) as report:
        for result in executed(task, jobs, count, ray, report):
            results.append(result)
            show_result(result, as_json and (plan.several or not result.error), quiet, task.verbose)
    if plan.several and not quiet:
        show_sum(results)
    failed = [result.code for result in (*plan.unread, *results) if result.error]
    if failed:
        raise typer.Exit(1 if plan.several else failed[0])


def show_result(result: Result, as_json: bool, quiet: bool, verbose: bool) -> None:
    """What came of a job."""
    source, target, output = str(result.job.source), str(result.job.target), result.output
    if result.error:
        say(f"igpt: {result.error}")
        if as_json:
            put_object(input=source, error=result.error)
    elif output:
        if output.note and not (quiet and as_json):
            say(f"igpt: {source}: note: {output.note}")
        if verbose:
            say(f"igpt: {output.details}")
        if as_json:
            put_object(input=source, **({} if target == source else {"output": target}), **output.figures)
        elif not quiet:
            say(f"{source if target == source else f'{source} -> {target}'}: {output.text}")


def show_sum(results: list[Result]) -> None:
    """What came of all jobs."""
    done = [result.output.figures for result in results if result.output]
    skipped = sum(not result.output and not result.error for result in results)
    written, before = (sum(figures.get(name, 0) for figures in done) for name in ("bytes", "input_bytes"))
    counted = f"{len(done)} of {len(results)} files" + (f", {written:,} bytes" if written else "")
    say(counted + (f" from {before:,}" if before else "") + (f", {skipped} up to date" if skipped else ""))


def put_object(**fields: Any) -> None:
    with above_bar():
        put(json.dumps(fields))


@app.command()
def verify(
    inputs: Packed,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Go through folders.")] = False,
    jobs: Jobs = 1,
    ray: OnRay = None,
    as_json: AsJson = False,
    model: Model = None,
    device: Device = "auto",
    threads: Threads = 0,
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decompress igpt files and compare their pixels with their digests, writing nothing.

    The exit code is 0 if all of them are right.
    """
    task = Verification(options=Options(model=model, device=device, max_pixels=max_pixels), threads=threads, verbose=verbose)
    with reported(inputs[0], verbose):
        plan = listed(inputs, recursive, IGPT)
    on_files(task, plan, jobs, ray, as_json, quiet)


@app.command("info")
def show_info(
    inputs: Packed,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Go through folders.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Print what igpt files say at their beginning: size, form, metadata, how they are coded, by which models. Nothing is decompressed."""
    with reported(inputs[0], verbose):
        plan = listed(inputs, recursive, IGPT)
    for note in plan.notes:
        say(f"igpt: {note}")
    for result in plan.unread:
        say(f"igpt: {result.error}")
    failed = bool(plan.unread)
    for source in (job.source for job in plan.jobs):
        try:
            with reported(source, verbose):
                put(json.dumps(told(source)) if as_json else "\n".join([*in_columns(told(source)), *([""] if plan.several else [])]))
        except typer.Exit:
            failed = True
    if failed:
        raise typer.Exit(1)


def in_columns(fields: dict[str, Any]) -> list[str]:
    """Names and values, for people."""
    width = max(map(len, fields))
    return [f"{name.replace('_', ' '):{width}}  {in_line(value)}".rstrip() for name, value in fields.items()]


def told(source: Path) -> dict[str, Any]:
    """What the beginning of an igpt file says, as plain values. Raises IgptError or OSError."""
    from bitstream import container
    from codec.description import info_of

    data = read(source, container.largest_file)
    fields = {"input": str(source), "file_bytes": len(data), **asdict(info_of(container.read_front(data)))}
    fields["models"] = [{"name": name, "digest": digest} for name, digest in fields["models"]]
    return fields


def in_line(value: Any) -> str:
    """A field's value for people: commas between its parts, spaces inside of these."""
    if isinstance(value, list | tuple):
        return ", ".join(map(in_line, value))
    return " ".join(part for part in value.values() if part) if isinstance(value, dict) else str(value)


def png_destination(source: Path, target: Path, force: bool) -> Path:
    """As `destination`, of a PNG. Raises RequestError for the extension of something else."""
    if target.suffix.lower() not in ("", ".png"):
        msg = f"{target}: the output is a PNG; name it .png"
        raise RequestError(msg)
    return destination(source, target, force)


@app.command()
def heatmap(
    source: Input,
    out: Output = None,
    option: OutputOption = None,
    force: Force = False,
    level: AtLevel = Level.DEFAULT,
    model: Model = None,
    use_past: UsePast = True,
    device: Device = "auto",
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw where a picture's bits go: the picture, and the bits of each channel (of a drawing's channels together) from black (0) to
    pale yellow (8 or more). Channels without any bits are left out.

    IN is a picture of 8-bit RGB or greyscale, or an igpt file of one, which is decompressed first. Of JPEG files, those in igpt files too,
    the pixels that they decode to are coded. OUT is by default IN with the extension .heat.png.
    """
    with reported(source, verbose):
        target = png_destination(source, output_of(source, out, option, lambda _: ".heat.png"), force)
        from bitstream import container
        from codec.analysis import bits_per_pixel, heat_map
        from codec.pictures.reading import MAX_PIXELS, largest_picture_file

        limit, options = max_pixels or MAX_PIXELS, Options(level=level, model=model, device=device, past=use_past, max_pixels=max_pixels)
        data = read(source, lambda start: container.largest_file(start) if start.startswith(MAGIC) else largest_picture_file(start, limit))
        with progress_bar(0, source.name, quiet) as report:
            picture, of_jpeg = picture_shown(data, options, report)
            pixels = picture.plain_pixels
            report(0, picture.area)
            channels = bits_per_pixel(pixels, options, lambda pixels: report(pixels, 0))
        write(target, source, False, force, lambda stream: heat_map(pixels, channels).save(stream, "PNG"))
        if not quiet:
            shares = ", ".join(f"{name} {bits.mean():.3f}" for name, bits in channels.items())
            say(f"{source} -> {target}: bits per pixel: {shares}")
            if of_jpeg:
                say(f"igpt: {source}: note: these are the bits of the pixels that the JPEG file decodes to, not of the file itself")


@app.command()
def thumbnail(
    source: Input,
    out: Output = None,
    option: OutputOption = None,
    size: Annotated[int, typer.Option("--size", "-s", min=1, max=16384, help="Pixels of the longer side, at most.")] = 256,
    force: Force = False,
    model: Model = None,
    device: Device = "auto",
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a small picture of an igpt file: of its preview, which takes no time, where `compress --preview` put one in; else of all pixels.

    OUT is a PNG, whatever it is called, and by default IN with the extension .thumb.png.
    """
    with reported(source, verbose):
        target = destination(source, output_of(source, out, option, lambda _: ".thumb.png"), force)
        from bitstream.container import largest_file
        from codec import api

        data = source if is_file(source) else read(source, largest_file)
        says = api.info(data)
        with progress_bar(says.width * says.height, source.name, quiet) as report:
            image = api.thumbnail(data, size, model=model, device=device, max_pixels=max_pixels, progress=lambda pixels: report(pixels, 0))
        write(target, source, False, force, lambda stream: image.save(stream, "PNG"))
        if not quiet:
            say(f"{source} -> {target}: {image.width}x{image.height} pixels")


@app.command()
def sample(
    out: Annotated[Path, typer.Argument(metavar="OUT", parser=name, help="PNG for the grid of pictures; - for standard output.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1024, help="Pictures to draw.")] = 16,
    complete: Annotated[
        Path | None,
        typer.Option(
            metavar="IN", parser=name, help="Keep the upper half of this picture, of its middle square at 32x32, and draw the lower."
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.01, max=10, help="1: pictures as likely as the model says; below: calmer ones; above: wilder ones.")
    ] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, max=256, help="Draw from the K likeliest tokens only; 0: from all.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same pictures on the same machine.")] = 0,
    zoom: Annotated[int, typer.Option(min=1, max=16, help="Show each pixel as a square of so many pixels a side.")] = 8,
    force: Force = False,
    model: Model = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw 32x32 pictures from a model, the way the decoder works, with chance in the place of a file: OUT shows all of them in a grid."""
    with reported(complete or out, verbose):
        target = png_destination(complete or PIPE, out, force)
        import numpy as np
        from PIL import Image, ImageOps

        given = None
        if complete:
            picture = read_picture(complete, None).plain_pixels
            whole = Image.fromarray(picture.repeat(4 - picture.shape[-1], -1)[..., :3])
            given = np.asarray(ImageOps.fit(whole, (32, 32), Image.Resampling.LANCZOS))
        from codec import models
        from codec.devices import device_named
        from codec.sampling import draw, grid_of

        network = models.of_layout(models.chosen(model), "rgb", device_named(device))
        with progress_bar(count * 1024, "sample", quiet) as progress:
            pictures = draw(network, count, seed, temperature, top_k, given, lambda pixels: progress(pixels, 0))
        sheet = grid_of(pictures if given is None else [given, *pictures], zoom)
        write(target, PIPE, False, force, lambda stream: sheet.save(stream, "PNG"))


@app.command()
def train(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of lossless training pictures.", exists=True, file_okay=False)
    ],
    validation: Annotated[Path, typer.Option(help="Folder of pictures for validation.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model; an unfinished training there goes on.")],
    steps: Annotated[int, typer.Option(min=1, help="Batches in all, those before an interruption too.")] = 13000,
    tiles: Annotated[int, typer.Option(min=1, help="Tiles per batch.")] = 12,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 6e-3,
    config: Annotated[
        Path | None, typer.Option(help="Folder whose config.json says the network's sizes; default: those of photo-3.", exists=True)
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="rgb|ycc|dct",
            help="What it is to code: pixels (default), luma and chroma of decoded JPEGs and PhotoCDs, or coefficients of JPEGs. The last "
            "heeds --steps only of the options on training, takes JPEG files, too, and its validation from FOLDER.",
        ),
    ] = None,
    start_from: Annotated[Path | None, typer.Option(help="Checkpoint folder whose weights to begin with.", exists=True)] = None,
    quantize_from: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the steps after which training simulates the integer network.")
    ] = 0.88,
    sources: Annotated[
        Path | None, typer.Option(help="Text on the data's sources and licences, for the model card.", exists=True, dir_okay=False)
    ] = None,
    licence: Annotated[str, typer.Option(help="Of the model, as its card is to say, such as Apache-2.0; default: none is given.")] = "",
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model; write its float checkpoint, its integer form and a model card into the folder --out, which --model takes.

    The state of the training is kept there every two minutes, and where Ctrl-C stops it; the same command goes on.
    """
    with reported(folders[0], verbose):
        from codec.devices import device_named
        from codec.network.config import ModelConfig
        from codec.training.card import finish
        from codec.training.loop import train as run

        if config and start_from:
            msg = "--start-from has the config.json of its own: leave --config out"
            raise RequestError(msg)
        text = in_utf8(sources) if sources else ""
        if layout == "dct":
            from codec.training import coefficients

            if config or start_from:
                msg = "the network for coefficients has one form and begins anew: leave --config and --start-from out"
                raise RequestError(msg)
            coefficients.run(folders, out, steps, text, licence, quiet)
            return
        chosen = ModelConfig.load(folder) if (folder := start_from or config) else ModelConfig()
        chosen = replace(chosen, layout=layout or chosen.layout)
        where = device_named(device)
        run(folders, validation, out, steps, chosen, where, tiles, rate, start_from, quantize_from, quiet)
        finish(out, folders, validation, text, licence, where, quiet)


def in_utf8(path: Path) -> str:
    """A text file. Raises RequestError, OSError."""
    try:
        return path.read_text("utf-8")
    except ValueError as error:
        msg = f"{path} is no text in UTF-8"
        raise RequestError(msg) from error


@app.command()
def quantize(
    source: Input,
    out: Annotated[Path, typer.Argument(metavar="OUT", parser=name, help="PNG; - for standard output.")],
    model: Annotated[str, typer.Option("--model", metavar="FOLDER|NAME|ID", help="Folder, name or hub id of a published ImageGPT.")],
    revision: Revision = None,
    force: Force = False,
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a picture in the colours of a published ImageGPT's palette. This is lossy; the result compresses without loss as any other."""
    with reported(source, verbose):
        target = png_destination(source, out, force)
        pixels = read_picture(source, max_pixels).plain_pixels

        from codec import models
        from codec.pictures.pillow import image_of

        palette = models.with_palette(model, revision, "cpu").palette
        with progress_bar(pixels.shape[0] * pixels.shape[1], source.name, quiet) as report:
            image = image_of(palette.quantized(pixels, lambda pixels: report(pixels, 0)))
        write(target, source, False, force, lambda stream: image.save(stream, "PNG"))
        if not quiet:
            say(f"{source} -> {target}: in the {len(palette)} colours of the model's palette; this was lossy")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what igpt finds on this machine, and whether it computes exactly here: the first thing that a report of an error needs.

    The exit code is 1 if nothing here can run a network.
    """
    from codec.doctor import EXACT, findings, pixels

    with reported(Path("doctor"), False), progress_bar(pixels(), "doctor", False) as report:
        found = findings(lambda pixels: report(pixels, 0))
    if as_json:
        put(json.dumps(found))
    else:
        width = max(map(len, found))
        for name, value in found.items():
            lines = in_lines(value)
            put("\n".join([f"{name:{width}}  {lines[0]}", *(" " * (width + 2) + line for line in lines[1:])]))
    if EXACT not in found["engines"].values():
        raise typer.Exit(1)


def in_lines(value: Any) -> list[str]:
    """For people."""
    if not isinstance(value, dict):
        return [str(value)]
    return [f"{name}: {', '.join(in_lines(own))}" for name, own in value.items()] or ["none"]


models_app = typer.Typer(rich_markup_mode=None)
app.add_typer(models_app, name="models")


@models_app.callback(invoke_without_command=True)
def list_models(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list instead of a table.")] = False
) -> None:
    """List the models on this machine: what files name them by, size, licence, and the bits per subpixel that were measured with them.

    Those were measured on single 32x32 tiles of photographs that training did not see; whole pictures take less. The layout says what a
    model codes: rgb pixels, ycc luma and chroma of decoded JPEGs and PhotoCDs, dct coefficients of JPEGs, palette tokens of a published
    ImageGPT.
    """
    if context.invoked_subcommand:
        return
    with reported(Path("models"), False):
        from codec import models

        folders = [*models.shipped(), *models.added()]
    found = []
    for folder in folders:
        with contextlib.suppress(typer.Exit), reported(folder, False):
            found.append(models.described(folder))
    if as_json:
        put(json.dumps(found))
        return
    table = [("name", "digest", "layout", "MB", "licence", "bpsp", "folder")]
    for m in found:
        rates = ", ".join(f"{kind} {rate:.3f}" for kind, rate in m["bpsp"].items())
        table.append((m["name"], m["digest"], m["layout"], f"{m['bytes'] / 1e6:.1f}", m["licence"] or "?", rates or "?", m["folder"]))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        put("  ".join(cell.rjust(n) if k == 3 else cell.ljust(n) for k, (cell, n) in enumerate(zip(row, widths, strict=True))).rstrip())


@models_app.command("add")
def add_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|FOLDER|ID",
            help="What `igpt models export` wrote, folder of an integer model, or folder or hub id of a published ImageGPT, as "
            "openai/imagegpt-small.",
        ),
    ],
    revision: Revision = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Keep a model: an integer one as it is, or a published ImageGPT, converted to integers.

    Files that are made with it need it for decompression. It is kept in the first folder of IGPT_MODEL_PATH, by default in the user's data
    folder. A hub id is downloaded if it is not in the hub's cache.
    """
    with reported(Path(source), verbose):
        from codec import models

        with progress_bar(100, "converting", quiet) as report:
            folder = models.add(source, revision, progress=lambda per_cent: report(per_cent, 0))
        if not quiet:
            say(f"{source}: {models.digest_of(folder).hex()}, in {folder}")


@models_app.command("export")
def export_model(
    which: Annotated[str, typer.Argument(metavar="NAME|DIGEST|FOLDER", help="A model that `igpt models` lists, or the folder of one.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", parser=name, help="By default NAME.safetensors; - for standard output.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a model as one file, with its card, for another machine: `igpt models add` keeps it there."""
    with reported(Path(which), verbose):
        from codec import models
        from codec.models.one_file import SUFFIX, export

        folder = models.chosen(which)
        if folder is None:
            msg = f"{which}: this folder has no integer model"
            raise RequestError(msg)
        model = models.read(folder, "cpu")
        target = destination(folder, out or Path(model.name + SUFFIX), force)
        write(target, folder, False, force, lambda stream: export(folder, stream))
        if not quiet:
            say(f"{which}: {model.digest.hex()}, in {target}")


@models_app.command("remove")
def remove_model(
    which: Annotated[str, typer.Argument(metavar="NAME|DIGEST", help="An added model, as `igpt models` lists it; or its folder.")],
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove a model that was added.

    Files that were made with it can be decompressed when it is added again.
    """
    with reported(Path(which), verbose):
        from codec import models

        folder = models.remove(which)
        if not quiet:
            say(f"{which}: removed {folder}")


def version(show: bool) -> None:
    if show:
        from codec import __version__

        put(f"igpt {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=version, is_eager=True)] = False,
) -> None:
    pass


@app.command("manual", hidden=True)
def print_manual() -> None:
    """Print the manual page, as igpt.1 has it."""
    put(manual.page(app).rstrip("\n"))


manual.describe(app)


def main() -> None:
    """The entry point. A terminated or interrupted run cleans up after itself as any other error does."""
    fill_streams()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        app()
    except SystemExit as error:
        leave(error.code)


def leave(code: str | int | None) -> NoReturn:
    """Ends the process at once: nothing is left to be done, but the interpreter would take a while for it."""
    if not isinstance(code, int | None):
        sys.exit(code)
    code = code or 0
    try:
        flush()
    except SystemExit as error:
        code = int(str(error.code))
    except (OSError, ValueError) as error:
        if not code:  # else there was a message
            say(f"igpt: standard output: {getattr(error, 'strerror', None) or error}")
            code = 1
    os._exit(code)


if __name__ == "__main__":
    main()

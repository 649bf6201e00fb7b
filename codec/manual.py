"""What `--help` says beyond the options' own sentences, and the manual page, of an app that the caller has."""

from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

if TYPE_CHECKING:
    from collections.abc import Iterator


class Description(NamedTuple):
    """short: for the list of commands; examples: command lines and what they do."""

    short: str
    examples: tuple[tuple[str, str], ...]


DESCRIPTIONS = {
    "compress": Description(
        "Compress pictures.",
        (
            ("igpt compress photo.png", "writes photo.igpt"),
            ("igpt compress -r pictures/ --out-dir packed/", "every picture of a folder, the tree mirrored"),
            ("igpt compress *.png", "any number of them, each beside its picture"),
            ("igpt compress *.png --out-dir packed/ --skip-existing", "only what is not up to date"),
            ("igpt compress --level fast photo.png", "in about two fifths of the time, both ways"),
            ("igpt compress --level best photo.png", "in four to six times the time, both ways"),
            ("igpt compress --preview -r photos/ --out-dir packed/", "with previews, which igpt thumbnail shows at once"),
            ("igpt compress --max-error 1 photo.png", "lossy: about 0.6 of the bytes, no sample differs by more than 1"),
            ("igpt compress --lossy medium photo.png", "lossy: near to what it was, in about a tenth of the bytes"),
            ("igpt compress --strip photo.png small.igpt", "without metadata"),
            ("convert photo.tif png:- | igpt compress - - > photo.igpt", "through pipes"),
        ),
    ),
    "decompress": Description(
        "Decompress igpt files to PNG, PPM, BMP, TIFF or lossless WebP.",
        (
            ("igpt decompress photo.igpt", "writes photo.png"),
            ("igpt decompress photo.igpt photo.webp", "as lossless WebP"),
            ("igpt decompress --crop 512,256,640,480 photo.igpt part.png", "640x480 pixels from column 512 and row 256 on"),
            ("igpt decompress -r packed/ --out-dir pictures/", "every igpt file of a folder"),
            ("igpt decompress photo.igpt - | display -", "through a pipe"),
        ),
    ),
    "verify": Description(
        "Decompress igpt files and compare their pixels with their digests.",
        (
            ("igpt verify photo.igpt", "exit code 0 if every pixel is as it was"),
            ("igpt verify -q photo.igpt && rm photo.png", "in a script"),
            ("igpt verify -q -r packed/ -j 4", "a backup, every night"),
        ),
    ),
    "info": Description(
        "Print what the beginnings of igpt files say.",
        (("igpt info photo.igpt", "size, mode, model, kind"), ("igpt info --json -r packed/ | jq .level", "for programs")),
    ),
    "heatmap": Description(
        "Draw where a picture's bits go.",
        (
            ("igpt heatmap photo.png", "writes photo.heat.png"),
            ("igpt heatmap photo.igpt", "the same, of an igpt file"),
            ("igpt heatmap --no-past photo.png plain.png", "as plain pixels"),
        ),
    ),
    "thumbnail": Description(
        "Make a small picture of an igpt file.",
        (
            ("igpt thumbnail photo.igpt", "writes photo.thumb.png, at most 256 pixels wide and high"),
            ("igpt thumbnail -s 128 photo.igpt small.png", "at most 128"),
        ),
    ),
    "sample": Description(
        "Draw pictures from a model.",
        (
            ("igpt sample grid.png -n 64 --seed 3", "64 pictures of 32x32 pixels"),
            ("igpt sample grid.png -n 3 --complete photo.png", "a small picture and three other lower halves of it"),
        ),
    ),
    "train": Description(
        "Train a model.",
        (
            ("igpt train pictures/ --validation others/ --out my-model", "goes on where it was stopped"),
            ("igpt train pictures/ --validation others/ --out mine --start-from checkpoints/photo-3 --steps 2000", "from given weights"),
        ),
    ),
    "quantize": Description(
        "Write a picture in the colours of a published ImageGPT's palette (lossy).",
        (("igpt quantize photo.png tokens.png --model openai/imagegpt-small", "its 512 colours"),),
    ),
    "doctor": Description(
        "Say what igpt finds on this machine.",
        (("igpt doctor", "versions, engines, speed, models, folders"), ("igpt doctor --json", "for programs and reports")),
    ),
    "models": Description(
        "List the models on this machine, add and remove them.",
        (("igpt models", "digest, size, licence, measured rate"), ("igpt models --json | jq -r '.[].digest'", "for programs")),
    ),
    "add": Description(
        "Keep a model, converted to integers if it is a published ImageGPT.",
        (
            ("igpt models add openai/imagegpt-small", "downloads it, once"),
            ("igpt models add my-model", "the folder that `igpt train` wrote"),
            ("igpt models add maps.safetensors", "what somebody exported"),
        ),
    ),
    "export": Description(
        "Write a model as one file, for another machine.",
        (("igpt models export my-model maps.safetensors", "weights, configuration and card"),),
    ),
    "remove": Description(
        "Remove a model that was added.",
        (("igpt models remove my-model", "by its name"), ("igpt models remove 3f0c1a", "or by how its digest begins")),
    ),
}
GROUPS = {  # options by the names of their parameters; others come first, as "Options"
    "Coding": ("level", "model", "revision", "palette_only", "use_past", "pixels", "strip"),
    "Processor and limits": ("device", "threads", "max_pixels"),
    "Messages": ("as_json", "quiet", "verbose", "help"),
}


class Grouped(TyperCommand):
    """A command whose help has its options in groups, and examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], **{group: [] for group in GROUPS}}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                sections[group_of(parameter)].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        write_examples(self.name, formatter)


class GroupedGroup(TyperGroup):
    """A group of commands with examples."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        write_examples(self.name, formatter)


def group_of(parameter: Any) -> str:
    """The title under which a parameter stands in the help."""
    if parameter.param_type_name == "argument":
        return "Arguments"
    return next((title for title, names in GROUPS.items() if parameter.name in names), "Options")


def write_examples(name: str | None, formatter: Any) -> None:
    """The examples of a command, if it has any, to a formatter of click's."""
    if name in DESCRIPTIONS:
        with formatter.section("Examples"):
            for line, what in DESCRIPTIONS[name].examples:
                formatter.write(f"  {line}\n      {what}\n")


def describe(app: typer.Typer) -> None:
    """Gives every command of an app its groups, examples and short help, but for hidden ones."""
    for command in app.registered_commands:
        if command.hidden:
            continue
        name = command.name or str(getattr(command.callback, "__name__", ""))
        command.cls = Grouped
        command.short_help = DESCRIPTIONS[name].short
    for group in app.registered_groups:
        group.cls = GroupedGroup
        group.short_help = DESCRIPTIONS[str(group.name)].short
        if group.typer_instance:
            describe(group.typer_instance)


def roff(text: str) -> str:
    """Text as a manual page has it."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


def page(app: typer.Typer) -> str:
    """The manual page of an app, in roff."""
    from codec import __version__

    root: Any = get_command(app)
    lines = [
        f'.TH IGPT 1 "" "igpt {__version__}" "User Commands"',
        ".SH NAME",
        "igpt \\- lossless image compression with an ImageGPT transformer",
    ]
    lines += [".SH SYNOPSIS", ".B igpt", ".I COMMAND", "[\\fIOPTIONS\\fR] \\fIARGUMENTS\\fR", ".SH DESCRIPTION", roff(root.help)]
    lines += [roff("What decompress gives back equals what compress was given: pixels, mode, palette, alpha, bit depth, metadata.")]
    lines += [".SH COMMANDS"]
    for names, command in commands(root, ("igpt",)):
        lines += [f".SS {roff(' '.join(names))}", *(part for p in paragraphs(command) for part in (".PP", roff(p)))]
        for parameter in command.params:
            if parameter.name == "help" or not getattr(parameter, "help", None):
                continue
            lines += [".TP", f"\\fB{roff(spelt(parameter))}\\fR", roff(parameter.help)]
        if command.name in DESCRIPTIONS:
            lines += [
                ".PP",
                "Examples:",
                *(line for e, what in DESCRIPTIONS[command.name].examples for line in (".TP", roff(e), roff(what))),
            ]
    lines += [
        ".SH EXIT STATUS",
        roff(
            "0: done. 1: a file could not be done. 2: the request made no sense. 141: whoever read standard output has left. "
            "128 + n: signal n stopped it."
        ),
    ]
    lines += [".SH ENVIRONMENT", ".TP", "IGPT_MODEL_PATH", roff("Folders of added models; the first one takes new ones.")]
    return "\n".join(lines) + "\n"


def commands(group: Any, names: tuple[str, ...]) -> "Iterator[tuple[tuple[str, ...], Any]]":
    """All commands below a group, with their names in full, but for hidden ones."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        yield (*names, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))


def paragraphs(command: Any) -> list[str]:
    """Of a command's help."""
    return [part for part in (command.help or "").split("\n\n") if part.strip()]


def spelt(parameter: Any) -> str:
    """An argument's name, or an option with what it takes."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    names = ", ".join(sorted(parameter.opts, key=len)) + "".join(f", {name}" for name in parameter.secondary_opts)
    return names if parameter.is_flag else f"{names} {parameter.metavar or parameter.name.upper()}"

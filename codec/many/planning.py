"""Which files there are to do: inputs with their outputs, in batches."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bitstream.constants import MAGIC
from codec.many.files import PIPE, RequestError, default_output, is_file, output_of, sentence, stream_of
from codec.many.stopping import leave_if_stopped
from codec.many.tasks import BATCH_FILES, Batch, Job, Result

Suffix = Callable[[Path], str]

BATCH_PIXELS = 1 << 18  # at once, at most


class Plan(NamedTuple):
    """jobs: what there is to do; unread: folders that could not be gone through, as results; notes: what in them was passed over, for
    people; several: whether many files were asked for, even if there is one."""

    jobs: list[Job]
    unread: list[Result]
    notes: list[str]
    several: bool


def planned(
    inputs: Sequence[Path], output: Path | None, out_dir: Path | None, recursive: bool, suffix_for: Suffix, extensions: Collection[str]
) -> Plan:
    """Inputs with their outputs.

    inputs: one, or one and its output, or several. output: of the only input, by an option. out_dir: where the outputs go, under their
    inputs' names, all of them where two have the same output; folders are mirrored there. recursive: go through folders. suffix_for: of
    the output of an input; extensions: of inputs. Raises RequestError where two inputs have the same output, or where the request makes no
    sense.
    """
    second = inputs[1] if len(inputs) == 2 else None
    if not (out_dir or recursive or len(inputs) > 2 or (second and _is_input(second, extensions)) or os.path.isdir(inputs[0])):
        return Plan([Job(inputs[0], output_of(inputs[0], second, output, suffix_for))], [], [], several=False)
    if output:
        msg = "several inputs have several outputs: use --out-dir"
        raise RequestError(msg)
    if out_dir and os.path.exists(out_dir) and not os.path.isdir(out_dir):
        msg = f"{out_dir} is no folder: --out-dir needs one"
        raise RequestError(msg)
    plan, folders = Plan([], [], [], several=True), dict[Path, Path]()  # by their names

    def real(target: Path) -> Path:
        if (parent := target.parent) not in folders:
            folders[parent] = Path(os.path.realpath(parent))
        return folders[parent] / target.name

    jobs = []
    for source, place in _sources(inputs, recursive, extensions, plan):
        jobs.append(Job(source, default_output((out_dir / place) if out_dir else source, suffix_for(source))))
    wanted = Counter(real(job.target) for job in jobs)
    taken: dict[Path, Path] = {}  # sources by their outputs
    for source, target in ((job.source, job.target) for job in jobs):
        if wanted[real(target)] > 1 and target.suffix == ".igpt":  # photo.jpg and photo.png
            target = target.with_name(source.name + target.suffix)
        if (one := real(target)) in taken:
            msg = f"{taken[one]} and {source} would both become {target}"
            raise RequestError(msg)
        taken[one] = source
        plan.jobs.append(Job(source, target))
    return plan


def listed(inputs: Sequence[Path], recursive: bool, extensions: Collection[str]) -> Plan:
    """Inputs that have no outputs: these are named as their targets. Raises RequestError as `planned`."""
    if len(inputs) == 1 and not recursive and not os.path.isdir(inputs[0]):
        return Plan([Job(inputs[0], inputs[0])], [], [], several=False)
    plan = Plan([], [], [], several=True)
    plan.jobs.extend(Job(source, source) for source, _ in _sources(inputs, recursive, extensions, plan))
    return plan


def _sources(inputs: Sequence[Path], recursive: bool, extensions: Collection[str], plan: Plan) -> Iterator[tuple[Path, Path]]:
    """Each file, and where in an output folder its output belongs."""
    for path in inputs:
        if path == PIPE or stream_of(path) is not None:
            msg = f"{'standard input' if path == PIPE else path} cannot be one of several inputs"
            raise RequestError(msg)
        if not os.path.isdir(path):
            yield path, Path(path.name)
            continue
        if not recursive:
            msg = f"{path} is a folder: use -r to go through it"
            raise RequestError(msg)
        for source in _files_in(path, extensions, plan):
            yield source, source.relative_to(path)


def _files_in(folder: Path, extensions: Collection[str], plan: Plan) -> list[Path]:
    """The files with such extensions in a folder and those below it, sorted. Links to files are followed, so that broken ones fail; links
    to folders, which may lead around in a circle, are not; devices and pipes are not opened.
    """
    found = []

    def unread(error: OSError) -> None:
        plan.unread.append(Result(Job(Path(error.filename), Path(error.filename)), error=sentence(error, folder), code=1))

    for place, folders, names in os.walk(folder, onerror=unread):
        leave_if_stopped()
        links = [path for name in folders if (path := Path(place, name)).is_symlink()]
        plan.notes.extend(f"{path}: note: a link to a folder, which is not followed" for path in links)
        for path in (Path(place, name) for name in names):
            if path.suffix.lower() not in extensions:
                continue
            if os.path.exists(path) and not os.path.isfile(path):
                plan.notes.append(f"{path}: note: neither a file nor a folder, so it is left alone")
            else:
                found.append(path)
    return sorted(found)


def _is_input(second: Path, extensions: Collection[str]) -> bool:
    """Whether the second of two names is no output but another input: it has the extension of one, or is a file that it would be a loss to
    overwrite.
    """
    if second.suffix.lower() in extensions:
        return True
    if second.suffix.lower() == ".igpt" or not is_file(second):
        return False
    with contextlib.suppress(OSError), second.open("rb") as stream:
        start = stream.read(len(MAGIC))
        return bool(start) and (start == MAGIC) == (".igpt" in extensions)
    return False


def in_batches(jobs: Sequence[Job], most: int = BATCH_FILES) -> list[Batch]:
    """What an executor hands out at once: small pictures in numbers, at most so many, others alone."""
    batches: list[Batch] = []
    pixels = 0
    for job in jobs:
        if not batches or not job.pixels or pixels + job.pixels > BATCH_PIXELS or len(batches[-1]) == most:
            batches.append([])
            pixels = 0 if job.pixels else BATCH_PIXELS
        batches[-1].append(job)
        pixels += job.pixels
    return batches

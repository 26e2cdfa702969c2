"""List the files of a path, pattern or URL in lexicographic order, without following symbolic links."""

import fnmatch
import glob
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from indexes.errors import InputError, ResourceError
from indexes.records import Skip
from indexes.sources.files import DAMAGE, Entry, File, printable

__all__ = ["SYMBOLIC_LINK", "absolute_spec", "expand_braces", "list_entries"]

SYMBOLIC_LINK = "symbolic link"
_MAX_COUNTED = 100_000  # entries in linked folders that one listing counts at most
_UNREADABLE = "unreadable folder"
_MAX_EXPANSION = 100_000  # names from one brace pattern
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BRACES = re.compile(r"\{([^{}]*)\}")


def list_entries(spec: str) -> list[Entry]:
    """The files and skips of a source, sorted by name; raises `InputError` if nothing is found."""
    system, path = _locate(spec)
    try:
        paths = _expanded(path, system)
        fixed = [_fixed(each, system) for each in paths]
        if not all(File("", each, system).is_permitted for each in fixed):
            raise InputError(f"{spec}: lies outside what may be read by this process; choose a permitted path")
        root = _common_folder(fixed, system)
        census = _Census()
        found = {location: entry for each in paths for location, entry in _entries(each, root, system, census)}
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{spec}: cannot be listed ({error}); check its address and your access") from error
    if not found:
        raise InputError(f"{spec}: holds no files, expected a folder or pattern with data in it; check the path")
    return sorted(found.values(), key=_name)


def _name(entry: Entry) -> str:
    return entry.name if isinstance(entry, File) else entry.path


def expand_braces(pattern: str, *, most: int = _MAX_EXPANSION) -> list[str]:
    """All names of a brace pattern such as `{a,b}` or `{008..011}` (008, 009, …); InputError above `most` names."""
    names, is_open = [pattern], True
    while is_open:
        is_open = False
        expanded: list[str] = []
        for name in names:
            found = next((m for m in _BRACES.finditer(name) if "," in m[1] or ".." in m[1]), None)
            words = [] if found is None else _alternatives(found[1])
            if len(expanded) + max(len(words), 1) > most:
                raise InputError(f"{pattern:.200}: the pattern gives over {most} names; check the range")
            if found is None:
                expanded.append(name)
            else:
                is_open = True
                expanded += [name[: found.start()] + word + name[found.end() :] for word in words]
        names = expanded
    return names


def _expanded(path: str, system: Any) -> list[str]:
    """The paths of a brace pattern; a path that exists literally is not treated as a pattern."""
    if _exists(path, system):
        return [path]
    folder, rest = _existing_part(path, system)
    return [posixpath.join(folder, each) for each in expand_braces(rest)]


def _existing_part(path: str, system: Any) -> tuple[str, str]:
    """The longest existing folder that begins a path, and the rest of the path; braces in the folder are literal."""
    parts = path.split("/")
    known = next((n for n in range(len(parts) - 1, 0, -1) if _is_folder("/".join(parts[:n]) or "/", system)), 0)
    return "/".join(parts[:known]) or ("/" if path.startswith("/") and known else ""), "/".join(parts[known:])


def _alternatives(inside: str) -> list[str]:
    numbers = _RANGE.fullmatch(inside)
    if not numbers:
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    if not 0 <= last - first < _MAX_EXPANSION:
        raise InputError(f"{{{inside}}}: expected a rising range of at most {_MAX_EXPANSION} numbers; check the range")
    return [str(number).zfill(len(numbers[1])) for number in range(first, last + 1)]


def absolute_spec(spec: str) -> str:
    """A source's name that is valid in any working directory: an absolute path, or the unchanged URL."""
    system, path = _locate(spec)
    return path if system is None else spec


def _locate(spec: str) -> tuple[Any, str]:
    """The fsspec file system of a source (None for the local disk), and the absolute path on that file system."""
    if not spec.strip():
        raise InputError("the source is an empty name: give a path, pattern or URL")
    if "://" not in spec and not _is_chain(spec):
        return None, os.path.abspath(os.path.expanduser(spec))
    try:
        system, path = fsspec.core.url_to_fs(spec)
    except ImportError as error:
        raise ResourceError(f"{spec}: {error}") from error
    except DAMAGE as error:
        raise InputError(f"{spec}: cannot be opened ({error}); expected a path or an fsspec URL") from error
    is_local = isinstance(system, LocalFileSystem)
    return (None, os.path.abspath(path)) if is_local else (system, path.rstrip("/"))


def _is_chain(spec: str) -> bool:
    """Whether `::` joins fsspec protocols, as in `simplecache::/data`, and is not part of the name of a local path."""
    before, colons, after = spec.partition("::")
    name = f"{before}{colons}{after.partition('/')[0]}"
    return bool(colons) and not os.path.lexists(os.path.abspath(os.path.expanduser(name)))


def _common_folder(fixed: list[str], system: Any) -> str:
    """The common folder of all paths, after each path was cut at its first part with a wildcard."""
    if len(fixed) == 1 and _is_folder(fixed[0], system):
        return fixed[0]
    return posixpath.commonpath([posixpath.dirname(path) for path in fixed])


def _fixed(path: str, system: Any) -> str:
    """A path without wildcards, unchanged; or a pattern, up to and including its first part with a wildcard."""
    if not _is_pattern(path, system):
        return path
    folder, rest = _existing_part(path, system)
    parts = rest.split("/")
    plain = next((index for index, part in enumerate(parts) if glob.has_magic(part)), 0)
    return posixpath.join(folder, *parts[: plain + 1])


def _is_pattern(path: str, system: Any) -> bool:
    return not _exists(path, system) and glob.has_magic(_existing_part(path, system)[1])


def _exists(path: str, system: Any) -> bool:
    return os.path.lexists(path) if system is None else system.exists(path)


def _is_folder(path: str, system: Any) -> bool:
    return os.path.isdir(path) if system is None else system.isdir(path)


def _entries(path: str, root: str, system: Any, census: "_Census") -> Iterator[tuple[str, Entry]]:
    """Path and listing entry of every file that an expanded path or pattern matches."""
    if _is_pattern(path, system):
        found = _matching(path, system)
    elif _is_folder(path, system):
        found = _walk(path) if system is None else ((each, "") for each in system.find(path))
    elif os.path.isfile(path) if system is None else system.isfile(path):
        found = ((path, ""),)
    else:
        raise _no_source(path, system)
    for each, reason in found:
        name = printable(each.removeprefix(root).lstrip("/")) or "."
        yield each, _left_out(name, each, root, reason, census) if reason else File(name, each, system)


def _no_source(path: str, system: Any) -> InputError:
    """The error that says why a path cannot be read."""
    if system is not None or not os.path.lexists(path):
        message = f"{path}: no such file or folder; expected a path, pattern or fsspec URL; check its spelling"
    elif not os.path.exists(path):
        message = f"{path}: a symbolic link that leads nowhere; name the file or folder that is meant"
    else:
        message = f"{path}: a pipe, socket or device, expected a regular file or folder; write its content to a file"
    return InputError(message)


def _left_out(name: str, path: str, root: str, reason: str, census: "_Census") -> Skip:
    """The skip record for a folder entry that is not a file, with the number of items that the entry may hold."""
    if reason == _UNREADABLE:
        return Skip(name, reason, items=None, bytes=None)
    if reason != SYMBOLIC_LINK:
        return Skip(name, reason)
    target = os.path.realpath(path)
    if not os.path.exists(target):
        return Skip(name, reason, items=0 if os.path.islink(target) else 1)  # a loop of links leads to no item
    if target == os.path.realpath(root) or target.startswith(os.path.realpath(root) + os.sep):
        return Skip(name, reason, items=0)  # the target is read at its own path
    if not os.path.isdir(target):
        return Skip(name, reason)
    if not File(name, target).is_permitted:
        return Skip(name, reason, items=None, bytes=None)
    return Skip(name, reason, items=census.files_below(target), bytes=None)


class _Census:
    """Counts entries in symbolically linked folders, up to one limit for all folders together."""

    def __init__(self) -> None:
        self._left = _MAX_COUNTED

    def files_below(self, folder: str) -> int | None:
        """The number of entries below a folder that are not folders; None once there are too many to count."""
        count = 0
        for _ in _walk(folder):
            count += 1
            self._left -= 1
            if self._left <= 0:
                return None
        return count


def _matching(pattern: str, system: Any) -> Iterable[tuple[str, str]]:
    """Files that match a wildcard; local folders are listed by `_walk`, because `glob` can loop over links."""
    folder, rest = _existing_part(pattern, system)
    literal = posixpath.join(glob.escape(folder), rest)
    if system is not None:
        return [(path, "") for path in system.glob(literal) if system.isfile(path)]
    depth = None if "**" in rest else pattern.count("/")
    below = len(folder.rstrip("/")) + 1
    wanted = _wanted_parts(rest)
    start = os.path.dirname(_fixed(pattern, system))
    return ((path, reason) for path, reason in _walk(start, depth) if _fits(path[below:].split("/"), wanted))


_Part = Callable[[str], object] | None  # whether a name matches; None for `**`, which matches any number of folders


def _wanted_parts(pattern: str) -> list[_Part]:
    return [None if part == "**" else re.compile(fnmatch.translate(part)).match for part in pattern.split("/")]


def _fits(names: Sequence[str], wanted: Sequence[_Part]) -> bool:
    """Whether the parts of a path match the parts of a pattern; run time grows only with the numbers of parts."""
    reached = _with_skipped({0}, wanted)
    for name in names:
        steps = {(at, wanted[at]) for at in reached if at < len(wanted)}
        passed = {at if fits is None else at + 1 for at, fits in steps if fits is None or fits(name)}
        reached = _with_skipped(passed, wanted)
    return len(wanted) in reached


def _with_skipped(places: set[int], wanted: Sequence[_Part]) -> set[int]:
    """The given positions in a pattern, plus the positions reached if the `**` parts there match no folder."""
    reached = set()
    for place in places:
        reached.add(place)
        while place < len(wanted) and wanted[place] is None:
            place += 1
            reached.add(place)
    return reached


def _walk(folder: str, depth: int | None = None) -> Iterator[tuple[str, str]]:
    """Path and skip reason (empty for a file) of every entry below a folder, down to `depth` path separators."""
    waiting = [folder]  # a loop, not recursion, because folders may be nested thousands deep
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as scan:
                entries = list(scan)
        except OSError:
            yield folder, _UNREADABLE
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if depth is None or entry.path.count("/") < depth:
                    waiting.append(entry.path)
            elif entry.is_symlink():
                yield entry.path, SYMBOLIC_LINK
            else:
                yield entry.path, "" if entry.is_file(follow_symlinks=False) else "not a regular file"

"""Study files from the disk: reading them, and finding what they import, never outside the study's folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.syntax import ast
from isoloss.dsl.syntax.parse import MAX_BYTES, parse_study

#: Imports of imports, and files in all, before we stop believing in them.
MAX_FILES = 50


def read_text(path: Path, report: Report, span: Span | None = None) -> str | None:
    """A file's text, or None and S111 to S114."""
    shown = str(path)
    try:
        if path.is_dir():
            report.add(
                "S112", f"`{shown}` is a folder, not a study", span, "a folder", "name a `.study` file in it"
            )
            return None
        if not path.exists():
            near = sorted(p.name for p in path.parent.glob("*.study"))[:5] if path.parent.is_dir() else []
            help = f"studies there: {', '.join(near)}" if near else "there is no study in that folder"
            report.add("S111", f"there is no file `{shown}`", span, "not found", help)
            return None
        if not path.is_file():
            report.add("S112", f"`{shown}` is not an ordinary file", span, "not a file")
            return None
        # One byte more than we accept: the size on disk may change while we read.
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        report.add("S112", f"`{shown}` can't be read: {reason.lower()}", span, "unreadable")
        return None
    if len(data) > MAX_BYTES:
        report.add(
            "S114", f"`{shown}` is larger than {MAX_BYTES // 1_000_000} MB", span, "too large for a study"
        )
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        report.add(
            "S113",
            f"`{shown}` is not UTF-8 text",
            span,
            "not text",
            f"byte {error.start}, line {line}; save it as UTF-8",
        )
        return None


class Loader:
    """Reads a study and all it imports, each file once."""

    def __init__(self, root: Path, report: Report) -> None:
        self._report = report
        self._folder = Path(os.path.realpath(root)).parent
        self._loading: list[Path] = []
        self._count = 0

    def load(self, path: Path, span: Span | None = None) -> list[tuple[ast.StudyBlock, ...]] | None:
        """The file's study as a chain of extended studies, base first; None if anything in it is wrong.

        The list has one chain: the studies to lay over each other."""
        self._count += 1
        text = read_text(path, self._report, span)
        if text is None:
            return None
        parsed = parse_study(text, str(path), self._report)
        if parsed is None:
            return None
        self._loading.append(Path(os.path.realpath(path)))
        imported = self._imports(parsed, path)
        self._loading.pop()
        if imported is None:
            return None
        if parsed.study.extends is None:
            return [(parsed.study,)]
        return self._extended(parsed.study, imported)

    def _extended(
        self, study: ast.StudyBlock, imported: dict[str, tuple[ast.StudyBlock, ...]]
    ) -> list[tuple[ast.StudyBlock, ...]] | None:
        assert study.extends is not None
        base = imported.get(study.extends.text)
        if base is None:
            from isoloss.dsl.names import did_you_mean

            self._report.add(
                "N112",
                f"no imported study is called `{study.extends.text}`",
                study.extends.span,
                "not imported",
                did_you_mean(study.extends.text, imported, 'import its file first: `import "base.study"`'),
            )
            return None
        return [(*base, study)]

    def _imports(self, parsed: ast.StudyAst, path: Path) -> dict[str, tuple[ast.StudyBlock, ...]] | None:
        found: dict[str, tuple[ast.StudyBlock, ...]] = {}
        fine = True
        for item in parsed.imports:
            target = self._target(item, path)
            chain = self.load(target, item.path.span) if target is not None else None
            if chain is None:
                fine = False
                continue
            name = chain[0][-1].name.text
            if name in found:
                self._report.add(
                    "N105", f"two imported studies are called `{name}`", item.path.span, "the second"
                )
                fine = False
            found[name] = chain[0]
        return found if fine else None

    def _target(self, item: ast.Import, importer: Path) -> Path | None:
        """The imported file, if it lies below the study's folder. Symbolic links are followed first."""
        text, span = item.path.text, item.path.span
        pure = PurePosixPath(text)
        if "\x00" in text or not text or pure.is_absolute() or "\\" in text or ".." in pure.parts:
            self._refuse(span)
            return None
        target = importer.parent / text
        real = Path(os.path.realpath(target))
        if not real.is_relative_to(self._folder):
            self._refuse(span)
            return None
        if real in self._loading:
            self._report.add("S121", "this import comes back to where it started", span, "a circle",
                             " → ".join([p.name for p in self._loading] + [real.name]))  # fmt: skip
            return None
        if self._count >= MAX_FILES:
            self._report.add("S122", f"more than {MAX_FILES} files are imported", span, "one too many")
            return None
        return target

    def _refuse(self, span: Span) -> None:
        self._report.add(
            "S120",
            "an import must lie below the study's folder",
            span,
            "outside",
            'write a relative path without `..`: `import "parts/base.study"`',
        )

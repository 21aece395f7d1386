"""Layers of declarations -> one set of blocks: base study, extending study, profile, `--set`.

A later layer replaces a block that it declares again and edits single settings by path. Two declarations of
one thing within a layer are a mistake. The order of declarations in a layer does not matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from isoloss.dsl.check.call_edits import with_argument
from isoloss.dsl.check.scope import Scope
from isoloss.dsl.diagnostics.collector import Report
from isoloss.dsl.diagnostics.diagnostic import Span
from isoloss.dsl.names import did_you_mean
from isoloss.dsl.syntax import ast
from isoloss.dsl.vocabulary import BLOCKS, BUILT_IN, LATER, QUANTITIES, WORDS


@dataclass(frozen=True)
class Layer:
    """`name` says whose it is: `base`, a profile's name, `--set`."""

    name: str
    body: tuple[ast.Statement, ...]


@dataclass
class MergedBlock:
    kind: str
    name: str
    span: Span  # of the header
    layer: int
    extends: ast.Name | None = None
    orphaned: bool = False  # what it extends isn't known, which was reported
    settings: dict[str, ast.Setting] = field(default_factory=dict)
    #: Edits of one parameter of a call that the block inherits, in the order of their layers.
    edits: list[ast.Setting] = field(default_factory=list)
    zips: list[ast.Setting] = field(default_factory=list)
    wheres: list[ast.Where] = field(default_factory=list)


@dataclass
class Merged:
    lets: dict[str, ast.Let] = field(default_factory=dict)
    dataset: ast.Dataset | None = None
    blocks: dict[tuple[str, str], MergedBlock] = field(default_factory=dict)
    profiles: dict[str, ast.Block] = field(default_factory=dict)

    def of(self, kind: str) -> list[MergedBlock]:
        return [b for b in self.blocks.values() if b.kind == kind]


def merge(layers: Sequence[Layer], report: Report) -> Merged:
    """All layers as one; reports N105, N106, N108 to N110, S106, S107, V104."""
    merged = Merged()
    for number, layer in enumerate(layers):
        _Merger(merged, number, report).add(layer)
    return merged


class _Merger:
    def __init__(self, merged: Merged, number: int, report: Report) -> None:
        self.merged, self.number, self.report = merged, number, report
        self.seen: dict[tuple[str, str], Span] = {}

    def add(self, layer: Layer) -> None:
        # Declarations first, then edits by path: their order in the text doesn't matter.
        for statement in layer.body:
            match statement:
                case ast.Let():
                    self._let(statement)
                case ast.Dataset():
                    if self._once(("dataset", ""), statement.span, "`dataset` is declared twice"):
                        self.merged.dataset = statement
                case ast.Block():
                    self._block(statement)
                case ast.Where():
                    self.report.add(
                        "S107",
                        "`where` stands outside a grid",
                        statement.span,
                        "belongs inside `grid NAME { … }`",
                        "a filtered set is written `(runs where …)`",
                    )
                case ast.Setting():
                    pass
        for statement in layer.body:
            if isinstance(statement, ast.Setting):
                self._edit(statement)

    def _once(self, key: tuple[str, str], span: Span, headline: str) -> bool:
        if key in self.seen:
            first = self.seen[key]
            self.report.add("N105", headline, span, "again", f"first declared at {first.file}:{first.line}")
            return False
        self.seen[key] = span
        return True

    def _let(self, let: ast.Let) -> None:
        name = let.name.text
        taken = QUANTITIES.get(name) or WORDS.get(name) or next((t for t in BUILT_IN if t.name == name), None)
        if taken is not None:
            headline = f"`{name}` already has a meaning and can't be given another"
            self.report.add("N106", headline, let.name.span, "taken", taken.doc)
            return
        if self._once(("let", name), let.name.span, f"`let {name}` is declared twice"):
            self.merged.lets[name] = let

    def _block(self, block: ast.Block) -> None:
        kind = block.kind.text
        row = BLOCKS.get(kind)
        if row is None:
            self._unknown_block(block)
            return
        if row.named and block.name is None:
            self.report.add(
                "S106",
                f"this `{kind}` has no name",
                block.kind.span,
                "unnamed",
                f"write `{kind} NAME {{ … }}`",
            )
            return
        if not row.named and block.name is not None:
            self.report.add(
                "S106", f"a `{kind}` has no name", block.name.span, "one too many", f"write `{kind} {{ … }}`"
            )
        name = block.name.text if block.name and row.named else ""
        header = block.name.span if block.name else block.kind.span
        if not self._once((kind, name), header, f"`{kind} {name}`".replace(" `", "`") + " is declared twice"):
            return
        if kind == "profile":
            self._profile(block, name)
        else:
            self.merged.blocks[kind, name] = self._body(block, name, header)

    def _unknown_block(self, block: ast.Block) -> None:
        kind = block.kind
        if kind.text in LATER:
            self.report.add(
                "N109", f"`{kind.text}` is not in this version", kind.span, LATER[kind.text], "leave it out"
            )
            return
        self.report.add(
            "N110",
            f"unknown block `{kind.text}`",
            kind.span,
            "no such block",
            did_you_mean(kind.text, BLOCKS),
        )

    def _profile(self, block: ast.Block, name: str) -> None:
        for statement in block.body:
            if isinstance(statement, ast.Block) and statement.kind.text == "profile":
                self.report.add("S107", "a profile can't hold a profile", statement.kind.span, "move it out")
        body = tuple(s for s in block.body if not (isinstance(s, ast.Block) and s.kind.text == "profile"))
        self.merged.profiles[name] = replace(block, body=body)

    def _body(self, block: ast.Block, name: str, header: Span) -> MergedBlock:
        merged = MergedBlock(block.kind.text, name, header, self.number, self._parent(block))
        for statement in block.body:
            match statement:
                case ast.Where() if block.kind.text == "grid":
                    merged.wheres.append(statement)
                case ast.Setting():
                    self._setting(merged, statement)
                case _:
                    word, span = _leading(statement)
                    self.report.add(
                        "S107",
                        f"`{word}` doesn't belong inside `{block.kind.text}`",
                        span,
                        "move it out",
                    )
        return merged

    def _parent(self, block: ast.Block) -> ast.Name | None:
        """The recipe that a recipe extends."""
        if block.extends is not None and block.kind.text != "recipe":
            self.report.add(
                "S106", f"a `{block.kind.text}` extends nothing", block.extends.span, "one too many",
                "a recipe may extend another one: `recipe b extends a { … }`",
            )  # fmt: skip
            return None
        return block.extends

    def _setting(self, block: MergedBlock, setting: ast.Setting) -> None:
        taken = set(block.settings) | {p.text for z in block.zips for p in z.paths}
        for path in setting.paths:
            if path.text in taken:
                self.report.add("V104", f"`{path.text}` is set twice", path.span, "again")
                return
            taken.add(path.text)
        if len(setting.paths) > 1:
            block.zips.append(setting)
        else:
            block.settings[setting.key] = setting

    # Edits by path.

    def _edit(self, setting: ast.Setting) -> None:
        path = setting.paths[0]
        if len(path.parts) == 1:
            self._edit_single(setting, path)
            return
        found = [self._target(p, setting) for p in setting.paths]
        targets = [t for t in found if t is not None]
        if len(targets) < len(setting.paths):
            return
        block = targets[0][0]
        if any(b is not block for b, _, _ in targets) or (len(targets) > 1 and any(r for _, _, r in targets)):
            self.report.add("N108", "a zip moves axes of one grid", setting.span, "different blocks")
            return
        if not self._once(
            ("edit", ",".join(p.text for p in setting.paths)), path.span, f"`{path.text}` is set twice"
        ):
            return
        keys = [key for _, key, _ in targets]
        if targets[0][2]:
            self._edit_argument(block, keys[0], targets[0][2], setting)
            return
        length = 2 if block.name else 1
        renamed = tuple(ast.Path(p.parts[length:], p.span) for p in setting.paths)
        self._replace(block, replace(setting, paths=renamed))

    def _edit_single(self, setting: ast.Setting, path: ast.Path) -> None:
        """`eps = 0.1` beside blocks: only `--set` may give a let or the dataset like this."""
        name = path.parts[0]
        if setting.span.file == "--set" and name.text == "dataset":
            self.merged.dataset = ast.Dataset(setting.value, setting.span)
        elif setting.span.file == "--set" and name.text in self.merged.lets:
            self.merged.lets[name.text] = ast.Let(name, setting.value, setting.span)
        else:
            keys = [".".join(k for k in key if k) for key in self.merged.blocks]
            allowed = [*self.merged.lets, "dataset", *keys] if setting.span.file == "--set" else keys
            self.report.add(
                "N108",
                f"`{path.text}` is set outside any block",
                path.span,
                "whose?",
                "write the path: `grid.runs.images`, `budget.compute`; " + did_you_mean(name.text, allowed),
            )

    def _target(
        self, path: ast.Path, setting: ast.Setting
    ) -> tuple[MergedBlock, str, tuple[ast.Name, ...]] | None:
        """The block, its setting and what of it a path means; reports N108 at the part that leads nowhere."""
        kind = path.parts[0]
        row = BLOCKS.get(kind.text)
        if row is None or kind.text == "profile":
            kinds = [k for k in BLOCKS if k != "profile"]
            self._nowhere(path, 0, f"no block is called `{kind.text}`", kinds)
            return None
        rest = path.parts[1:]
        name = ""
        if row.named:
            name, rest = rest[0].text, rest[1:]
        block = self.merged.blocks.get((kind.text, name))
        if block is None:
            known = [b.name or b.kind for b in self.merged.of(kind.text)]
            what = f"no `{kind.text}` is called `{name}`" if name else f"the study has no `{kind.text}`"
            self._nowhere(path, 1 if name else 0, what, known)
            return None
        names = [s.name for s in row.slots]
        if rest and self._is_axis(block, ".".join(part.text for part in rest), setting):
            return block, ".".join(part.text for part in rest), ()
        if not rest:
            self._nowhere(path, len(path.parts) - 1, f"`{path.text}` is a block, not a setting", names)
            return None
        if rest[0].text not in names:
            index = len(path.parts) - len(rest)
            self._nowhere(path, index, f"`{kind.text}` has no setting `{rest[0].text}`", names)
            return None
        return block, rest[0].text, rest[1:]

    def _is_axis(self, block: MergedBlock, key: str, setting: ast.Setting) -> bool:
        """Whether a path is an axis over a recipe's setting, a `let` or an attack's setting, not a call's parameter."""
        if block.kind == "grid":
            return key.startswith("recipe.") or (BLOCKS["grid"].slot(key) is None and key in self.merged.lets)
        given = setting.operator == "in" or isinstance(setting.value, ast.Sequence) or key in block.settings
        return block.kind == "evaluate" and key.startswith("attack.") and given

    def _nowhere(self, path: ast.Path, part: int, headline: str, allowed: list[str]) -> None:
        name = path.parts[part]
        self.report.add("N108", headline, name.span, "leads nowhere", did_you_mean(name.text, allowed))

    def _replace(self, block: MergedBlock, setting: ast.Setting) -> None:
        keys = {p.text for p in setting.paths}
        for zipped in list(block.zips):
            moving = {p.text for p in zipped.paths}
            if moving <= keys:
                block.zips.remove(zipped)
            elif moving & keys:
                words = ", ".join(p.text for p in zipped.paths)
                self.report.add(
                    "N108",
                    f"`{setting.key}` moves together with others here",
                    setting.paths[0].span,
                    "part of a zip",
                    f"set them together: `zip ({words}) in [(…), …]`",
                )
                return
        for key in keys:
            block.settings.pop(key, None)
        if len(setting.paths) > 1:
            block.zips.append(setting)
        else:
            block.settings[setting.key] = setting

    def _edit_argument(
        self, block: MergedBlock, key: str, rest: tuple[ast.Name, ...], setting: ast.Setting
    ) -> None:
        """`recipe.trades.attack.steps = 7`: one parameter of a call, the others as they are."""
        if block.extends is not None and key not in block.settings:
            # Which call it is, is known once every layer is in place.
            block.edits.append(setting)
            return
        path = setting.paths[0]
        scope = Scope(self.report, lets=self.merged.lets)
        edited = with_argument(block.kind, block.settings, (key, *rest), path, setting, scope)
        if edited is not None:
            block.settings[key] = edited


def _leading(statement: ast.Statement) -> tuple[str, Span]:
    match statement:
        case ast.Let(name=name):
            return "let", name.span
        case ast.Dataset(span=span):
            return "dataset", span
        case ast.Where(span=span):
            return "where", span
        case ast.Block(kind=kind):
            return kind.text, kind.span
        case ast.Setting():
            return statement.key, statement.span

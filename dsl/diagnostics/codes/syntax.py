"""Diagnostic codes of the stage: syntax. S10x what is written, S11x files, S12x imports and the command line."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code

_GOOD = "$ printf 'study tiny { dataset digits }' > good.study\n$ isoloss check good.study"

CODES: tuple[Code, ...] = (
    Code(
        "S101",
        "a character that is no part of the language",
        "The reader met a character it has no use for. Statements are not separated by anything, comments begin with "
        "`#`, texts stand in double quotes, and operators are written in ASCII: `<=`, `not`, `**`.",
        "study tiny { dataset digits; }",
        "study tiny { dataset digits }",
    ),
    Code(
        "S102",
        "something else was expected here",
        "The text is not a study from this point on. The message lists what could stand here. Reading goes on at the "
        "next block, so that one slip gives one message.",
        "study tiny { dataset digits let eps 8/255 }",
        "study tiny { dataset digits let eps = 8/255 }",
    ),
    Code(
        "S103",
        "a bracket that is never closed",
        "A `{`, `(` or `[` has no partner. The message points at the innermost one that is open where reading failed.",
        "study tiny { dataset digits let eps = (8/255",
        "study tiny { dataset digits let eps = (8/255) }",
    ),
    Code(
        "S104",
        "a text that is not closed",
        "A text begins with a double quote and ends with one on the same line.",
        'import "base.study\nstudy tiny { dataset digits }',
        "study tiny { dataset digits }",
    ),
    Code(
        "S105",
        "an expression nested too deeply",
        "Expressions may be nested 60 levels deep. Name the parts with `let`.",
        f"study tiny {{ dataset digits let x = {'-' * 80}1 }}",
        "study tiny { dataset digits let x = -1 }",
    ),
    Code(
        "S106",
        "a block with a name too many or too few",
        "Blocks that a study may have several of carry a name, by which others refer to them. A study has one `budget`, "
        "which has none.",
        "study tiny { dataset digits budget big { compute = 1 TFLOP } }",
        "study tiny { dataset digits budget { compute = 1 TFLOP } }",
    ),
    Code(
        "S107",
        "a statement in the wrong place",
        "`where` belongs in a grid, declarations belong in the study or in a profile, and profiles hold no profiles.",
        "study tiny { dataset digits where images <= 10M }",
        "study tiny { dataset digits }",
    ),
    Code(
        "S108",
        "a file without a study",
        "A study file holds one `study NAME { … }`, after its imports.",
        "# nothing yet",
        "study tiny { dataset digits }",
    ),
    Code(
        "S109",
        "a reserved word used as a name",
        "Words of the language and of units (`s`, `h`, `d`, `min`, `FLOP`, `GB`, `USD` …) can't be names: `12 h` would "
        "have two meanings.",
        "study tiny { dataset digits let h = 0.15 }",
        "study tiny { dataset digits let radius = 0.15 }",
    ),
    Code(
        "S110",
        "a setting written in the wrong form",
        "Settings are written with `=`, axes of a grid with `in`, bounds with `<=`. An axis fixed to one value is "
        "written with `=`.",
        "study tiny { dataset digits budget { compute <= 1 TFLOP } }",
        "study tiny { dataset digits budget { compute = 1 TFLOP } }",
    ),
    Code(
        "S111",
        "a file that isn't there",
        "The path names no file. Paths are relative to where the command runs, those of imports to the importing file.",
        "$ isoloss check nowhere.study",
        _GOOD,
    ),
    Code(
        "S112",
        "a file that can't be read",
        "The path is a folder, or the system refuses to open it; the message has the system's reason.",
        "$ isoloss check .",
        _GOOD,
    ),
    Code(
        "S113",
        "a file that is not text",
        "Studies are UTF-8. The message says which byte is none.",
        "$ printf 'study caf\\351 { }' > latin1.study\n$ isoloss check latin1.study",
        _GOOD,
    ),
    Code(
        "S114",
        "a file too large to be a study",
        "Studies above 2 MB are not read: this is probably another file.",
        "$ head -c 3000000 /dev/zero > huge.study\n$ isoloss check huge.study",
        _GOOD,
    ),
    Code(
        "S115",
        "a file that can't be written",
        "`isoloss fmt` writes a new file beside the old one and lets it take its place, so that a study is never half "
        "written; the system refused. The message has its reason.",
        "$ printf 'study tiny {dataset digits}' > a.study\n$ (ulimit -f 0; isoloss fmt a.study)",
        _GOOD,
    ),
    Code(
        "S120",
        "an import from outside the study's folder",
        "A study from a stranger must be safe to read, so imports lie in the study's folder or below it; symbolic links "
        "are followed before this is decided.",
        'import "../secret.study"\nstudy tiny { dataset digits }',
        "study tiny { dataset digits }",
    ),
    Code(
        "S121",
        "imports in a circle",
        "A file imports itself, at once or through others.",
        "$ printf 'import \"circle.study\" study tiny { dataset digits }' > circle.study\n$ isoloss check circle.study",
        _GOOD,
    ),
    Code(
        "S122",
        "too many imported files",
        "A study may import 50 files, counted through all levels.",
        "$ for i in $(seq 60); do printf 'study part%s { dataset digits }' $i > p$i.study; done\n"
        "$ for i in $(seq 60); do printf 'import \"p%s.study\" ' $i; done > many.study\n"
        "$ printf 'study tiny { dataset digits }' >> many.study\n$ isoloss check many.study",
        _GOOD,
    ),
    Code(
        "S123",
        "an override that is not PATH=VALUE",
        "`--set` takes a path, `=` and a value as it would stand in the file; quote it for the shell where it has blanks "
        "or brackets.",
        _GOOD + " --set images",
        "$ printf 'study tiny { dataset digits budget { } }' > good.study\n"
        "$ isoloss check good.study --set budget.compute='2 TFLOP'",
    ),
)

"""Which column of a file is which quantity: header + `--columns` -> a formula per quantity.

A formula is a product: `N`, `N*1e6`, `acc/100`, `Training FLOP/6/Model Size`. Known published tables are rows
of `LAYOUTS`, written in the same formulas, so that what they do can be read and typed by hand."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from isoloss.compiler.tables.problems import problem
from isoloss.dsl.diagnostics.diagnostic import Diagnostic

#: Quantities with numbers, in the canonical order of a table, then what only filters use.
NUMBERS = ("params", "images", "fid", "flops", "fraction", "loss", "accuracy", "planned")
TEXTS = ("run", "model", "generator", "features")
CANONICAL = ("run", "params", "images", "fid", "flops", "fraction", "loss", "accuracy")

#: Names that mean the same thing everywhere we looked; used only when the canonical name is absent.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "run": ("run_id", "run_name"),
    "params": ("N", "n_params", "num_params", "parameters"),
    "images": ("D", "tokens", "samples"),
    "fid": ("FID",),
    "flops": ("C", "FLOPs", "FLOP", "compute"),
    "fraction": ("train_fraction",),
    "loss": ("L", "Loss", "test_loss"),
    "accuracy": ("acc", "Accuracy", "test_accuracy"),
    "model": ("architecture",),
    "generator": ("data_source",),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """A published table: recognised when the header has all of `needs`. `keys` together tell runs apart;
    `features` is the space of its FIDs."""

    name: str
    needs: frozenset[str]
    formulas: Mapping[str, str]
    keys: tuple[str, ...]
    note: str
    features: str = ""


LAYOUTS = (
    # Columns and units of AT_scaling_law_data.csv as the authors' code uses them: params and data in
    # millions, `data_precise` what a whole run consumes, so images so far are scaled by the fraction.
    Layout(
        "bartoldson2024",
        frozenset({"params", "data_precise", "train_fraction", "CW_test_loss"}),
        {
            "params": "params*1e6",
            "images": "data_precise*1e6*train_fraction",
            "planned": "data*1e6",
            "fid": "FID",
            "flops": "flops",
            "fraction": "train_fraction",
            "loss": "CW_test_loss",
            "accuracy": "CW_test_acc",
            "model": "model",
            "generator": "data_source",
        },
        ("config", "model", "data", "data_source"),
        "columns of Bartoldson et al. (2024): millions; images = data_precise x train_fraction",
        "inception",
    ),
    # svg_extracted_data.csv of the Chinchilla replication (arXiv:2404.10102): tokens = FLOP / (6 N).
    Layout(
        "epoch2024",
        frozenset({"Model Size", "Training FLOP", "loss"}),
        {
            "params": "Model Size",
            "images": "Training FLOP/6/Model Size",
            "flops": "Training FLOP",
            "loss": "loss",
        },
        (),
        "columns of the Chinchilla replication (arXiv:2404.10102): images (tokens) = FLOP / (6 params)",
    ),
)


@dataclass(frozen=True, slots=True)
class Formula:
    """value = factor * product of cells**power; `stated` by the user, not guessed."""

    text: str
    factor: float
    columns: tuple[tuple[int, int], ...]  # (index in the header, +1 or -1)
    stated: bool = False


@dataclass(frozen=True, slots=True)
class Mapped:
    """A formula per number, a column index per text, the columns that tell runs apart, what was assumed."""

    formulas: Mapping[str, Formula]
    texts: Mapping[str, int]
    keys: tuple[int, ...]
    layout: Layout | None
    notes: tuple[str, ...]


def map_columns(
    header: tuple[str, ...], stated: str | None, file: str
) -> tuple[Mapped, tuple[Diagnostic, ...]]:
    """Resolve every quantity. `stated`, the text of `--columns`, overrules all else."""
    problems: list[Diagnostic] = []
    layout = next((known for known in LAYOUTS if known.needs <= set(header)), None)
    wanted: dict[str, str] = {}
    notes: list[str] = []
    if layout is not None:
        wanted = {q: text for q, text in layout.formulas.items() if _columns_of(text) <= set(header)}
        notes.append(layout.note)
    else:
        for quantity in (*NUMBERS, *TEXTS):
            found = _by_name(quantity, header)
            if found is not None:
                wanted[quantity] = found
                if found != quantity:
                    notes.append(f"`{found}` read as {quantity}")
    mine = _parse_stated(stated, file, problems)
    wanted.update(mine)
    formulas: dict[str, Formula] = {}
    texts: dict[str, int] = {}
    for quantity, text in wanted.items():
        if quantity in TEXTS:
            if text.strip('"') in header:
                texts[quantity] = header.index(text.strip('"'))
            else:
                problems.append(_unknown_column(text, header, file))
            continue
        formula = _parse_formula(text, header, file, problems, stated=quantity in mine)
        if formula is not None:
            formulas[quantity] = formula
    keys = tuple(header.index(k) for k in layout.keys if k in header) if layout else ()
    if "run" in texts:
        keys = (texts["run"],)
    problems += _missing(formulas, header, file) if not problems else []
    return Mapped(formulas, texts, keys, layout, tuple(notes)), tuple(problems)


def _by_name(quantity: str, header: tuple[str, ...]) -> str | None:
    names = (quantity, *ALIASES.get(quantity, ()))
    return next((name for name in names if name in header), None)


def _columns_of(text: str) -> set[str]:
    return {part.strip() for part in text.replace("/", "*").split("*") if not _number(part)}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None


def _parse_stated(stated: str | None, file: str, problems: list[Diagnostic]) -> dict[str, str]:
    """`params=N*1e6,loss=L` -> {"params": "N*1e6", "loss": "L"}."""
    pairs: dict[str, str] = {}
    for part in _outside_quotes(stated or ""):
        target, equals, text = part.partition("=")
        target, text = target.strip(), text.strip()
        if not target and not equals and stated in (None, ""):
            continue
        if not target or not text:
            shown = part.strip() or stated
            help = "write `--columns params=N,images=D,loss=L`; units by a factor: `params=N*1e6`"
            problems.append(problem("L110", file, f"`{shown}` in --columns is not `quantity=column`", help))
        elif target not in (*NUMBERS, *TEXTS):
            near = difflib.get_close_matches(target, CANONICAL, 1, 0.6)
            help = f"`{near[0]}` is close; " if near else ""
            listed = ", ".join((*CANONICAL, *TEXTS[1:]))
            problems.append(
                problem("L110", file, f"unknown quantity `{target}` in --columns", f"{help}of: {listed}")
            )
        elif target in pairs:
            problems.append(problem("L110", file, f"`{target}` is stated twice in --columns"))
        else:
            pairs[target] = text
    return pairs


def _outside_quotes(text: str) -> list[str]:
    """The parts between commas that stand outside double quotes."""
    return re.findall(r'(?:[^,"]|"[^"]*"?)+', text) or [text]


def written(text: str) -> str:
    """A formula or a column's name as `--columns` takes it: quoted where a comma would end it."""
    return f'"{text}"' if "," in text else text


def _parse_formula(
    text: str, header: tuple[str, ...], file: str, problems: list[Diagnostic], *, stated: bool
) -> Formula | None:
    if text.strip('"') in header:  # A column's own name may hold `*` or `/`.
        text = text.strip('"')
        return Formula(text, 1.0, ((header.index(text), 1),), stated)
    factor, columns, power = 1.0, [], 1
    for token in _tokens(text, header):
        if token in ("*", "/"):
            power = 1 if token == "*" else -1
            continue
        if token in header:
            columns.append((header.index(token), power))
            continue
        value = _number(token)
        if value is not None and value > 0:
            factor = factor * value if power > 0 else factor / value
        else:
            problems.append(_unknown_column(token, header, file))
            return None
    if not 0 < factor < float("inf"):
        problems.append(problem("L110", file, f"the factors of `{text}` are out of range"))
        return None
    return Formula(text, factor, tuple(columns), stated)


def _tokens(text: str, header: tuple[str, ...]) -> Iterator[str]:
    """Names, numbers, `*` and `/` in order. A name in quotes is one; else the longest column's name that fits, which
    may hold `/` or `*` itself."""
    names = sorted((re.escape(name) for name in header if name), key=len, reverse=True)
    word = "|".join(f"(?:{name})(?=\\s*(?:[*/]|$))" for name in names) or r"(?!)"
    for quoted, name, other, sign in re.findall(rf'"([^"]*)"|({word})|([^*/]+)|([*/])', text):
        token = quoted or name or other.strip() or sign
        if token:
            yield token


def _unknown_column(name: str, header: tuple[str, ...], file: str) -> Diagnostic:
    near = difflib.get_close_matches(name, header, 1, 0.6)
    help = (f"`{near[0]}` is close",) if near else ()
    listed = ", ".join(f"`{h}`" for h in header[:20]) + (" ..." if len(header) > 20 else "")
    return problem("L111", file, f"the table has no column `{name}`", *help, f"its columns are {listed}")


def _missing(formulas: Mapping[str, Formula], header: tuple[str, ...], file: str) -> list[Diagnostic]:
    missing = [q for q in ("params", "images") if q not in formulas]
    if "loss" not in formulas and "accuracy" not in formulas:
        missing.append("loss")
    if not missing:
        return []
    names = " and ".join(f"`{q}`" for q in missing)
    listed = ", ".join(f"`{h}`" for h in header[:20]) + (" ..." if len(header) > 20 else "")
    example = ",".join(f"{q}=COLUMN" for q in missing)
    return [
        problem(
            "L112",
            file,
            f"the table has no column {names}",
            f"its columns are {listed}; say which is which: `--columns {example}`",
            "a number in other units gets a factor: `--columns 'params=COLUMN*1e6'`",
        )
    ]

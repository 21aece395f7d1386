"""Run tables: what is read, what is recognised, and one test per kind of bad table."""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoloss.compiler.tables import RunTable, read_table
from isoloss.compiler.tables.write import table_to_csv
from isoloss.dsl.diagnostics.codes import codes
from isoloss.dsl.diagnostics.diagnostic import Diagnostic

Reader = Callable[..., tuple[RunTable | None, tuple[Diagnostic, ...]]]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    def _read(text: str | bytes, columns: str | None = None, **more: int):  # type: ignore[no-untyped-def]
        path = tmp_path / "runs.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table(path, columns, **more)

    return _read


def good(result: tuple[RunTable | None, tuple[Diagnostic, ...]]) -> RunTable:
    table, diagnostics = result
    assert table is not None, diagnostics
    return table


PLAIN = "params,images,loss\n6e6,5e6,1.2\n9e6,5e6,1.1\n20e6,1e7,0.9\n"


def test_three_columns_are_enough(read: Reader) -> None:
    table = good(read(PLAIN))
    assert table.params.tolist() == [6e6, 9e6, 20e6]
    assert table.run.tolist() == [0, 1, 2]
    assert table.line.tolist() == [2, 3, 4]
    assert np.isnan(table.fid).all()
    points = table.to_points()
    assert points.flops.tolist() == [7822.0 * n * d for n, d in zip(table.params, table.images, strict=True)]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(read: Reader, separator: str) -> None:
    assert len(good(read(PLAIN.replace(",", separator)))) == 3


def test_byte_order_mark_blank_lines_and_spaces(read: Reader) -> None:
    text = b"\xef\xbb\xbf" + PLAIN.replace(",", " , ").replace("\n", "\r\n\r\n").encode()
    assert good(read(text)).loss.tolist() == [1.2, 1.1, 0.9]


def test_the_papers_columns(read: Reader) -> None:
    header = "config,model,params,data,data_precise,data_source,FID,flops,train_fraction"
    header += ",CW_test_loss,CW_test_acc,auto_attack"
    rows = []
    for fraction, loss in ((0.0, 9.0), (0.5, 1.2), (0.75, 1.1), (1.0, 1.15)):
        flops = 7822 * 5.84905e6 * 10.035e6 * fraction
        rows.append(f"c,28-4,5.84905,10,10.035,dg20,1.65,{flops},{fraction},{loss},.4,")
    table = good(read("\n".join([header, *rows]) + "\n"))
    assert table.layout == "bartoldson2024"
    assert table.params[0] == pytest.approx(5_849_050)
    assert table.images.tolist() == pytest.approx([5.0175e6, 7.52625e6, 10.035e6])
    assert set(table.planned) == {10e6}
    assert table.fid[0] == 1.65
    assert table.num_runs == 1
    assert table.texts["generator"].names == ("dg20",)
    assert any("fraction 0" in note for note in table.notes)
    # The published rule: lowest loss at or after half the training.
    best = table.to_points().best_per_run(0.5)
    assert best.loss.tolist() == [1.1]


def test_the_chinchilla_replications_columns(read: Reader) -> None:
    table = good(read("x,y,color,Model Size,Training FLOP,hex_color,loss\n1,2,a,1e8,1.2e18,#f,3.2\n"))
    assert table.layout == "epoch2024"
    assert table.images[0] == pytest.approx(1.2e18 / 6e8)
    assert np.isnan(table.fid[0])


def test_aliases_are_used_and_said(read: Reader) -> None:
    table = good(read("C,N,D,loss\n1.2e18,1e8,2e9,3.2\n1.8e18,1e8,3e9,3.1\n"))
    assert table.flops[0] == 1.2e18
    assert "`N` read as params" in table.notes


def test_curves_without_fraction_get_it_from_their_run(read: Reader) -> None:
    table = good(read("run,params,images,loss\na,6e6,1e6,2\na,6e6,4e6,1\nb,6e6,1e6,1.9\n"))
    assert table.fraction.tolist() == [0.25, 1.0, 1.0]
    assert table.planned.tolist() == [4e6, 4e6, 1e6]


def test_curves_without_run_are_told_apart_by_length(read: Reader) -> None:
    text = "params,images,fraction,loss\n6e6,1e7,.5,1.2\n6e6,2e7,1,1.1\n6e6,5e6,1,1.3\n"
    table = good(read(text))
    assert table.run.tolist() == [0, 0, 1]
    assert any("no `run` column" in note for note in table.notes)


@pytest.mark.parametrize(
    ("columns", "params"),
    [("params=n*1e6", 6e6), ("params=1e6*n", 6e6), ("params=n/1e-6", 6e6), ("params=n*k", 18.0)],
)
def test_formulas(read: Reader, columns: str, params: float) -> None:
    table = good(read("n,k,images,loss\n6,3,5e6,1.2\n", columns))
    assert table.params[0] == pytest.approx(params)


def test_stated_column_overrules_alias_and_units(read: Reader) -> None:
    table = good(read("N,params,images,loss\n6e6,944,4e3,1.2\n", "params=params"))
    assert table.params[0] == 944


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "runs.parquet"
    columns = {"params": [6_000_000, 9_000_000], "images": [5e6, 5e6], "fid": [None, 1.5], "loss": [1.2, 1.1]}
    parquet.write_table(arrow.table(columns), path)
    table = good(read_table(path))
    assert table.params.tolist() == [6e6, 9e6]
    assert np.isnan(table.fid[0])
    assert table.line.tolist() == [1, 2]
    path.write_bytes(b"PAR1 nonsense")
    assert [d.code for d in read_table(path)[1]] == ["L104"]


#: name -> (file, columns, code, words of the message). Every row is a table that would make a wrong fit.
BAD: dict[str, tuple[str | bytes, str | None, str, str]] = {
    "empty": ("", None, "L102", "empty"),
    "only a header": ("params,images,loss\n", None, "L102", "no rows"),
    "utf-16": ("params,images,loss\n1,2,3\n".encode("utf-16"), None, "L104", "UTF-16"),
    "latin-1": (b"params,images,loss,caf\xe9\n", None, "L104", "0xe9"),
    "open quote": ('params,images,loss\n"6e6,5e6,1\n', None, "L105", "not valid CSV"),
    "column twice": ("params,images,loss,loss\n6e6,5e6,1,2\n", None, "L106", "`loss` twice"),
    "no header": ("6e6,5e6,1\n6e6,5e6,2\n", None, "L107", "no header"),
    "ragged": ("params,images,loss\n6e6,5e6\n", None, "L108", "line 2 has 2 cells"),
    "bad --columns": (PLAIN, "params", "L110", "`params`"),
    "unknown quantity": (PLAIN, "parms=N", "L110", "unknown quantity `parms`"),
    "quantity twice": (PLAIN, "loss=loss,loss=params", "L110", "twice"),
    "infinite factor": (PLAIN, "params=params*1e300*1e300", "L110", "out of range"),
    "unknown column": (PLAIN, "loss=lss", "L111", "no column `lss`"),
    "missing column": ("params,images,x\n6e6,5e6,1\n", None, "L112", "`loss`"),
    "word in a cell": ("params,images,loss\n6e6,5M,1\n6e6,6M,1\n", None, "L113", "lines 2, 3: `5M`"),
    "decimal comma": ("params;images;loss\n6e6;5e6;1,2\n", None, "L113", "`1,2`"),
    "underscores": ("params,images,loss\n6_000_000,5e6,1\n", None, "L113", "`6_000_000`"),
    "nan loss": ("params,images,loss\n6e6,5e6,nan\n", None, "L114", "line 2"),
    "empty params": ("params,images,loss\n,5e6,1\n", None, "L114", "`params` is empty"),
    "no value at all": ("params,images,accuracy\n6e6,5e6,\n", None, "L114", "`accuracy` is empty"),
    "zero loss": ("params,images,loss\n6e6,5e6,0\n", None, "L115", "`loss` is 0"),
    "negative images": ("params,images,loss\n6e6,-5e6,1\n", None, "L115", "-5e+06"),
    "infinite params": ("params,images,loss\ninf,5e6,1\n", None, "L115", "inf"),
    "absurd images": ("params,images,loss\n6e6,1e300,1\n", None, "L115", "no run has that"),
    "negative fid": ("params,images,fid,loss\n6e6,5e6,-1,1\n", None, "L115", "`fid` is -1"),
    "millions": ("params,images,loss\n5.8,5e6,1\n316,5e6,1\n", None, "L116", "`params` (largest 316)"),
    "percent": ("params,images,loss,accuracy\n6e6,5e6,1,71.6\n", None, "L117", "above 1"),
    "fraction in percent": ("params,images,fraction,loss\n6e6,5e6,50,1\n", None, "L117", "`fraction` is 50"),
    "two values": ("run,params,images,loss\na,6e6,5e6,1\na,6e6,5e6,2\n", None, "L118", "run `a`"),
    "flops in PFLOP": ("params,images,flops,loss\n6e6,5e6,235,1\n", None, "L120", "units"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_table(read: Reader, case: str) -> None:
    text, columns, code, words = BAD[case]
    table, diagnostics = read(text, columns)
    assert table is None
    assert [d.code for d in diagnostics] == [code]
    assert words in diagnostics[0].headline
    assert diagnostics[0].code in codes()


def test_every_mistake_is_told_at_once(read: Reader) -> None:
    _, diagnostics = read("params,images,loss,accuracy\n6e6,-1,0,71\n6e6,5e6,nan,.5\n")
    assert [d.code for d in diagnostics] == ["L115", "L114", "L115", "L117"]
    lines = [d.span.line for d in diagnostics if d.span]
    assert lines == [2, 3, 2, 2]


def test_a_thousand_bad_cells_are_one_message(read: Reader) -> None:
    _, diagnostics = read("params,images,loss\n" + "6e6,x,1\n" * 1000)
    assert len(diagnostics) == 1
    assert "lines 2, 3, 4, 5, 6 and 995 more" in diagnostics[0].headline


def test_repeated_rows_are_counted_once_and_said(read: Reader) -> None:
    table, diagnostics = read(PLAIN + "6e6,5e6,1.2\n")
    assert table is not None
    assert len(table) == 3
    assert [(d.code, d.severity) for d in diagnostics] == [("L119", "warning")]


def test_replicates_with_other_seeds_are_kept(read: Reader) -> None:
    assert len(good(read("run,params,images,loss\na,6e6,5e6,1.2\nb,6e6,5e6,1.21\n"))) == 2


def test_missing_file_folder_and_null_byte(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path, Path("a\0b")):
        table, diagnostics = read_table(path)
        assert table is None
        assert [d.code for d in diagnostics] == ["L101"]


def test_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(2**30)  # One sparse gigabyte: reading it would find no header instead.
    table, diagnostics = read_table(path)
    assert table is None
    assert [d.code for d in diagnostics] == ["L103"]
    assert "1,024 MiB" in diagnostics[0].headline


def test_a_stream_without_size_is_bounded(tmp_path: Path, read: Reader) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), pipe.open("w") as file:
            file.write(PLAIN + "".join(f"6e6,{i}e6,1\n" for i in range(2, 100_000)))

    writer = threading.Thread(target=feed)
    writer.start()
    _, diagnostics = read_table(pipe, limit_bytes=100_000)
    writer.join()
    assert [d.code for d in diagnostics] == ["L103"]
    _, diagnostics = read("x" * (2**20 + 1))
    assert [d.code for d in diagnostics] == ["L104"]


def test_canonical_csv_reads_back_equal(read: Reader) -> None:
    text = "run,params,images,fid,flops,fraction,loss,accuracy\n"
    text += "a,5849050,2500000.5,1.65,1.1e17,0.5,1.2000000000000002,0.5\na,5849050,5000001,1.65,,1,1.1,\n"
    first = good(read(text))
    second = good(read(table_to_csv(first)))
    for name in ("params", "images", "fid", "flops", "fraction", "loss", "accuracy", "run"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


CELLS = st.one_of(
    st.sampled_from(
        ["", "nan", "inf", "-1", "0", "1e6", "5e6", "0.9", "1e999", "1,5", '"', "x", "1_0", "\0"]
    ),
    st.text(max_size=6),
    st.floats().map(str),
)
HEADERS = st.sampled_from(
    [
        "params,images,loss",
        "N,D,L",
        "run,params,images,fid,flops,fraction,loss,accuracy",
        "params,images,accuracy",
        "params,data,data_precise,train_fraction,CW_test_loss,FID",
        "Model Size,Training FLOP,loss",
        "",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    HEADERS,
    st.lists(st.lists(CELLS, min_size=1, max_size=8).map(",".join), max_size=6),
    st.binary(max_size=8),
)
def test_no_text_raises(read: Reader, header: str, rows: list[str], tail: bytes) -> None:
    text = "\n".join([header, *rows]).encode("utf-8", "surrogatepass") + tail
    table, diagnostics = read(text)
    if table is None:
        assert diagnostics
        assert all(d.severity == "error" and d.code in codes() for d in diagnostics)
    else:
        assert np.isfinite(table.params).all()
        assert (table.params > 0).all()
        assert (table.images > 0).all()
        assert len(table_to_csv(table).splitlines()) >= len(table) + 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="params=imagelo*/1e6,. NDL", max_size=30))
def test_no_columns_text_raises(read: Reader, columns: str) -> None:
    table, diagnostics = read(PLAIN, columns)
    assert table is not None or diagnostics


ROWS = "1e6{0}1e6{0}1.9\n1e6{0}1e7{0}1.7\n1e7{0}1e7{0}1.5\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("told", [False, True])
def test_cells_are_told_apart_by_what_fits(tmp_path: Path, delimiter: str, told: bool) -> None:
    """Found from the whole, or said as spreadsheets say it."""
    path = tmp_path / "runs.csv"
    first = f"sep={delimiter}\n" if told else ""
    header = delimiter.join(["params", "images", "loss"])
    path.write_text(first + header + "\n" + ROWS.format(delimiter))
    table = good(read_table(path))
    assert table.loss.tolist() == [1.9, 1.7, 1.5]
    # Lines are counted as an editor counts them.
    path.write_text(first + header + "\n" + ROWS.format(delimiter).replace("1.7", "x"))
    assert f"line {4 if told else 3}" in read_table(path)[1][0].headline


def test_a_comma_in_a_name_is_no_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params;images;loss, test\n" + ROWS.format(";"))
    assert good(read_table(path, 'loss="loss, test"')).loss[0] == 1.9
    path.write_text('"params\n(count)";"images\n(count)";loss\n' + ROWS.format(";"))
    assert good(read_table(path, "params=params (count),images=images (count)")).params[0] == 1e6
    path.write_text("params images loss\n" + ROWS.format(" "))
    assert good(read_table(path, delimiter=" ")).loss[2] == 1.5


@pytest.mark.parametrize("name", ["eval/robust_acc", "a*b/c", "acc, robust", "eval/a b"])
def test_any_name_can_be_said_and_a_hint_can_be_pasted(tmp_path: Path, name: str) -> None:
    path = tmp_path / "runs.csv"
    rows = "".join(f"{line},{50 + k}\n" for k, line in enumerate(ROWS.format(",").splitlines()))
    shown = f'"{name}"' if "," in name else name
    path.write_text(f"params,images,loss,{shown}\n{rows}")
    [wrong] = read_table(path, f"accuracy={shown}")[1]
    assert wrong.code == "L117"
    hint = shlex.split(wrong.help[0].partition("`")[2].rpartition("`")[0])
    assert hint[0] == "--columns"
    assert good(read_table(path, hint[1])).accuracy[0] == 0.5

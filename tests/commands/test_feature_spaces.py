"""`fit`, `optimum`, `forecast`, `import`, `plan --runs`: a FID stays in its feature space."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from doc_commands import Ran, run_commands
from tables_of_runs import qualities


def isoloss(folder: Path, command: str) -> Ran:
    [ran] = run_commands([f"isoloss {command}"], folder)
    assert "Traceback" not in ran.out + ran.err
    return ran


def with_space(text: str, space: str) -> str:
    """The same table with a column that says the space of its fids."""
    head, *rows = text.strip().split("\n")
    return "\n".join([f"{head},features", *(f"{row},{space}" for row in rows)]) + "\n"


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fits of one table whose fids are said to be of pixels, of Inception, or not said."""
    folder = tmp_path_factory.mktemp("fits")
    for name, text in (
        ("pixels", with_space(qualities(), "pixels")),
        ("inception", with_space(qualities(), "inception")),
        ("unsaid", qualities()),
    ):
        (folder / f"{name}.csv").write_text(text)
        ran = isoloss(folder, f"fit {name}.csv --law approach2 --resamples 0 -o {name}.json")
        assert ran.code == 0, ran.err
        assert ("quality: fid @ pixels" in ran.out) == (name == "pixels")
    return folder


def test_a_fit_says_the_space_of_its_table(fits: Path) -> None:
    said = {n: orjson.loads((fits / f"{n}.json").read_bytes())["features"] for n in ("pixels", "unsaid")}
    assert said == {"pixels": "pixels", "unsaid": None}


@pytest.mark.parametrize(
    ("question", "refused"),
    [
        ("optimum pixels.json --fid 1.65", True),
        ("optimum pixels.json --fid '1.65 @ inception'", True),
        ("optimum pixels.json --fid '1.65 @ resnet18'", True),
        ("optimum pixels.json --fid '1.65 @ pixels'", False),
        ("optimum pixels.json --fid 0", False),
        ("optimum pixels.json", False),
        ("optimum inception.json --fid 1.65", False),
        ("optimum unsaid.json --fid 1.65", False),
        ("optimum unsaid.json --fid '1.65 @ pixels'", False),
        ("optimum bartoldson2024.approach2 --fid '1.65 @ pixels'", True),
        ("forecast bartoldson2024.approach2 --fid '1.65 @ pixels'", True),
        ("forecast bartoldson2024.approach2 pixels.json --fid 0", True),
        ("forecast bartoldson2024.approach2 inception.json --fid 1.65", False),
        ("optimum bartoldson2024.approach1 --fid '1.65 @ pixels'", False),
    ],
)
def test_a_law_is_asked_in_its_own_space(question: str, refused: bool, fits: Path) -> None:
    ran = isoloss(fits, f"{question} --compute 1e21")
    assert ran.code == (1 if refused else 0), ran.err
    assert ("L218" in ran.err) == refused


@pytest.mark.parametrize(
    "fid", ["1.65 @", "@ pixels", "1.65 @ a b", "1.65 @ <b>", "-1 @ pixels", "1 @ pixels @ x"]
)
def test_what_is_no_fid_is_refused(fid: str, fits: Path) -> None:
    ran = isoloss(fits, f"optimum pixels.json --compute 1e21 --fid '{fid}'")
    assert ran.code == 2
    assert "L211" in ran.err


def test_the_answer_says_the_space(fits: Path) -> None:
    asked = "optimum pixels.json --compute 1e21 --fid '1.65 @ pixels'"
    assert "FID 1.65 @ pixels" in isoloss(fits, asked).out
    assert orjson.loads(isoloss(fits, f"{asked} --json").out)["features"] == "pixels"
    assert "FID 1.65\n" in isoloss(fits, "optimum inception.json --compute 1e21 --fid 1.65").out


def test_a_table_of_two_spaces_fits_no_law_of_quality(fits: Path) -> None:
    rows = qualities().strip().split("\n")
    head, half = rows[0], len(rows) // 2
    text = "\n".join(
        [f"{head},features", *(f"{r},{'pixels' if i < half else 'resnet18'}" for i, r in enumerate(rows[1:]))]
    )
    (fits / "two.csv").write_text(text + "\n")
    for command in ("--law approach2", "--law approach3", "--law chinchilla --where 'fid < 2'"):
        ran = isoloss(fits, f"fit two.csv --resamples 0 {command}")
        assert ran.code == 1
        assert "L217" in ran.err
        assert "`fd @ resnet18`" in ran.err
    assert isoloss(fits, "fit two.csv --resamples 0 --law chinchilla").code == 0


def test_real_data_is_of_every_space(fits: Path) -> None:
    head, *rows = qualities().strip().split("\n")
    fid = head.split(",").index("fid")
    kept = list(rows)
    for i in range(0, len(kept), 2):
        cells = kept[i].split(",")
        cells[fid] = "0"
        kept[i] = ",".join(cells) + ",inception"
    text = "\n".join([f"{head},features", *(r if r.endswith("inception") else f"{r},pixels" for r in kept)])
    (fits / "real.csv").write_text(text + "\n")
    assert isoloss(fits, "fit real.csv --law approach2 --resamples 0 -o real.json").code == 0
    assert orjson.loads((fits / "real.json").read_bytes())["features"] == "pixels"


def test_import_keeps_what_the_published_table_says(tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text(
        "config,model,params,data,data_precise,data_source,FID,flops,train_fraction,CW_test_loss,CW_test_acc\n"
        "a,wrn,5.8,5,5.0176,dg20,1.65,2.3e17,1.0,0.92,0.56\n"
    )
    assert isoloss(tmp_path, "import theirs.csv -o ours.csv").code == 0
    head, row = (tmp_path / "ours.csv").read_text().strip().split("\n")
    assert dict(zip(head.split(","), row.split(","), strict=True))["features"] == "inception"


@pytest.mark.parametrize(("space", "found"), [("inception", True), ("", True), ("pixels", False)])
def test_runs_of_another_space_are_no_cells_of_a_study(space: str, found: bool, tmp_path: Path) -> None:
    (tmp_path / "paper.study").write_text(
        "study paper { dataset cifar10\n"
        "  generator dg { sampler = dg(steps = 20) fid = 1.65 images = 100M }\n"
        "  recipe r { loss = trades() attack = pgd(eps = 8/255) batch = 1024 lr = 0.2 }\n"
        "  evaluate robust { attack = pgd(eps = 8/255, steps = 40, loss = cw) }\n"
        "  grid runs { model in [wrn(28, 4)] generator = dg images in [5M, 10M] recipe = r } }\n"
    )
    (tmp_path / "runs.csv").write_text(f"params,images,fid,features,loss\n5849050,5e6,1.65,{space},0.92\n")
    ran = isoloss(tmp_path, "plan paper.study --store none --runs runs.csv --json")
    assert ran.code == 0, ran.err
    states = [job["state"] for job in orjson.loads(ran.out)["jobs"]]
    assert states.count("done") == (2 if found else 0)

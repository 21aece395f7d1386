"""No password or token of a tracking URI is shown, whichever way it is written."""

from __future__ import annotations

import io
import os
from pathlib import Path
from urllib.parse import quote, quote_plus

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.runtime.store.store import Store
from isoloss.runtime.tracking.secrets import Censor, shown, without_secrets
from isoloss.runtime.tracking.tracker import Tracker

SECRET = "s3cr3t-Xy"
FORMS = [
    f"postgresql://me:{SECRET}@host/db",
    f"postgresql+psycopg2://me:{SECRET}@host:5432/db?sslmode=require",
    f"postgresql://me:a@{SECRET}@host/db",
    f"postgresql://me:a/{SECRET}@host/db",
    f"postgresql://me:a?{SECRET}@host/db",
    f"postgresql://me:a#{SECRET}@host/db",
    f"postgresql://:{SECRET}@host/db",
    f"postgresql://host/db?user=me&password={SECRET}",
    f"postgresql://host/db?user=me;password={SECRET}",
    f"mysql://me:{quote('@' + SECRET, safe='')}@host/db",
    f"mysql://host/db?{SECRET}",
    f"http://{SECRET}@host:5000",
    f"https://{SECRET}:@host/mlflow",
    f"https://{SECRET}:x-oauth-basic@host/mlflow",
    f"https://token:{SECRET}@host/mlflow#part",
    f"https://host/mlflow?token={SECRET}#x",
    f"https://host/mlflow#{SECRET}",
    f"sqlite+pysqlcipher://:{SECRET}@/folder/x.db?cipher=aes-256-cfb",
    f"sqlite:////tmp/x.db?key={SECRET}",
]


@pytest.mark.parametrize("uri", FORMS)
def test_no_form_shows_it(uri: str) -> None:
    assert SECRET not in shown(uri)
    for said in (
        uri,
        f"can't parse '{uri}'!",
        f"{SECRET} is wrong",
        repr(uri),
        quote(uri),
        f"x={quote_plus(SECRET)}",
    ):
        assert SECRET not in without_secrets(said, uri)


@given(
    st.text(min_size=4),
    st.sampled_from(["postgresql://me:{}@host/db", "https://{}@h", "mysql://h/db?password={}"]),
)
def test_any_password_quoted_or_not(password: str, form: str) -> None:
    for written in (quote(password, safe=""), quote_plus(password)):
        uri = form.format(written)
        for said in (uri, password, written):
            left = without_secrets(said, uri).replace("***", "")
            assert password not in left
            assert written not in left


def test_what_is_no_secret_is_shown() -> None:
    assert shown("postgresql://me:pw@host/db") == "postgresql://me:***@host/db"
    assert shown("sqlite:////home/a@b/x.db") == "sqlite:////home/a@b/x.db"
    assert shown("http://host:5000/path") == "http://host:5000/path"
    assert shown("databricks") == "databricks"
    assert without_secrets("user me at host", "postgresql://me:pw@host/db") == "user me at host"


def test_a_stream_is_censored_also_where_a_write_cuts_a_secret() -> None:
    under = io.StringIO()
    stream = Censor(under, FORMS[0])
    for piece in ("failed: ", SECRET[:4], SECRET[4:], " no\nmore ", "text\n"):
        stream.write(piece)
    assert under.getvalue() == "failed: *** no\nmore text\n"


@pytest.mark.parametrize("uri", [f"http://user:{SECRET}@127.0.0.1:9", f"nonsense://me:{SECRET}@127.0.0.1/x"])
def test_the_tracking_process_keeps_it_to_itself(uri: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.journal.append({"event": "study", "study": "d", "name": "n", "state": "running"})
    tracker = Tracker(store, uri)
    assert tracker._process is not None
    command = " ".join(psutil.Process(tracker._process.pid).cmdline())
    assert SECRET not in command
    assert SECRET not in (reason := tracker.finish())
    assert reason
    for folder, _, files in os.walk(store.path):
        for name in files:
            assert SECRET.encode() not in Path(folder, name).read_bytes(), name

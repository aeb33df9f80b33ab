"""Writing results: standard JSON, equal bytes, no half files."""

import json

import numpy as np
import pytest

from jaxou.report import files, page


def test_json_is_standard_and_rounded():
    content = {
        "a": np.float64(1 / 3),
        "b": [np.int64(3), float("nan")],
        "c": np.array([1.0, np.inf]),
    }
    text = files.to_json(content)
    assert json.loads(text) == {"a": 0.3333333333, "b": [3, "nan"], "c": [1.0, "inf"]}
    assert text == files.to_json(json.loads(text))


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = files.write_text(tmp_path / "x.txt", "old")
    monkeypatch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_csv_leaves_what_does_not_exist_empty(tmp_path):
    path = files.write_csv(tmp_path / "t.csv", ("a", "b"), [("x", None), ("y, z", 0.1 + 0.2)])
    assert path.read_text() == 'a,b\nx,\n"y, z",0.3\n'


def test_pieces_of_the_page_escape_text():
    assert "&lt;b&gt;" in page.table(("<b>",), [("<b>", 1.5)])
    assert page.figure(None, "alt", "caption") == ""
    assert "data:image/png;base64,cG5n" in page.figure(b"png", "alt", "caption")
    assert page.number(float("inf")) == "infinite" and page.number(None) == "–"

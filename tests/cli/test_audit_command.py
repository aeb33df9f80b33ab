"""`jaxou audit`: files in every dialect, exit codes, and one line for whatever is wrong."""

import csv
import subprocess
import sys

import pytest

from jaxou.cli import main

# seeger at delta = 0.05: 0.11500677...
HEADER = ["Name", "Empirical risk", "KL/n", "n", "Certificate"]
GOOD = ["a", "0.05", "0.0241", "5000", "0.1151"]
BELOW = ["b", "0.05", "0.0241", "5000", "0.1141"]
ROUNDED = ["c", "0.05", "0.0241", "5000", "0.115"]


@pytest.fixture
def write(tmp_path):
    def write(*rows, header=HEADER, delimiter=",", encoding="utf-8", name="claims.csv"):
        file = tmp_path / name
        with file.open("w", encoding=encoding, newline="") as stream:
            csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
        return file

    return write


def run(capsys, file, *flags, delta="0.05"):
    """(exit code, stdout, stderr)."""
    spent = [] if delta is None else ["--delta", delta]
    code = main(["audit", str(file), *spent, *map(str, flags)])
    return (code, *capsys.readouterr())


def complaint(capsys, file, *flags, delta="0.05"):
    """The one line with which the command refuses."""
    code, _, err = run(capsys, file, *flags, delta=delta)
    assert code == 2 and err.count("\n") == 1 and err.startswith("jaxou audit: "), (code, err)
    return err


# ---- what is right


def test_exit_codes_and_summary(capsys, write):
    code, out, err = run(capsys, write(GOOD))
    assert (code, err) == (0, "") and "1 claim: 1 hold, none below the exact value" in out
    code, out, _ = run(capsys, write(GOOD, BELOW, ROUNDED))
    assert code == 1
    assert out.splitlines()[-1] == (
        "3 claims: 1 hold, 1 below the exact value (by at most 0.00091, row 2), 1 below by less "
        "than the rounding in print"
    )
    assert "risk = 'Empirical risk' (guessed)" in out and "kl_over_n = 'KL/n' (guessed)" in out
    assert run(capsys, write(GOOD, ROUNDED))[0] == 0
    assert run(capsys, write(GOOD, ROUNDED), "--strict")[0] == 1


def test_the_table_is_plain_where_there_is_no_terminal(capsys, write):
    _, out, _ = run(capsys, write(GOOD, BELOW))
    lines = out.splitlines()
    assert lines[0].split() == ["row", "risk", "KL", "n", "claimed", "exact", "short", "by",
                                "verdict"]  # fmt: skip
    assert lines[2].split() == ["2", "0.05", "120.5", "5000", "0.1141", "0.1150068", "0.00091",
                                "below"]  # fmt: skip
    assert "\x1b" not in out and "│" not in out


def test_long_tables_show_the_worst_first(capsys, write):
    rows = [[str(i), "0.05", "0.0241", "5000", f"{0.1149 - i * 1e-4:.4f}"] for i in range(30)]
    _, out, _ = run(capsys, write(*rows), "--rows", 3)
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["30", "29", "28"]
    assert out.splitlines()[4] == ""


@pytest.mark.parametrize("width,whole", [("200", True), ("60", False)])
def test_a_terminal_gets_colours_and_no_number_is_cut(capsys, write, monkeypatch, width, whole):
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, _ = run(capsys, write(GOOD, BELOW))
    assert code == 1 and "\x1b[" in out and "…" not in out
    assert all(cell in out for cell in ("0.1141", "0.1150068", "0.00091", "below", "holds"))
    assert ("120.5" in out) == ("5000" in out) == whole
    assert ("a wider terminal shows n, KL" in " ".join(out.split())) != whole


@pytest.mark.parametrize(
    "delimiter,encoding,comma",
    [(",", "utf-8", False), (",", "utf-8-sig", False), (";", "utf-8-sig", True),
     (";", "utf-8", False), ("\t", "utf-16", True), ("|", "utf-8", False)],
)  # fmt: skip
def test_dialects(capsys, write, delimiter, encoding, comma):
    local = lambda row: [cell.replace(".", ",") if comma else cell for cell in row]
    quoted = ["x" + delimiter + ' "y"\nz', *GOOD[1:]]
    rows = [local(GOOD), local(quoted), local(BELOW)]
    code, out, _ = run(capsys, write(*rows, delimiter=delimiter, encoding=encoding))
    assert code == 1 and "3 claims: 2 hold, 1 below" in out and "0.00091, row 3" in out


def test_thousands_blank_lines_and_trailing_delimiters(capsys, tmp_path):
    file = tmp_path / "c.csv"
    file.write_text('\nrisk,kl,n,claim\n\n0.05,120.5,"5,000",0.1151,\n0.05,120.5,5000,11.51 %\n\n')
    code, out, _ = run(capsys, file)
    assert code == 0 and "2 claims: 2 hold" in out
    file.write_text('disk,risk,kl,n,claim\n5" wide,0.05,120.5,5000,0.1151\n')  # no quoted field
    assert run(capsys, file)[0] == 0


def test_columns_by_flags_and_what_was_spent(capsys, write):
    header = ["err", "stuff", "size", "mc", "cert"]
    file = write(["0.05", "120.5", "5000", "1000", "0.13"], header=header)
    flags = ("--risk", "err", "--kl", "STUFF", "--n", "size", "--claimed", "cert", "--draws", "mc")
    code, out, _ = run(capsys, file, *flags, "--delta-mc", "0.01")
    assert code == 1 and "0.05 on the PAC-Bayes event + 0.01 on the Monte Carlo step = 0.06" in out
    assert "risk at most" in out
    code, out, _ = run(capsys, file, *flags, "--delta-both")
    assert "= 0.1, where 0.05 is stated" in out and "as stated" in out
    assert run(capsys, file, *flags[:-1], "none")[0] == 0
    code, out, _ = run(capsys, file, *flags[:4], "--n", "500000", *flags[6:-1], "none")
    assert "n = 500000" in out
    assert run(capsys, file, *flags[:-1], "none", "--bound", "mcallester_he")[0] == 1


def test_bad_rows_are_reported_and_the_others_go_on(capsys, write):
    rows = [GOOD, ["d", "abc", *GOOD[2:]], ["e", "0.05"], [*GOOD, "more"], ["f", "nan", *GOOD[2:]]]
    code, out, _ = run(capsys, write(*rows))
    assert code == 0 and "5 claims: 1 hold, none below the exact value, 4 unusable" in out
    assert "row 2 (line 3) is unusable: Empirical risk is 'abc', not a number" in out
    assert "row 3 (line 4) is unusable: has 2 fields, the header has 5" in out
    assert "row 4 (line 5) is unusable: has 6 fields" in out
    assert "row 5 (line 6) is unusable: Empirical risk is NaN" in out


def test_out_keeps_the_old_columns_and_adds_the_new(capsys, write, tmp_path):
    file = write(["x;y", *GOOD[1:]], BELOW, ["d", "abc", *GOOD[2:]], delimiter=";")
    assert run(capsys, file, "--out", tmp_path / "new" / "out.csv")[0] == 1
    with (tmp_path / "new" / "out.csv").open(newline="") as stream:
        first, second, third = csv.DictReader(stream, delimiter=";")
    assert first["Name"] == "x;y" and first["Certificate"] == "0.1151"
    assert float(first["audit_exact"]) == pytest.approx(0.11500677764303, rel=1e-12)
    assert (first["audit_verdict"], second["audit_verdict"]) == ("holds", "below")
    assert float(second["audit_short"]) == pytest.approx(9.0677764303e-4, rel=1e-9)
    assert third["audit_verdict"] == "unusable" and third["audit_exact"] == ""
    assert "not a number" in third["audit_reason"] and float(first["audit_spent"]) == 0.05


def test_per_cent(capsys, write):
    file = write(["a", "5", "0.0241", "5000", "11.51"], ["b", "5", "0.0241", "5000", "11.41"])
    assert "--percent divides both by 100, --no-percent takes" in complaint(capsys, file)
    code, out, _ = run(capsys, file, "--percent")
    assert code == 1 and "1 hold, 1 below" in out


# ---- what is wrong


@pytest.mark.parametrize(
    "flags,says",
    [
        (("--risk", "Emprical risk"), "no such column; did you mean 'Empirical risk'?"),
        (("--n", "N_target"), "neither a column nor a number"),
        (("--draws", "100"), "give --delta-mc a column or a number; or --delta-both"),
        (("--kl", "KL/n", "--kl-over-n", "KL/n"), "give --kl or --kl-over-n, not both"),
        (("--bound", "segeer"), "did you mean 'seeger'?"),
        (("--bound", "catoni_phi"), "not a row without parameters"),
        (("--rsik", "x"), "unknown option --rsik; did you mean --risk?"),
        (("--risk",), "expected one argument"),
        (("--rows", "many"), "invalid int value"),
        (("--rows", "-1"), "it must be 0 or more"),
        (("second.csv",), "unexpected argument 'second.csv'"),
    ],
)
def test_wrong_flags(capsys, write, flags, says):
    assert says in complaint(capsys, write(GOOD), *flags)


def test_missing_columns(capsys, write):
    err = complaint(capsys, write(GOOD), delta=None)
    assert "no column for the failure probability: give --delta a column or a number" in err
    err = complaint(capsys, write(["1", "2"], header=["a", "b"]))
    assert "no column for the empirical risk: give --risk a column; there are a, b" in err


@pytest.mark.parametrize(
    "content,says",
    [
        (b"", "is empty"), (b" \n\n", "is empty"), (b"\xef\xbb\xbf", "is empty"),
        (b"risk,kl,n,claim\n", "has a header and no rows"),
        (b"0.05,120.5,5000,0.1151\n0.05,1,2,3\n", "begins with numbers"),
        (b"risk,kl,n,claim\n\xff\xfe\x00", "is not text in UTF-8"),
        (b"risk,kl,n,claim\nx,y,z,w\n", "no row of"),
        (b'risk,kl,n,claim\n1,2,3,4\n0.05,1,9,"0.1\n1,2,3,4\n', "line 3: a quotation mark"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(capsys, tmp_path, content, says):
    file = tmp_path / "c.csv"
    file.write_bytes(content)
    assert says in complaint(capsys, file)


def test_files_that_are_not_there(capsys, tmp_path, write):
    assert "no such file" in complaint(capsys, tmp_path / "nowhere.csv")
    assert "is a folder" in complaint(capsys, tmp_path)
    assert main(["audit"]) == 2 and "no file: jaxou audit FILE.csv" in capsys.readouterr().err
    file = write(GOOD)
    before = file.read_bytes()
    assert "is the audited file itself" in complaint(capsys, file, "--out", file)
    assert file.read_bytes() == before
    (tmp_path / "wall").write_text("")
    assert "cannot be written" in complaint(capsys, file, "--out", tmp_path / "wall" / "out.csv")


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["audit", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for flag in ("--risk", "--kl-over-n", "--delta-both", "--draws", "--claimed", "--out"):
        assert flag in text
    main([])
    assert "jaxou audit" in capsys.readouterr().out


@pytest.mark.multiprocess
def test_complaints_do_not_import_jax(write):
    code = (
        "import sys; from jaxou.cli import main; print('code', main(sys.argv[1:]))\n"
        "print('heavy', [m for m in ('jax', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    words = ["audit", str(write(GOOD)), "--delta", "0.05", "--risk", "nothing"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60
    )
    assert "code 2" in done.stdout and "heavy []" in done.stdout, done

"""Settings: precedence, round trips, and one line with exit code 2 for whatever is wrong."""

import dataclasses
import os
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest

from jaxou.cli import main, parse_run
from jaxou.config import LOGISTICS, ConfigError, RunConfig, leaves, setting_names

LEAVES = [(name, kind) for name, _, (kind, _) in leaves(RunConfig())]


def flag(name):
    return "--" + name.replace("_", "-")


def as_toml(name, literal):
    """One TOML document that sets the dotted `name`."""
    *table, key = name.split(".")
    return (f"[{'.'.join(table)}]\n" if table else "") + f"{key} = {literal}\n"


def complaint(capsys, arguments):
    """The one line with which `jaxou run` refuses `arguments`."""
    code = main(["run", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1 and err.endswith("\n"), err
    assert err.startswith("jaxou run: ")
    assert "Traceback" not in err and "╭" not in err
    return err


# ---- what is right


def test_defaults_are_valid_and_large_enough():
    config = parse_run([])
    assert config == RunConfig()
    assert config.particles >= 10_000


def test_precedence_defaults_file_flags(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("seed = 5\n[finetune]\nlearning_rate = 1\nsteps = 70\n")
    config = parse_run([str(file), "--finetune.steps", "90"])
    assert config.seed == 5  # file over default
    assert config.finetune.learning_rate == 1.0 and isinstance(config.finetune.learning_rate, float)
    assert config.finetune.steps == 90  # flag over file
    assert config.pretrain == RunConfig().pretrain  # default


@pytest.mark.parametrize("where", ["flag", "file"])
def test_quick_lowers_defaults_but_not_what_was_asked_for(tmp_path, where):
    file = tmp_path / "c.toml"
    file.write_text("replicas = 77\n" + ("quick = true\n" if where == "file" else ""))
    config = parse_run([str(file)] + (["--quick"] if where == "flag" else []))
    assert config.quick and config.replicas == 77
    assert config.particles == RunConfig.defaults(quick=True).particles < RunConfig().particles


@pytest.mark.parametrize("quick", [False, True])
def test_resolved_toml_reads_back_as_itself(tmp_path, quick):
    config = parse_run(["--seed", "3", "--pretrain.momentum", "0.5"] + ["--quick"] * quick)
    file = tmp_path / "config.toml"
    file.write_text(config.to_toml())
    assert parse_run([str(file)]) == config
    assert "out" not in tomllib.loads(config.to_toml())  # a place on one machine is not a setting


def test_identity_sees_every_setting_that_matters():
    base = RunConfig()
    for name, value, (kind, _) in leaves(base):
        *table, key = name.split(".")
        new = {bool: not value, int: None, float: None}.get(kind)
        if kind in (int, float):
            new = value + 1
        if new is None:
            new = Path("other") if kind is Path else typing.get_args(kind)[1]
        if table:
            changed = dataclasses.replace(
                base, **{table[0]: dataclasses.replace(getattr(base, table[0]), **{key: new})}
            )
        else:
            changed = dataclasses.replace(base, **{key: new})
        assert (changed.identity() == base.identity()) == (name in LOGISTICS), name
    assert base.identity("1.0") != base.identity("1.1")


def test_underscores_and_equals_signs_work():
    assert parse_run(["--finetune.learning_rate=0.5"]).finetune.learning_rate == 0.5


# ---- what is wrong

WRONG_TYPE = {int: ("1.5", '"many"', "true"), float: ('"x"', "true", "[1.0]", "nan", "inf"),
              bool: ("1", '"yes"'), Path: ("3",)}  # fmt: skip


@pytest.mark.parametrize("name,kind", LEAVES, ids=[n for n, _ in LEAVES])
def test_wrong_types_in_a_file(tmp_path, capsys, name, kind):
    for literal in WRONG_TYPE.get(kind, ("3", '"nothing of the kind"')):
        file = tmp_path / "c.toml"
        file.write_text(as_toml(name, literal))
        err = complaint(capsys, [file])
        assert name in err and "it must be" in err and "c.toml" in err


# every word is a path
@pytest.mark.parametrize("name,kind", [leaf for leaf in LEAVES if leaf[1] is not Path])
def test_wrong_types_in_a_flag(capsys, name, kind):
    if kind is bool:
        err = complaint(capsys, [f"{flag(name)}=maybe"])
        assert flag(name) in err and "takes no value" in err
        return
    for words in ([flag(name), "x!"], [f"{flag(name)}=x!"], [flag(name)]):
        err = complaint(capsys, words)
        assert flag(name) in err and "it must be" in err


@pytest.mark.parametrize("name,kind", LEAVES, ids=[n for n, _ in LEAVES])
def test_misspelt_settings_are_named_and_corrected(tmp_path, capsys, name, kind):
    wrong = name + "zz"
    file = tmp_path / "c.toml"
    file.write_text(as_toml(wrong, "1"))
    err = complaint(capsys, [file])
    assert f"unknown setting {wrong}" in err and f"did you mean {name}?" in err
    err = complaint(capsys, [flag(wrong), "1"])
    assert f"unknown option {flag(wrong)}" in err and f"did you mean {flag(name)}?" in err


OUT_OF_RANGE = [
    ("finetune.learning_rate", "0.0"), ("finetune.learning_rate", "-0.1"),
    ("pretrain.batch_size", "0"), ("pretrain.steps", "0"), ("finetune.momentum", "1.0"),
    ("finetune.weight_decay", "0.0"), ("data.n_target", "1201"), ("data.n_source", "4001"),
    ("bound.delta", "0.0"), ("certificate.delta", "1.0"), ("certificate.draws", "1"),
    ("particles", "0"), ("replicas", "1"), ("snapshots", "0"), ("seed", "-1"),
    ("initial_scale", "0.0"), ("finetune.batch_size", "1201"),
]  # fmt: skip


@pytest.mark.parametrize("name,literal", OUT_OF_RANGE)
def test_values_out_of_range(tmp_path, capsys, name, literal):
    file = tmp_path / "c.toml"
    file.write_text(as_toml(name, literal))
    for arguments in ([file], [flag(name), literal]):
        err = complaint(capsys, arguments)
        assert name in err and literal in err and "it must" in err


@pytest.mark.parametrize(
    "content,says",
    [
        ("seed = \n", "not valid TOML"),
        ("[finetune\n", "not valid TOML"),
        ("seed = 1\nseed = 2\n", "not valid TOML"),
        (b"\xff\xfe\x00", "not valid TOML"),
        ("finetune = 3\n", "must be a table"),
        ("[seed]\nx = 1\n", "must be an integer"),
        ('"two\\nlines" = 1\n', "unknown setting"),
        ("[finetune.optimiser]\nname = 'adam'\n", "unknown setting finetune.optimiser"),
    ],
)
def test_bad_files(tmp_path, capsys, content, says):
    file = tmp_path / "c.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert says in complaint(capsys, [file])


def test_missing_file_and_folder_for_a_file(tmp_path, capsys):
    assert "no such file" in complaint(capsys, [tmp_path / "nowhere.toml"])
    assert str(tmp_path) in complaint(capsys, [tmp_path])
    assert "one configuration file at most" in complaint(capsys, ["a.toml", "b.toml"])


def test_unknown_command(capsys):
    assert main(["train"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "'train'" in err and "run" in err


def test_api_raises_the_same_sentence():
    with pytest.raises(ConfigError, match=r"^particles = 3: it must be from 100"):
        RunConfig(particles=3).validate()


# ---- help


def test_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(flag(name) in text for name in setting_names(RunConfig))


def test_overview_and_version(capsys):
    assert main([]) == 0 and main(["--help"]) == 0 and main(["--version"]) == 0
    assert "jaxou run" in capsys.readouterr().out


@pytest.mark.multiprocess
def test_help_and_complaints_do_not_import_jax():
    code = (
        "import sys, runpy\n"
        "sys.argv = ['jaxou'] + sys.argv[1:]\n"
        "try: runpy.run_module('jaxou', run_name='__main__')\n"
        "except SystemExit as stop: print('code', stop.code)\n"
        "print('heavy', [m for m in ('jax', 'numpy', 'equinox', 'matplotlib') if m in sys.modules])"
    )
    for words, status in ((["run", "--help"], 0), (["run", "--nope"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60
        )
        assert f"code {status}" in done.stdout and "heavy []" in done.stdout, done


def test_a_reader_that_goes_away_leaves_no_trace():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "jaxou", "study", "list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=120)
    os.close(writer)
    assert done.returncode == 1 and done.stderr == b"", done.stderr


def test_programs_are_kept_where_the_user_says(tmp_path, monkeypatch):
    from jaxou import cli

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    folder = cli._programs_folder()
    assert folder.is_dir() and folder.parent == tmp_path / "jaxou"
    assert folder == cli._programs_folder()
    # jax's own variable wins, and a place that cannot be written is done without
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cli._programs_folder() is None
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    assert cli._programs_folder() is None


def test_what_is_found_is_shown_with_its_step(capsys):
    from jaxou import cli

    with cli._progress() as step, step("Training") as say:
        say("test error: 6.0 %")
    said = capsys.readouterr().err
    assert said.index("Training") < said.index("test error: 6.0 %")

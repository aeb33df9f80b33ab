"""Fields that carry their own checks, and settings that are read over defaults."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import hashlib
import inspect
import json
import math
import textwrap
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

_Check = tuple[Callable[[Any], bool], str]
POSITIVE: _Check = (lambda x: x > 0, "positive")
NOT_NEGATIVE: _Check = (lambda x: x >= 0, "zero or more")
AT_LEAST_ONE: _Check = (lambda x: x >= 1, "1 or more")
FRACTION: _Check = (lambda x: 0 < x < 1, "strictly between 0 and 1")


def between(low: int, high: int) -> _Check:
    """The check of a field that lies from `low` to `high`, both allowed."""
    return (lambda x: low <= x <= high, f"from {low} to {high}")


class ConfigError(ValueError):
    """A setting that cannot be used; the message is one line.

    >>> from jaxou.config import RunConfig
    >>> RunConfig(seed=-1).validate()
    Traceback (most recent call last):
    ...
    jaxou.config.fields.ConfigError: seed = -1: it must be from 0 to 4294967295
    """


def setting(default: Any, check: _Check | None = None) -> Any:
    """A dataclass field with its default and what its value must pass."""
    return field(default=default, metadata={} if check is None else {"check": check})


def check(config: Any) -> Any:
    """`config`, or `ConfigError` naming the first setting that cannot be used.

    >>> from jaxou.config import DiabetesConfig
    >>> check(DiabetesConfig(replicas=3))
    Traceback (most recent call last):
    ...
    jaxou.config.fields.ConfigError: replicas = 3: it must be from 100 to 1000000
    """
    for name, value, spec in leaves(config):
        check_value(name, value, spec)
    return config


def setting_names(config: Any) -> list[str]:
    """Dotted names of all settings, e.g. `finetune.learning_rate`."""
    return [name for name, _, _ in leaves(config() if isinstance(config, type) else config)]


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, tuple[Any, Any]]]:
    """Yield (dotted name, value, (type, check)) of every field below `config`."""
    hints = _hints(type(config))
    for spec in dataclasses.fields(config):
        value, name = getattr(config, spec.name), prefix + spec.name
        if dataclasses.is_dataclass(value):
            yield from leaves(value, name + ".")
        else:
            yield name, value, (hints[spec.name], spec.metadata.get("check"))


_hints = functools.cache(typing.get_type_hints)  # slow, and the same for every configuration


def overlay(config: Any, table: Mapping[str, Any], prefix: str = "") -> Any:
    """Replace the fields of `config` that `table` names, checking keys, types and values."""
    hints = _hints(type(config))
    known = {spec.name: spec for spec in dataclasses.fields(config)}
    changes = {}
    for key, value in table.items():
        name = prefix + key
        if key not in known:
            raise ConfigError(f"unknown setting {name}{did_you_mean(key, known, prefix)}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name} = {value!r}: it must be a table of settings")
            changes[key] = overlay(getattr(config, key), value, name + ".")
        else:
            changes[key] = check_value(name, value, (hints[key], known[key].metadata.get("check")))
    return dataclasses.replace(config, **changes)


def check_value(name: str, value: Any, spec: tuple[Any, Any]) -> Any:
    """The value in its field's type, or `ConfigError`."""
    kind, check = spec
    value = _coerce(name, value, kind)
    if check is not None and not check[0](value):
        raise ConfigError(f"{name} = {value!r}: it must be {check[1]}")
    return value


def _coerce(name: str, value: Any, kind: Any) -> Any:
    wrong = ConfigError(f"{name} = {value!r}: it must be {describe(kind)}")
    if typing.get_origin(kind) is Literal:
        if not any(value == a and type(value) is type(a) for a in typing.get_args(kind)):
            raise wrong
        return value
    if kind is float:
        # TOML writes 1 for 1.0; a boolean is not a number
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong
        try:
            value = float(value)
        except OverflowError:
            raise wrong from None
        if not math.isfinite(value):
            raise wrong
        return value
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
        raise wrong
    return value


def describe(kind: Any) -> str:
    """A type in words, as in "it must be an integer"."""
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    names = {float: "a finite number", int: "an integer", bool: "true or false", Path: "a path"}
    return names.get(kind, str(kind) if isinstance(kind, types.GenericAlias) else "a text")


def did_you_mean(key: str, known: Iterable[str], prefix: str = "") -> str:
    """What to add to a complaint about `key`: the nearest of the known names, or all of them.

    >>> did_you_mean("stepz", ("steps", "seed")), did_you_mean("x", ("steps", "seed"))
    ('; did you mean steps?', '; there are steps, seed')
    """
    known = list(known)
    close = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else f"; there are {', '.join(known)}"


def words_of(config: type) -> dict[str, str]:
    """What the text below each field says of it, by the field's own name; one line each.

    >>> from jaxou.config import DiabetesConfig
    >>> words_of(DiabetesConfig)["batch_size"]
    'Patients per minibatch.'
    """
    body = ast.parse(textwrap.dedent(inspect.getsource(config))).body[0].body  # type: ignore[attr-defined]
    return {
        above.target.id: " ".join(below.value.value.split())
        for above, below in zip(body, body[1:], strict=False)
        if isinstance(above, ast.AnnAssign)
        and isinstance(above.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def read_text(path: Path | str) -> str:
    """The text of a settings file, or `ConfigError`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {flat(error)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None


def parse_toml(text: str, where: Path | str) -> dict[str, Any]:
    """The table of a TOML text, or `ConfigError` that names `where` it came from."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {flat(error)}") from None


def identity_of(settings: Any, *extra: str) -> str:
    """Twelve hex digits of settings that JSON can hold, and of `extra`: the name of a cache."""
    text = json.dumps([settings, *extra], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def flat(error: BaseException) -> str:
    """The message of an error in one line."""
    return " ".join(str(error).split())

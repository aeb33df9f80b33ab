"""Every public name says what it is and shows it in an example; formulas of papers name them."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import jaxou

PLACES = (
    "linalg",
    "laws",
    "kernels",
    "stages",
    "particles",
    "convergence",
    "convergence.statistics",
    "bounds",
    "curvature",
    "transfer",
    "studies",
    "studies.kinds",
    "plots",
    "report",
    "claims",
)
RECORDS = {
    # what a function gives back is shown where it is made
    "AverageLaw": "stages.average_law",
    "Irreversibility": "convergence.irreversibility",
    "IrreversibilityReport": "convergence.irreversibility",
    "MomentRecord": "particles.Moments",
    "Agreement": "convergence.agreement",
    "ControlledEstimate": "convergence.control_variate",
    "Escapes": "convergence.escape_times",
    "LogNormaliser": "convergence.log_normaliser",
    "PlugInKL": "convergence.plug_in_kl",
    "Kramers": "convergence.kramers_rate",
    "Verdict": "convergence.verdict",
    "Relaxation": "convergence.relaxation",
    "EffectiveSize": "convergence.statistics.effective_size",
    "Findings": "convergence.statistics.evaluate",
    "Test": "convergence.statistics.evaluate",
    "Family": "convergence.statistics.min_p",
    "Power": "convergence.statistics.power",
    "Joint": "convergence.statistics.joint_null",
    "Applicable": "bounds.applicable",
    "Audit": "bounds.audit",
    "BestPosterior": "bounds.best_posterior",
    "BestStopping": "bounds.best_stopping",
    "BoundGrid": "bounds.bound_grid",
    "BoundPath": "bounds.bound_path",
    "BoundRow": "bounds.catalogue",
    "BoundTerms": "bounds.two_stage_bound",
    "Catalogue": "bounds.catalogue",
    "CheckpointPrior": "bounds.checkpoint_prior",
    "Discrepancy": "bounds.discrepancy",
    "Dominance": "bounds.dominance",
    "ExpectedLosses": "bounds.expected_losses",
    "PriorScale": "bounds.best_scale",
    "Receipt": "bounds.Ledger",
    "Sensitivities": "bounds.sensitivities",
    "StageBound": "bounds.two_stage_bound",
    "Tuned": "bounds.tune",
    "TwoStageBound": "bounds.two_stage_bound",
    "Bootstrap": "curvature.bootstrap",
    "Curvature": "curvature.measure",
    "Fit": "curvature.fit",
    "LeadingPairs": "curvature.leading_pairs",
    "Spectrum": "curvature.spectrum",
    "Adapted": "transfer.adapted",
    "Certificate": "transfer.certify",
    "LedgerRow": "bounds.Ledger",
    "Optimum": "transfer.minimise",
    "Verification": "transfer.verify",
    "Cell": "studies.Study.make",
    "Summary": "studies.run",
    "Table": "studies.collect",
    "LeastSquaresMoments": "transfer.least_squares_moments",
}
SHOWN_ELSEWHERE = {
    # name -> (why it has no example here, the file that has one)
    "AbstractMatrix": ("it is not made but subclassed", "jaxou/linalg/matrices/diagonal.py"),
    "AbstractChain": ("Chain and TwoStage are the ones to make", "jaxou/stages/chain.py"),
    "AbstractMethod": ("it is subclassed", "jaxou/particles/methods/stepper.py"),
    "AbstractObserver": ("it is subclassed", "CONTRIBUTING.md"),
    "Loss": ("ZeroOne, Bounded, ... are the ones to make", "jaxou/bounds/losses.py"),
    "Weights": ("Uniform, Geometric, ... are the ones to make", "jaxou/bounds/weights.py"),
    "Outcome": ("a pair of values and a status", "CONTRIBUTING.md"),
    "StudyError": ("an exception", "tests/studies/test_engine.py"),
    "CertificateError": ("an exception", "tests/transfer/test_store.py"),
    "TransferData": ("it needs the extra `data`", "jaxou/transfer/data.py"),
    "Examples": ("it needs the extra `data`", "tests/transfer/test_data.py"),
    "load": ("it needs the extra `data`", "tests/transfer/test_data.py"),
    "digits": ("it needs the extra `data`", "tests/transfer/test_data.py"),
    "mnist": ("it needs the extra `data`", "jaxou/transfer/data.py"),
    "mnist_poses": ("it needs the extra `data`", "jaxou/transfer/poses.py"),
    "posed_source": ("it needs the extra `data`", "jaxou/transfer/poses.py"),
    "Deployed": ("it is made from a certificate", "jaxou/transfer/deployed.py"),
    "Replicas": ("it is made by sgd_replicas", "jaxou/transfer/replicas.py"),
    "Risk": ("it is made by Certificate.test_risk", "README.md"),
    "Report": ("it takes a minute to make", "jaxou/report/experiments/user.py"),
    "run_and_write": ("it takes a minute", "tests/report/test_run.py"),
    "report.run": ("it takes a minute", "tests/report/test_run.py"),
    "Claim": ("run_claims makes it", "jaxou/claims/run.py"),
    "run_claims": ("it takes minutes", "tests/claims/test_claims_command.py"),
}
EXAMPLE = re.compile(r"^\s*>>> ", re.M)


def public(place):
    """name -> object, for the names that a module or package shows."""
    module = importlib.import_module(f"jaxou.{place}")
    path = Path(module.__file__)
    if hasattr(module, "__all__"):
        names = module.__all__
    elif path.name == "__init__.py":
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        names = [a.asname for node in imports for a in node.names if a.asname == a.name]
    else:
        names = [name for name in jaxou._NAMES.get(place, ()) if hasattr(module, name)]
    found = {name: getattr(module, name) for name in names if not name.startswith("_")}
    return {
        name: thing
        for name, thing in found.items()
        if inspect.isclass(thing) or inspect.isroutine(thing) or hasattr(thing, "__wrapped__")
    }


def own_text(thing):
    """The docstring of a thing itself, and those of the public methods that its class defines."""
    texts = [thing.__doc__ or ""]
    if inspect.isclass(thing):
        methods = {k: v for k, v in vars(thing).items() if not k.startswith("_")}
        texts += [getattr(v, "__doc__", None) or "" for v in methods.values()]
    return "\n".join(texts)


def resolve(dotted):
    parts = dotted.split(".")
    thing = importlib.import_module("jaxou")
    for i, part in enumerate(parts):
        try:
            thing = getattr(thing, part)
        except AttributeError:
            thing = importlib.import_module("jaxou." + ".".join(parts[: i + 1]))
    return thing


@pytest.fixture(autouse=True)
def drawing():
    pytest.importorskip("matplotlib", reason="jaxou.plots draws with it")


@pytest.mark.parametrize("place", PLACES)
def test_every_public_name_has_a_docstring_and_an_example(place):
    silent, bare = [], []
    for name, thing in public(place).items():
        first = (thing.__doc__ or "").strip().partition("\n")[0]
        if len(first.split()) < 3:
            silent.append(name)
        known = RECORDS.keys() | SHOWN_ELSEWHERE.keys()
        if not EXAMPLE.search(own_text(thing)) and not {name, f"{place}.{name}"} & known:
            bare.append(name)
    assert not silent, f"jaxou.{place}: no sentence that says what these are: {silent}"
    assert not bare, f"jaxou.{place}: no example that runs: {bare}"


def test_every_name_of_the_root_is_one_of_these():
    shown = set().union(*(public(place) for place in PLACES)) | {"Status"}
    names = [n for n in jaxou.__all__ if not inspect.ismodule(getattr(jaxou, n))]
    assert set(names) <= shown, set(names) - shown
    assert EXAMPLE.search(jaxou.Status.__doc__)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_shown_where_it_is_made(name):
    assert EXAMPLE.search(own_text(resolve(RECORDS[name]))), RECORDS[name]


def test_exceptions_are_few_and_used():
    """No exception outlives its reason: the name exists, and has no example of its own."""
    everything = {}
    for place in PLACES:
        for name, thing in public(place).items():
            everything[name] = everything[f"{place}.{name}"] = thing
    unknown = [name for name in (*RECORDS, *SHOWN_ELSEWHERE) if name not in everything]
    assert not unknown, unknown
    shown = [n for n in SHOWN_ELSEWHERE if EXAMPLE.search(everything[n].__doc__ or "")]
    assert not shown, f"these have examples now: {shown}"
    root = Path(jaxou.__file__).parents[1]
    if (root / "pyproject.toml").exists():
        for name, (_, path) in SHOWN_ELSEWHERE.items():
            assert (root / path).exists(), (name, path)
            assert name.split(".")[-1] in (root / path).read_text(encoding="utf-8"), (name, path)


def test_every_row_of_the_catalogue_names_its_paper_or_says_that_it_is_derived():
    source = re.compile(r"arXiv|doi|(19|20)\d\d|[Dd]erived|Folklore")
    rows = public("bounds.rows")
    bare = [name for name, row in rows.items() if not source.search(own_text(row))]
    assert {"seeger", "on_lambda_grid"} <= set(rows)
    assert not bare, bare


def test_the_check_sees_a_missing_example():
    """The wrong twin: a documented function without one, and one whose example is prose."""

    def bare():
        """It says what it is, and >>> is only mentioned."""

    assert not EXAMPLE.search(own_text(bare)) and EXAMPLE.search(own_text(jaxou.simulate))

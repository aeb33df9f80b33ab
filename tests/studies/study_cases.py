"""The small study that the tests of this folder run."""

from jaxou.studies import Study


def small(**changes):
    """150 cells of one shape: two batches and a part of one."""
    table = dict(
        name="small",
        experiment="theory",
        quantities=["target_bound", "kl", "risk"],
        base={"problem": {"dimension": 3}, "finetune": {"steps": 40}},
        design={
            "axes": {
                "finetune.learning_rate": {"from": 0.01, "to": 3.0, "points": 25, "scale": "log"},
                "problem.shift": [0.0, 0.2, 1.0],
                "finetune.batch_size": [1, 8],
            }
        },
    )
    return Study.make(**(table | changes))

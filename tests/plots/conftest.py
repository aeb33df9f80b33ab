"""What all tests of figures draw on."""

import pytest


@pytest.fixture
def ax():
    """Axes in jaxou's style, rendered once at the end, with the settings of others left alone."""
    import matplotlib
    from matplotlib.figure import Figure

    from jaxou import plots

    before = dict(matplotlib.rcParams)
    with plots.style():
        ax = Figure(figsize=(4, 3)).add_subplot()
        yield ax
        ax.figure.canvas.draw()  # a smoke render of whatever the test drew
    assert dict(matplotlib.rcParams) == before

"""Pages in a real browser: no complaint on its console, sorted tables, figures that fill the
window, and no sideways scrolling at the width of a phone."""

import html
import json
import re
import shutil
import subprocess

import pytest

from jaxou.report.page import figure, page, section, table

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
    "789c63f8cfc000000301010018dd8db00000000049454e44ae426082"
)
ROWS = [("b", 10.0), ("a", float("nan")), ("c", -2.0), ("d", 1e6), ("e", float("inf"))]

PROBE = """<script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument, found = {};
  found.fits = page.documentElement.scrollWidth <= frame.clientWidth;
  const first = () => [...page.querySelectorAll("tbody")[0].rows].map(r => r.cells[0].textContent);
  const heads = page.querySelectorAll("table")[0].querySelectorAll("th");
  const column = heads.length > 1 ? 1 : 0;
  heads[column].click(); found.up = first();
  heads[column].click(); found.down = first();
  const image = page.querySelector("figure img");
  image.click();
  const box = image.getBoundingClientRect();
  found.zoomed = box.width >= frame.clientWidth - 20 && box.top <= 0;
  image.click();
  found.small = image.getBoundingClientRect().width < box.width || box.width <= frame.clientWidth;
  found.links = [...page.querySelectorAll("nav a")].every(
    a => page.getElementById(a.getAttribute("href").slice(1)));
  document.title = JSON.stringify(found);
});
</script>"""


def looked_at(text, folder):
    """What the browser makes of a page in a frame as wide as a phone, and its console."""
    frame = f'<iframe width="390" height="800" srcdoc="{html.escape(text)}"></iframe>'
    whole = folder / "frame.html"
    whole.write_text(f"<!DOCTYPE html><html><body>{frame}{PROBE}</body></html>")
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--enable-logging=stderr", "--virtual-time-budget=5000",
            f"--user-data-dir={folder / 'profile'}", whole.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stdout[:500]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(title.group(1))), console


def example():
    wide = [tuple(float(k) for k in range(30))]
    return page(
        "An <example>",
        "lead",
        [
            section("First things", table(("name", "number"), ROWS)),
            section("Wide", table([f"column {k}" for k in range(30)], wide)),
            section("Figure", figure(PIXEL, "a pixel", "caption")),
        ],
        "foot",
    )


def test_a_page_refers_to_nothing_outside():
    text = example()
    assert not re.search(r'(src|href)="(?!#|data:)', text) and "http" not in text
    assert '<a href="#first-things">First things</a>' in text and "&lt;example&gt;" in text


@needs_browser
def test_a_page_in_a_browser(tmp_path):
    found, console = looked_at(example(), tmp_path)
    assert console == []
    assert found["fits"] and found["zoomed"] and found["links"]
    assert found["up"] == ["c", "b", "d", "e", "a"]  # NaN after all others
    assert found["down"][1:] == ["e", "d", "b", "c"] and found["down"][0] == "a"


@needs_browser
def test_the_probe_sees_a_page_that_is_too_wide_and_one_that_throws(tmp_path):
    wide = example().replace("<nav>", '<div style="width:900px">x</div><nav>')
    broken = example().replace("<script>", "<script>nothing.here();")
    (tmp_path / "1").mkdir(), (tmp_path / "2").mkdir()
    assert not looked_at(wide, tmp_path / "1")[0]["fits"]
    assert looked_at(broken, tmp_path / "2")[1]


@needs_browser
def test_the_report_of_a_study_in_a_browser(tmp_path):
    pytest.importorskip("matplotlib")
    from jaxou.studies import Study, collect, run
    from jaxou.studies.page import write_report

    study = Study.make(
        name="shifts <and> sizes", experiment="theory",
        quantities=["target_bound.seeger", "kl"], reading="What does a shift cost?",
        base={"problem": {"dimension": 2}},
        design={"axes": {"problem.shift": {"values": [0.0, 0.5, 1.0]},
                         "bound.n_target": {"values": [100, 1000]}}},
    )  # fmt: skip
    run(study, tmp_path / "out", progress=False)
    results = collect(tmp_path / "out")
    text = write_report(results, tmp_path / "out").read_text()
    assert "shifts &lt;and&gt; sizes" in text and "What does a shift cost?" in text
    assert text.count("<figure>") == len(list((tmp_path / "out" / "figures").iterdir())) > 0
    (tmp_path / "look").mkdir()
    found, console = looked_at(text, tmp_path / "look")
    assert console == [] and found["fits"] and found["links"] and found["zoomed"]

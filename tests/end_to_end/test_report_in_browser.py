"""The report in a real browser: no error, no request, and each figure is there to be seen.

The tests exist once for each browser on PATH; without one, tests/unit/test_report.py still guards the page's text.
"""

import json
import re
import shutil
import subprocess

import pytest

from longspan.evaluation.report import report
from tests.scores import SCORES

BROWSERS = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
# A browser that looks for updates is no concern of the page's, and must not reach anyone from a test.
ALONE = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND")
OWN = "not an origin"  # who asks when the browser asks for itself


def browse(browser, folder, page, *options):
    """Open a page: what the browser printed and what it logged."""
    command = [browser, *ALONE, f"--user-data-dir={folder / 'profile'}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode(), done.stderr.decode()


def errors_and_requests(browser, folder, page):
    """Console messages of a page, addresses it asked for, and the document as the browser understood it."""
    log = folder / "net.json"
    options = ("--enable-logging=stderr", "--v=0", f"--log-net-log={log}", "--dump-dom")
    document, printed = browse(browser, folder, page, *options)
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    asked = [event["params"] for event in events if "url" in event.get("params", {})]
    wanted = sorted({p["url"] for p in asked if p.get("initiator", OWN) != OWN})
    return re.findall(r".*CONSOLE.*", printed), wanted, document


def seen(browser, folder, page, width):
    """Heights [pixels] of the parts of a picture of the page that have a colour of its figures."""
    import numpy as np
    from matplotlib import image

    shot = folder / f"{width}.png"
    browse(browser, folder, page, "--hide-scrollbars", f"--screenshot={shot}", f"--window-size={width},9000")
    pixels = (image.imread(shot)[..., :3] * 255).round().astype(int)
    figures = "".join(re.findall(r"<svg .*?</svg>", page.read_text(encoding="utf-8"), flags=re.S))
    found = np.zeros(pixels.shape[:2], bool)
    for colour in sorted(set(re.findall(r"(?:fill|stroke): #([0-9a-f]{6})", figures))):
        parts = [int(colour[i : i + 2], 16) for i in (0, 2, 4)]
        if max(parts) - min(parts) > 40:  # grey is the colour of text as well
            found |= np.abs(pixels - parts).max(axis=-1) <= 1
    rows = np.flatnonzero(found.sum(axis=1) >= 2)
    groups = np.split(rows, np.flatnonzero(np.diff(rows) > 350) + 1)  # a legend stands nearer, the next figure further
    return [int(group[-1] - group[0] + 1) for group in groups if len(group)]


if BROWSERS:
    each = pytest.mark.parametrize("browser", BROWSERS)

    @each
    def test_the_page_opens_without_errors_and_asks_for_nothing(browser, tmp_path):
        page = report(SCORES, tmp_path / "page.html", title="A title")
        messages, asked, document = errors_and_requests(browser, tmp_path, page)
        assert not messages
        assert not asked
        assert document.count("<svg") == document.count("</svg>") == 4
        assert "What came out" in document

    @each
    def test_an_error_and_a_request_would_be_seen(browser, tmp_path):
        page = tmp_path / "page.html"
        page.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("broken")</script>')
        messages, asked, _ = errors_and_requests(browser, tmp_path, page)
        assert "broken" in "".join(messages)
        assert asked == ["http://127.0.0.1:9/x.png"]

    @each
    @pytest.mark.parametrize("width", [1200, 500])
    def test_each_figure_has_a_size(browser, tmp_path, width):
        page = report(SCORES, tmp_path / "page.html", title="A title")
        heights = seen(browser, tmp_path, page, width)
        assert len(heights) == 4  # a curve, a depth map, dots, short against long
        assert min(heights) >= 5
        assert max(heights) < 1000
        hidden = tmp_path / "hidden.html"
        hidden.write_text(
            page.read_text(encoding="utf-8").replace("<svg ", '<svg style="display: none" '), encoding="utf-8"
        )
        assert seen(browser, tmp_path, hidden, width) == []

"""Draws the gallery's pictures from real runs: `python tools/gallery_pictures.py [DEMO …]`, all of them without a name.

Runs the default preset of each experiment in the page itself, in Chromium, and keeps its first chart, light and dark, as a small WebP beside the
page's other files. An experiment without pictures is shown by its first letter.
"""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from demos.core.registry import load_demos  # the project is found from here
from tests.serving import serving

FOLDER = ROOT / "tutor" / "ui" / "static" / "gallery"
WIDTH, HEIGHT = 400, 225
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

# The first chart without words (they would be too small to read, and in one language), fitted into the picture.
_PICTURE = """async ([dark, width, height]) => {
  document.body.classList.toggle('dark', dark);
  await new Promise(done => setTimeout(done, 500));
  const chart = echarts.getInstanceByDom(document.querySelector('.stage-canvas'));
  const quiet = { axisLabel: { show: false }, axisTick: { show: false }, name: '' };
  const options = chart.getOption();
  if (options.xAxis) chart.setOption({ xAxis: quiet, yAxis: quiet, legend: { show: false }, grid: { left: 12, right: 12, top: 12, bottom: 12, width: null, height: null }, graphic: { elements: [] } }, { replaceMerge: options.graphic ? ['graphic'] : [] });
  const unnamed = item => item?.label ? { ...item, label: { ...item.label, show: typeof item.label.formatter === 'string' && item.label.formatter.length <= 2 } } : item;
  const series = options.series.map(({ type, data, label, markLine }) => ({
    endLabel: { show: false }, label: { show: type === 'scatter' && Boolean(label?.show) }, ...(type === 'scatter' ? { data: data.map(unnamed) } : {}),
    ...(markLine ? { markLine: { data: markLine.data.map(line => ({ ...line, label: { show: false } })) } } : {}),
  }));
  if (options.xAxis) chart.setOption({ series });
  else chart.setOption({ graphic: { elements: options.graphic[0].elements.filter(element => element.type !== 'text') } }, { replaceMerge: ['graphic'] });
  chart.resize({ width: options.xAxis ? width : undefined, height: options.xAxis ? height : undefined });
  const background = dark ? '#0b0f19' : '#ffffff';
  const drawn = chart.getRenderedCanvas({ pixelRatio: 1, backgroundColor: background });
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext('2d');
  pen.fillStyle = background;
  pen.fillRect(0, 0, width, height);
  const scale = Math.min(width / drawn.width, height / drawn.height);
  pen.drawImage(drawn, (width - drawn.width * scale) / 2, (height - drawn.height * scale) / 2, drawn.width * scale, drawn.height * scale);
  return canvas.toDataURL('image/webp', 0.82).split(',')[1];
}"""


def main(names: list[str]) -> int:
    """Draws the named experiments' pictures; the exit code."""
    demos = load_demos()
    if unknown := sorted(set(names) - set(demos)):
        print(f"there is no experiment called {', '.join(unknown)}; there are: {', '.join(demos)}", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("no Chromium here: install your system's chromium package", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        environment = {"TUTOR_CACHE": scratch, "TUTOR_FEEDBACK": "off", "PATH": "/usr/bin:/bin"}
        with serving(sys.executable, ROOT, Path(scratch), environment) as address:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            for name in names or demos:
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(f"{address}/?demo={name}&lang=en&__theme=light")
                draw(page, name)
                page.close()
            browser.close()
    return 0


def draw(page: Page, name: str) -> None:
    """Runs the experiment that the page has opened, and writes its two pictures."""
    page.locator("#run").wait_for()
    page.wait_for_timeout(2000)  # the load events
    page.locator("#run").click()
    page.locator(".stage-downloads:not([hidden])").wait_for(timeout=300_000)  # shown when a run has ended
    page.wait_for_timeout(500)  # its last frame is drawn
    for dark in (False, True):
        file = FOLDER / f"{name}.{'dark' if dark else 'light'}.webp"
        file.write_bytes(base64.b64decode(page.evaluate(_PICTURE, [dark, WIDTH, HEIGHT])))
        print(file.relative_to(ROOT), file.stat().st_size)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

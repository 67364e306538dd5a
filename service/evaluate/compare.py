"""Pictures on the HTML page: two versions over each other, with a divider that one drags."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from omnicodec.service.evaluate.previews import EQUAL_SIZE, Preview, View

# The divider is an <input type=range> as large as the picture, so that pointers, fingers, arrow
# keys and screen readers work as they do with any other slider. Without scripts, all versions
# stand beside each other.
STYLE: Final = """
.stage { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: .6rem; }
.view p { margin: .2rem 0 0; font-size: .85rem; }
.view span { opacity: .75; }
.choice { display: none; }
.stage input { display: none; }
.js .choice { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap;
  gap: .4rem 1.2rem; padding: .5rem 0; background: Canvas; border-bottom: 1px solid var(--line); }
.js .choice select { font: inherit; max-width: 100%; }
.js .stage { --cut: 50%; position: relative; width: min(100%, var(--width)); gap: 0 1rem;
  grid-template-columns: 1fr 1fr; }
.js .large .stage { width: min(100%, 2 * var(--width)); image-rendering: pixelated; }
.js .view { display: contents; }
.js .view img, .js .view p { display: none; }
.js .view.a img, .js .view.b img { display: block; grid-area: 1 / 1 / 2 / 3; }
.js .view.b img { clip-path: inset(0 0 0 var(--cut)); z-index: 1; }
.js .view.a p { display: block; grid-area: 2 / 1; }
.js .view.b p { display: block; grid-area: 2 / 2; text-align: right; }
.js .stage input { display: block; grid-area: 1 / 1 / 2 / 3; z-index: 1; width: 100%; height: 100%;
  margin: 0; appearance: none; cursor: ew-resize; touch-action: pan-y; outline-offset: 2px;
  background: linear-gradient(90deg, #0009 1px, #fff 1px 3px, #0009 3px) calc(var(--cut) - 2px) 0 /
    4px 100% no-repeat; }
.stage input::-webkit-slider-thumb { appearance: none; width: 2px; height: 2.6rem;
  background: #fff; box-shadow: 0 0 0 3px #fff, 0 0 0 4px #0008; border-radius: 1px; }
.stage input::-moz-range-thumb { width: 2px; height: 2.6rem; border: 0;
  background: #fff; box-shadow: 0 0 0 3px #fff, 0 0 0 4px #0008; border-radius: 1px; }
"""

SCRIPT: Final = """
const root = document.documentElement, choice = document.querySelector('.choice');
if (choice) {
  root.classList.add('js');
  const [left, right] = choice.querySelectorAll('select');
  const show = () => {
    for (const view of document.querySelectorAll('.view')) {
      view.classList.toggle('a', view.dataset.title === left.value);
      view.classList.toggle('b', view.dataset.title === right.value);
    }
  };
  left.addEventListener('change', show);
  right.addEventListener('change', show);
  choice.querySelector('input').addEventListener('change', (event) =>
    choice.parentElement.classList.toggle('large', event.target.checked));
  for (const slider of document.querySelectorAll('.stage input')) {
    const cut = () => slider.parentElement.style.setProperty('--cut', slider.value + '%');
    slider.addEventListener('input', cut);
    cut();
  }
  show();
}
"""

ABOUT: Final = (
    "The middle of each picture at its own scale; all versions are shown as WebP. Drag across a "
    "picture, or use the arrow keys: what is left of the line is one version, what is right of "
    "it the other."
)


def picture_section(previews: Sequence[tuple[str, str, Preview]]) -> str:
    """Return the choice of two versions, and all pictures: names, figures, and views.

    The views have the same titles for each picture, the original first.
    """
    titles = [view.title for view in previews[0][2]]
    # The codec on the left; on the right a file format of the same size, or the original.
    anchors = [view.title for view in previews[0][2] if view.title.endswith(EQUAL_SIZE)]
    right = anchors[-1] if anchors else titles[0]
    selects = "".join(
        f"<label>{side} <select>{_options(titles, chosen)}</select></label>"
        for side, chosen in (("Left:", titles[1]), ("Right:", right))
    )
    figures = "\n".join(
        f"<figure><figcaption>{escape(name)}<span>{escape(figures)}</span></figcaption>"
        f"{_stage(name, views)}</figure>"
        for name, figures, views in previews
    )
    return (
        f'<p>{ABOUT}</p>\n<section><div class="choice">{selects}'
        '<label><input type="checkbox"> twice as large</label></div>\n'
        f"{figures}\n</section>\n<script>{SCRIPT}</script>"
    )


def _options(titles: Sequence[str], chosen: str) -> str:
    marks: Mapping[bool, str] = {True: " selected", False: ""}
    return "".join(f"<option{marks[t == chosen]}>{escape(t)}</option>" for t in titles)


def _stage(name: str, views: Sequence[View]) -> str:
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(views[0].picture)) as picture:
        width, height = picture.size
    shown = "".join(
        f'<div class="view" data-title="{escape(view.title)}">'
        f'<img src="{data_url("image/webp", view.picture)}" width="{width}" height="{height}" '
        f'alt="{escape(f"{name}, {view.title}")}">'
        f"<p>{escape(view.title)} <span>{escape(view.detail)}</span></p></div>"
        for view in views
    )
    slider = (
        '<input type="range" min="0" max="100" step="0.25" value="50" '
        f'aria-label="Divider of {escape(name)}">'
    )
    return f'<div class="stage" style="--width: {width}px">{shown}{slider}</div>'


def data_url(kind: str, data: bytes) -> str:
    """Return a file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"

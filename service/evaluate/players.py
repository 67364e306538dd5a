"""Clips on the HTML page: two versions beside each other in step, and figures of each frame."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from omnicodec.service.evaluate.compare import data_url
from omnicodec.service.evaluate.frame_chart import frame_charts
from omnicodec.service.evaluate.previews import CLIP_SECONDS, Preview, View

STYLE: Final = """
.players { display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.players video { width: 100%; height: auto; display: block; background: #000; }
.players p { margin: .2rem 0 0; font-size: .85rem; } .players p span { opacity: .75; }
.transport { display: none; }
.timed .transport { display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center;
  margin: .4rem 0; }
.transport input[type=range] { flex: 1 1 12rem; } .transport output { min-width: 5.5rem; }
.transport button, .transport select { font: inherit; }
.timed .players { grid-template-columns: 1fr 1fr; }
.timed .players > div { display: none; }
.timed .players > div.a, .timed .players > div.b { display: block; }
.timed .players > div.a { order: 1; } .timed .players > div.b { order: 2; }
.timed .players > div.a.b { grid-column: 1 / 3; }
.frames { margin-top: .6rem; }
.frames p { margin: .2rem 0 0; } .frames p span { margin-right: .8rem; font-size: .85rem; }
.frames svg.key { display: inline; width: 22px; }
.frames .now { stroke: currentColor; stroke-width: 1; }
"""

# All clips of an item have the same frames; the one on the left tells the time, and the other is
# put where it is whenever they are more than half a frame apart.
SCRIPT: Final = """
for (const figure of document.querySelectorAll('figure.timed-clip')) {
  figure.classList.add('timed');
  const fps = Number(figure.dataset.fps), count = Number(figure.dataset.frames);
  const [left, right] = figure.querySelectorAll('.transport select');
  const [play, back, on] = figure.querySelectorAll('.transport button');
  const bar = figure.querySelector('.transport input'), out = figure.querySelector('output');
  const views = [...figure.querySelectorAll('.players > div')];
  const clip = (title) => views.find((v) => v.dataset.title === title).querySelector('video');
  const pair = () => [clip(left.value), clip(right.value)];
  let wanted = 0;
  const seek = (frame) => {
    wanted = Math.max(0, Math.min(count - 1, frame));
    for (const video of pair()) video.currentTime = (wanted + 0.5) / fps;
    tell(wanted);
  };
  const tell = (frame) => {
    bar.value = frame;
    out.textContent = `frame ${frame + 1} of ${count}`;
    for (const line of figure.querySelectorAll('.now')) {
      const [x0, x1] = line.dataset.range.split(' ').map(Number);
      const x = x0 + (x1 - x0) * (frame / Math.max(1, line.dataset.frames - 1));
      line.setAttribute('d', `M${x} ${line.dataset.top}V${line.dataset.bottom}`);
    }
  };
  const pause = () => { for (const v of figure.querySelectorAll('video')) v.pause();
    play.textContent = 'Play'; };
  const follow = () => {
    const [a, b] = pair();
    if (a.paused) return;
    if (b !== a && Math.abs(a.currentTime - b.currentTime) > 0.5 / fps)
      b.currentTime = a.currentTime;
    wanted = Math.min(count - 1, Math.floor(a.currentTime * fps));
    tell(wanted);
    requestAnimationFrame(follow);
  };
  const show = () => {
    pause();
    for (const view of views) {
      view.classList.toggle('a', view.dataset.title === left.value);
      view.classList.toggle('b', view.dataset.title === right.value);
    }
    seek(wanted);
  };
  play.addEventListener('click', async () => {
    if (play.textContent === 'Pause') return pause();
    if (wanted >= count - 1) seek(0);
    play.textContent = 'Pause';
    await Promise.all(pair().map((video) => video.play()));
    follow();
  });
  for (const video of figure.querySelectorAll('video')) {
    video.controls = false;
    video.addEventListener('ended', pause);
  }
  back.addEventListener('click', () => { pause(); seek(wanted - 1); });
  on.addEventListener('click', () => { pause(); seek(wanted + 1); });
  bar.addEventListener('input', () => { pause(); seek(Number(bar.value)); });
  left.addEventListener('change', show);
  right.addEventListener('change', show);
  show();
}
"""

ABOUT: Final = (
    f"The middle of each picture at its own scale, up to {CLIP_SECONDS} seconds from the "
    "beginning; all versions are shown as VP9 of high quality. Two at a time play in step; the "
    "line in the plots is the frame that is shown. Figures are of whole frames."
)


def clip_section(previews: Sequence[tuple[str, str, Preview]]) -> str:
    """Return players and plots of all clips: names, figures, and views, the original first."""
    figures = "\n".join(_figure(*shown) for shown in previews)
    return f"<p>{ABOUT}</p>\n<section>{figures}</section>\n<script>{SCRIPT}</script>"


def _figure(name: str, about: str, views: Preview) -> str:
    titles = [view.title for view in views]
    right = titles[-1] if len(titles) > 2 else titles[0]
    selects = "".join(
        f"<label>{side} <select>{_options(titles, chosen)}</select></label>"
        for side, chosen in (("Left:", titles[min(1, len(titles) - 1)]), ("Right:", right))
    )
    first = views[0]
    transport = (
        f'<div class="transport">{selects}<button type="button">Play</button>'
        '<button type="button" aria-label="one frame back">&lt;</button>'
        '<button type="button" aria-label="one frame on">&gt;</button>'
        f'<input type="range" min="0" max="{first.frames - 1}" value="0" '
        f'aria-label="Frame of {escape(name)}"><output></output></div>'
    )
    clips = "".join(map(_clip, views))
    plots = "".join(frame_charts(views))
    return (
        f'<figure class="timed-clip" data-fps="{first.fps:.6f}" data-frames="{first.frames}">'
        f"<figcaption>{escape(name)}<span>{escape(about)}</span></figcaption>{transport}"
        f'<div class="players">{clips}</div><div class="frames charts">{plots}</div></figure>'
    )


def _clip(view: View) -> str:
    source = data_url("video/webm", view.clip)
    return (
        f'<div data-title="{escape(view.title)}">'
        f'<video controls muted playsinline preload="auto" src="{source}"></video>'
        f"<p>{escape(view.title)} <span>{escape(view.detail)}</span></p></div>"
    )


def _options(titles: Sequence[str], chosen: str) -> str:
    marks = {True: " selected", False: ""}
    return "".join(f"<option{marks[t == chosen]}>{escape(t)}</option>" for t in titles)

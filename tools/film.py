"""Record chapter 1's lab, a collapse and its cure: `python tools/film.py`, half a minute.

It plays the chapter's own two cells and goes back through the lab's record. That leaves the film
of the book's opening page (`docs/film.html`, with a picture for every moment in
`docs/static/film/`) and the moving picture of the README (`notebooks/img/lab.webp`).
"""

import argparse
import html
import io
import json
import textwrap
from pathlib import Path

from cells import defined_in
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
SIZE = 800, 400
CAPTION = 76  # pixels above each picture of the README's
PAGE = """<figure class="film">
<img src="../_static/film/{first:02}.webp" width="800" height="400" alt="The lab: {alt}">
<div>
<button type="button" hidden>play</button>
<input type="range" min="0" max="{last}" value="{first}" aria-label="moment of the game" hidden>
</div>
<figcaption>{alt}</figcaption>
<script type="application/json">{moments}</script>
</figure>
"""


def must_hold(text: str, holds: bool) -> None:
    """The chapter's `claim`: a film of something else is not written."""
    if not holds:
        raise ValueError(f'not so in this game: {text}')


def said(lab, cured: bool) -> str:
    """What is told below the picture of a moment."""
    setting = f"D's learning rate {lab.lr_D:g}, loss {lab.loss}{' (the cure)' if cured else ''}"
    now = lab.diagnosis()
    return f'Step {lab.steps}, {setting}. The lab: “{now.verdict}”, {now.evidence}. {now.advice}'


def played(every: int) -> list[tuple[Image.Image, str]]:
    """A picture and what is said of it, for every so many moments of the chapter's game."""
    cells = defined_in('01_basic_gan', 'data-draw', 'ring', 'ring-cure', claim=must_hold)
    lab, moment = cells['ring'], cells['moment']
    frames = []
    for i in range(0, len(lab.history), every):
        lab.go_to(i)
        if cured := i > moment:
            lab.lr_D, lab.loss = 0.003, 'relativistic + R1'
        picture = Image.open(io.BytesIO(lab.still())).convert('RGB').resize(SIZE, Image.LANCZOS)
        frames.append((picture, said(lab, cured)))
    return frames


def captioned(picture: Image.Image, words: str) -> Image.Image:
    """The picture with the words above it."""
    whole = Image.new('RGB', (SIZE[0], SIZE[1] + CAPTION), 'white')
    whole.paste(picture, (0, CAPTION))
    font = ImageFont.truetype(findfont('DejaVu Sans'), 15)
    lines = textwrap.wrap(words, 95)[:3]
    ImageDraw.Draw(whole).multiline_text((16, 10), '\n'.join(lines), 'black', font, spacing=5)
    return whole


def main() -> None:
    """Parse the command line, play, write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--to', type=Path, default=ROOT, metavar='FOLDER')
    parser.add_argument('--every', type=int, default=6, help='moments of the record per picture')
    args = parser.parse_args()
    frames = played(args.every)
    folder = args.to / 'docs/static/film'
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob('*.webp'):
        old.unlink()
    for number, (picture, _) in enumerate(frames):
        picture.save(folder / f'{number:02}.webp', quality=50, method=6)
    moments = [words for _, words in frames]
    first = max(i for i, words in enumerate(moments) if '(the cure)' not in words)
    page = PAGE.format(
        first=first, last=len(frames) - 1, alt=html.escape(moments[first]),
        moments=json.dumps(moments),
    )  # fmt: skip
    (args.to / 'docs/film.html').write_text(page, encoding='utf-8')
    pictures = [captioned(*frame) for frame in frames]
    pictures[0].save(
        args.to / 'notebooks/img/lab.webp', save_all=True, append_images=pictures[1:],
        duration=[400] * (len(frames) - 1) + [4000], loop=0, quality=50, method=6,
    )  # fmt: skip


if __name__ == '__main__':
    main()

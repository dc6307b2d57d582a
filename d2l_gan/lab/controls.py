"""The parts that the labs' pages are made of: labelled, explained, for the keyboard too."""

import html
from collections.abc import Mapping

import ipywidgets as widgets
import traitlets

LABELS = {'description_width': '11em'}
WIDE = {'width': '30em'}


def slider(value: float, low: float, high: float, name: str, tooltip: str, step=None):
    """A slider of ints, or of floats where a `step` is given."""
    settings = {'description': name, 'tooltip': tooltip, 'style': LABELS, 'layout': WIDE}
    if step is None:
        return widgets.IntSlider(value, low, high, **settings)
    return widgets.FloatSlider(value, min=low, max=high, step=step, **settings)


def log_slider(value: float, name: str, tooltip: str) -> widgets.FloatLogSlider:
    """A slider over the powers of ten from -5 to -0.5."""
    return widgets.FloatLogSlider(
        value, min=-5, max=-0.5, step=0.1, description=name, tooltip=tooltip,
        readout_format='.2g', style=LABELS, layout=WIDE,
    )  # fmt: skip


def choice(options: Mapping[str, str], name: str, tooltip: str) -> widgets.ToggleButtons:
    """A button for each of the `options`, with what it means as its tooltip.

    (A dropdown, in ipywidgets 8, shows no tooltip.)
    """
    return widgets.ToggleButtons(
        options=list(options), tooltips=list(options.values()), description=name, tooltip=tooltip,
        style=LABELS | {'button_width': 'auto'},
    )  # fmt: skip


def button(name: str, tooltip: str, action, width: str = '9em') -> widgets.Button:
    """A button that calls `action()`."""
    made = widgets.Button(description=name, tooltip=tooltip, layout={'width': width})
    made.on_click(lambda _: action())
    return made


class Picture(widgets.Image):
    """A PNG of fixed size in pixels, with words for those who cannot see it."""

    # Without it, ipywidgets' page has no place for the tooltip, which is what is read out.
    description = traitlets.Unicode('').tag(sync=True)

    def __init__(self, width: int, height: int, words: str):
        size = {'width': f'{width}px', 'height': f'{height}px', 'max_width': 'none'}
        super().__init__(format='png', layout=size, tooltip=words)


def status(text: str) -> str:
    """HTML of a line that a screen reader reads out when it comes."""
    return f'<span role="status">{text}</span>'


def alert(error: BaseException, details: str = '') -> str:
    """HTML of an error, in a frame, read out at once; `details` is HTML too."""
    return (
        f'<div role="alert" style="border: 2px solid #D55E00; padding: 0.5em">'
        f'<b>{type(error).__name__}</b>: {html.escape(str(error))}{details}</div>'
    )

"""The parts that the labs' pages are made of: labelled, explained, for the keyboard too."""

import html
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import traitlets

LABELS = {'description_width': '11em'}


class Shown(widgets.VBox):
    """A widget that leaves a still picture where no kernel runs, with every ipywidgets from 7.7."""

    _ipython_display_ = None  # ipywidgets 7 would show the widget by itself, and nothing else

    still: Callable[[], bytes | None]  # a picture of it as it is now, as PNG, if there is one

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        view = {'version_major': 2, 'version_minor': 0, 'model_id': self.model_id}
        bundle: dict[str, Any] = {'application/vnd.jupyter.widget-view+json': view}
        png = self.still()
        if png is not None:
            bundle['image/png'] = png
        return bundle | {'text/plain': type(self).__name__}


def explained(kind: type[widgets.Widget], tooltip: str, **settings: Any) -> widgets.Widget:
    """A widget with a tooltip, under whatever name this version of ipywidgets has for it."""
    names = [n for n in ('tooltip', 'description_tooltip') if n in kind.class_traits()]
    return kind(**settings, **dict.fromkeys(names[:1], tooltip))


def slider(
    name: str, tooltip: str, value: float, low: float, high: float, **settings: Any
) -> widgets.Widget:
    """A slider of ints, of floats where a `step` is given, or of exponents with a `base`."""
    floats = widgets.FloatLogSlider if 'base' in settings else widgets.FloatSlider
    kind = floats if 'step' in settings else widgets.IntSlider
    settings = {'style': LABELS, 'layout': {'width': '30em'}} | settings
    return explained(kind, tooltip, description=name, value=value, min=low, max=high, **settings)


def choice(name: str, tooltip: str, options: Mapping[str, str]) -> widgets.Widget:
    """A button for each of the `options`, with what it means as its tooltip."""
    return explained(  # a dropdown, in ipywidgets 8, shows no tooltip
        widgets.ToggleButtons, tooltip, options=list(options), tooltips=list(options.values()),
        description=name, style=LABELS | {'button_width': 'auto'},
    )  # fmt: skip


def toggle(name: str, tooltip: str, **settings: Any) -> widgets.Widget:
    """A button that stays down."""
    layout = {'width': '7em'}
    return explained(widgets.ToggleButton, tooltip, description=name, layout=layout, **settings)


def button(name: str, tooltip: str, action: Callable[[], None], width: str = '9em') -> Any:
    """A button that calls `action()`."""
    made = explained(widgets.Button, tooltip, description=name, layout={'width': width})
    made.on_click(lambda _: action())
    return made


class Picture(widgets.Image):
    """A PNG in the page; its tooltip is for those who cannot see it."""

    # Without it, ipywidgets' page has no place for the tooltip, which is what is read out.
    description = traitlets.Unicode('').tag(sync=True)


def picture(width: int, height: int, words: str) -> Picture:
    """A picture of fixed size in pixels, told in `words`."""
    size = {'width': f'{width}px', 'height': f'{height}px', 'max_width': 'none'}
    return explained(Picture, words, format='png', layout=size)


def status(text: str) -> str:
    """HTML of a line that a screen reader reads out when it comes."""
    return f'<span role="status">{text}</span>'


def alert(error: BaseException) -> str:
    """HTML of an error and the line that raised it, in a frame, read out at once."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    name, said, line = map(html.escape, (where.name, str(error), where.line or ''))
    said = f'<b>{type(error).__name__}</b>: {said}<br>in <code>{name}</code>: <code>{line}</code>'
    return f'<div role="alert" style="border: 2px solid #D55E00; padding: 0.5em">{said}</div>'

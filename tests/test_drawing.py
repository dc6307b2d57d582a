"""Curves, images, and the figure that grows, the last one in a real kernel."""

import io
import subprocess
import sys
import warnings
from base64 import b64decode

import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

import d2l_gan as d2l
from d2l_gan.drawing import COLOURS, STYLE, LiveFigure


@pytest.fixture(autouse=True)
def fresh_figures():
    plt.switch_backend('agg')
    plt.close('all')
    with plt.rc_context():
        yield
    plt.close('all')


def test_plot_drops_no_curve():
    x = torch.arange(-2, 1, 0.1)
    alphas = [0, 0.2, 0.4, 0.6, 0.8, 1]
    d2l.plot(x, [torch.nn.LeakyReLU(a)(x) for a in alphas], 'x', 'y', alphas)
    axes = plt.gca()
    assert len(axes.lines) == 6
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [str(a) for a in alphas]
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == 6
    for line, alpha in zip(axes.lines, alphas, strict=True):
        assert line.get_ydata()[0] == pytest.approx(-2 * alpha)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('x', 'y')


@pytest.mark.parametrize(
    ('X', 'Y', 'expected'),
    [
        ([1, 2, 3], None, [([0, 1, 2], [1, 2, 3])]),
        ([1, 2], [3, 4], [([1, 2], [3, 4])]),
        (np.array([1, 2]), [[3, 4], [5, 6]], [([1, 2], [3, 4]), ([1, 2], [5, 6])]),
        ([[1, 2], [1, 2, 3]], [[3, 4], [5, 6, 7]], [([1, 2], [3, 4]), ([1, 2, 3], [5, 6, 7])]),
        (torch.ones(2, requires_grad=True), torch.zeros(2), [([1, 1], [0, 0])]),
    ],
)
def test_plot_takes_curves_in_every_form(X, Y, expected):
    d2l.plot(X, Y)
    lines = plt.gca().lines
    assert [(list(li.get_xdata()), list(li.get_ydata())) for li in lines] == expected


def test_plot_names_what_does_not_match():
    with pytest.raises(ValueError, match='X must hold one curve or as many as Y'):
        d2l.plot([[1], [2]], [[1], [2], [3]])
    with pytest.raises(ValueError, match='curve 1: X and Y must be equally long; got 2 and 3'):
        d2l.plot([1, 2], [[1, 2], [1, 2, 3]])


def test_plot_draws_on_given_axes_with_limits_and_scales():
    _, axes = plt.subplots()
    d2l.plot([1, 10], [1, 100], xlim=[1, 10], ylim=[1, 100], xscale='log', yscale='log', axes=axes)
    assert axes.get_xlim() == (1, 10)
    assert (axes.get_xscale(), axes.get_yscale()) == ('log', 'log')


def test_set_figsize_sets_the_size():
    d2l.set_figsize((5, 4))
    assert list(plt.rcParams['figure.figsize']) == [5, 4]


@pytest.mark.parametrize('wrap', [lambda x: x, lambda x: x.numpy(), list])
def test_show_images_shows_each_image_in_its_place(wrap):
    imgs = torch.rand(8, 6, 5, 3)
    axes = d2l.show_images(wrap(imgs), num_rows=2, num_cols=3, titles=['a', 'b'])
    assert len(axes) == 6
    for i, ax in enumerate(axes):
        np.testing.assert_allclose(ax.images[0].get_array(), imgs[i].numpy())
    assert [ax.get_title() for ax in axes] == ['a', 'b', '', '', '', '']


def test_show_images_shows_grey_at_its_true_brightness():
    axes = d2l.show_images(torch.full((1, 4, 4), 0.25), 1, 1)
    assert axes[0].images[0].get_clim() == (0, 1)


def test_show_images_allows_rounding_only():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        d2l.show_images(torch.tensor([[[[1 + 1e-6]]]]), 1, 1)
        plt.gcf().canvas.draw()


@pytest.mark.parametrize(
    ('imgs', 'message'),
    [
        (torch.full((2, 4, 4, 3), -1.0), r'imgs must have values in \[0, 1\].*from -1 to -1'),
        (torch.full((2, 4, 4, 3), 255), r'imgs must have values in \[0, 1\].*imgs / 255'),
        (torch.full((2, 4, 4, 3), torch.nan), r'imgs must have values in \[0, 1\]'),
        (torch.zeros(2, 3, 8, 8), r'N x H x W x C.*permute\(0, 2, 3, 1\).*\(3, 8, 8\)'),
        (torch.zeros(1, 4, 4, 3), 'num_rows x num_cols = 1 x 2 places need as many images; got 1'),
    ],
)
def test_show_images_names_what_is_wrong(imgs, message):
    with pytest.raises(ValueError, match=message):
        d2l.show_images(imgs, 1, 2)


def test_animator_collects_points_per_curve():
    animator = d2l.Animator(legend=['a', 'b'], xlim=[1, 3])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        animator.add(1, (torch.tensor(0.5, requires_grad=True), 1))
    animator.add(torch.tensor(2), (0.25, None))
    animator.add(3, np.array([0.125, 2.0]))
    a, b = animator.lines
    assert (list(a.get_xdata()), list(a.get_ydata())) == ([1, 2, 3], [0.5, 0.25, 0.125])
    assert (list(b.get_xdata()), list(b.get_ydata())) == ([1, 3], [1, 2])
    legend = animator.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ['a', 'b']


def test_animator_takes_a_single_number_and_any_number_of_curves():
    single, many = d2l.Animator(), d2l.Animator()
    single.add(1, 0.5)
    many.add(1, range(7))
    assert (len(single.lines), len(many.lines)) == (1, 7)
    with pytest.raises(ValueError, match='one y per curve, 7; got 2'):
        many.add(2, (1, 2))


@pytest.mark.parametrize(('nrows', 'ncols'), [(1, 1), (2, 1), (1, 2), (2, 3)])
def test_animator_axes_are_always_indexable(nrows, ncols):
    animator = d2l.Animator(nrows=nrows, ncols=ncols)
    assert len(animator.axes) == nrows * ncols
    animator.axes[nrows * ncols - 1].cla()
    animator.add(1, 1)


def test_animator_survives_cleared_axes():
    animator = d2l.Animator()
    animator.add(1, (1, 2))
    animator.axes[0].cla()
    animator.add(2, (3, 4))
    assert len(animator.axes[0].lines) == 2
    assert [list(line.get_ydata()) for line in animator.lines] == [[1, 3], [2, 4]]


def test_animator_grows_its_limits_with_the_curve():
    animator = d2l.Animator(xlim=[1, 5])
    animator.add(1, 0)
    animator.add(2, 100)
    assert animator.axes[0].get_xlim() == (1, 5)
    assert animator.axes[0].get_ylim()[1] >= 100


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize(
    'change',
    [
        lambda ax, k: ax.collections[0].set_offsets([[k / 5, 0.5], [0.5, k / 5]]),
        lambda ax, k: ax.set_title(f'epoch {k}'),
        lambda ax, k: (ax.cla(), ax.scatter([0, k], [k, 0])),
        lambda ax, k: (ax.cla(), ax.imshow(np.eye(3) * k)),
        lambda ax, k: ax.plot([0, 1], [0, k / 5]),
    ],
)
def test_a_frame_shows_what_the_figure_shows(change):
    """Drawn in part or as a whole: the same picture, up to what overlaps at the axes' edge."""
    animator = d2l.Animator(xlim=[1, 5], legend=['a', 'b'], nrows=2, figsize=(4, 4))
    animator.axes[1].scatter([0, 1], [0, 1])
    live, earlier = LiveFigure(animator.fig), None
    for k in range(1, 6):
        change(animator.axes[1], k)
        animator.add(k, (k % 3, k))
        seen = pixels(live.frame())
        assert earlier is None or not np.array_equal(seen, earlier)
        earlier = seen
    whole = pixels(live.whole(dpi=100))
    assert (np.abs(seen.astype(int) - whole).max(-1) > 64).mean() < 0.01


def test_what_has_not_changed_is_not_drawn_again(monkeypatch):
    animator = d2l.Animator(xlim=[1, 50], nrows=2)
    points = animator.axes[1].scatter([0, 1], [0, 1])
    live, whole, draw = LiveFigure(animator.fig), [], FigureCanvasAgg.draw
    monkeypatch.setattr(FigureCanvasAgg, 'draw', lambda canvas: (whole.append(1), draw(canvas)))
    for k in range(1, 51):
        points.set_offsets([[0, 1], [1 / k, 0]])
        animator.add(k, 1 / k)
        live.frame()
    assert 1 <= len(whole) <= 10


@pytest.mark.parametrize('curve', [[0.0, 1.0, 0.0], [0.0], [2.0, -1.0, 0.0, 3.0]])
def test_a_point_at_zero_is_a_point(curve):
    """Of `plot` and of `Animator`, at x = 0 and at y = 0, given as numbers or as tensors."""
    expected = list(range(len(curve))), curve
    d2l.plot(expected[0], curve)
    line = plt.gca().lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == expected
    for wrap in (float, torch.tensor, np.float32):
        animator = d2l.Animator()
        for x, y in enumerate(curve):
            animator.add(x, (wrap(y), wrap(-y)))
        for line, sign in zip(animator.lines, (1, -1), strict=True):
            points = list(line.get_xdata()), [sign * y for y in line.get_ydata()]
            assert points == expected


@pytest.mark.parametrize(
    ('values', 'curves'),
    [
        ([1, None, 3], 1), (torch.rand(4), 1), (torch.rand(3, 4), 3), (np.eye(2), 2),
        ((torch.rand(2), [1, 2], np.ones(2)), 3), ([torch.tensor(1.0), 2, np.float32(3)], 1),
    ],
)  # fmt: skip
def test_plot_counts_curves_as_the_shape_says(values, curves):
    d2l.plot(values)
    assert len(plt.gca().lines) == curves


def test_plot_starts_again_with_the_styles_and_on_clean_axes():
    axes = plt.subplots()[1]
    for _ in range(2):
        d2l.plot([1, 2], [[i, i] for i in range(5)], fmts=('-', ':'), axes=axes)
    assert [line.get_linestyle() for line in axes.lines] == ['-', ':', '-', ':', '-']


def test_set_axes_sets_what_it_is_given_and_leaves_the_rest():
    axes = plt.subplots()[1]
    axes.set(xlabel='old', ylabel='old', xlim=(3, 4), ylim=(5, 6))
    d2l.set_axes(axes, None, None, None, None, 'linear', 'linear', None)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('old', 'old')
    assert (axes.get_xlim(), axes.get_ylim(), axes.get_legend()) == ((3, 4), (5, 6), None)
    axes.plot([1, 2])
    d2l.set_axes(axes, 'x', '', [2, 2], (1, 8), 'linear', 'log', [7])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('x', '')
    assert (axes.get_xlim(), axes.get_ylim()) == ((1.5, 2.5), (1, 8))
    assert (axes.get_xscale(), axes.get_yscale()) == ('linear', 'log')
    assert axes.get_legend().get_texts()[0].get_text() == '7'


def test_set_figsize_brings_the_courses_style():
    plt.rcdefaults()
    plt.switch_backend('agg')
    d2l.set_figsize()
    assert list(plt.rcParams['figure.figsize']) == [3.5, 2.5]
    assert all(plt.rcParams[name] == value for name, value in STYLE.items())


def test_show_images_goes_row_by_row_at_its_scale_and_takes_extremes():
    imgs = np.zeros((6, 2, 2))
    imgs[:, 0, 0] = np.linspace(0, 1, 6)
    axes = d2l.show_images(imgs, 2, 3, scale=2)
    assert list(axes[0].figure.get_size_inches()) == [6, 4]
    places = [ax.get_position() for ax in axes]
    assert places[0].x0 < places[1].x0 < places[2].x0 and places[0].y0 > places[3].y0
    with pytest.raises(ValueError, match='1, 3 or 4 channels'):
        d2l.show_images(np.zeros((1, 4, 4, 2)), 1, 1)
    with pytest.raises(ValueError, match='0 x 3 places'):
        d2l.show_images(imgs, 0, 3)


def test_animator_makes_room_only_where_a_point_lies_outside():
    animator = d2l.Animator()
    for x in range(4):
        animator.add(x, (x, -x))
    before = animator.axes[0].get_xlim(), animator.axes[0].get_ylim()
    animator.add(3.1, (3, -3))
    assert (animator.axes[0].get_xlim(), animator.axes[0].get_ylim()) == before
    for x, y in ((3, -30), (3, 30), (-50, 1), (50, 1)):  # below, above, left, right
        animator.add(x, (None, y))
        (left, right), (low, high) = animator.axes[0].get_xlim(), animator.axes[0].get_ylim()
        assert left <= x <= right and low <= y <= high


def test_animator_takes_an_x_for_each_curve_and_counts():
    animator = d2l.Animator(fmts=('--', ':'))
    animator.add((0, 5), torch.tensor([1.0, 2.0]))
    animator.add((1, 6), (3, 4))
    assert [line.get_xydata().tolist() for line in animator.lines] == [
        [[0, 1], [1, 3]], [[5, 2], [6, 4]],
    ]  # fmt: skip
    assert [line.get_linestyle() for line in animator.lines] == ['--', ':']
    with pytest.raises(ValueError, match='one y per curve'):
        animator.add((1, 2, 3), (1, 2))


def test_a_live_figure_draws_in_the_order_of_depth_and_keeps_its_size():
    """A frame is the whole at its own dpi; `whole` at twice the dpi has twice the pixels."""
    fig = plt.figure(figsize=(2, 1), dpi=50)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    low = ax.scatter([0.5], [0.5], s=4000, color='red', zorder=3)
    ax.plot([0, 1], [0.5, 0.5], color='blue', linewidth=20, zorder=2)
    live = LiveFigure(fig)
    frame = pixels(live.frame())
    assert frame.shape == (50, 100, 3)
    assert frame[25, 50].tolist() == [255, 0, 0]
    low.set_zorder(1)
    assert pixels(live.frame())[25, 50].tolist() == [0, 0, 255]
    assert pixels(live.whole(dpi=100)).shape == (100, 200, 3)
    assert fig.dpi == 50
    assert np.array_equal(pixels(live.frame()), pixels(live.whole(dpi=50)))


def test_animator_says_that_there_are_no_epochs():
    with pytest.raises(ValueError, match='num_epochs must be at least 1'):
        d2l.Animator(xlim=[1, 0])


def test_animator_of_one_epoch_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        d2l.Animator(xlim=[1, 1]).add(1, 0.5)


def test_animator_leaves_no_figure_open_and_prints_nothing_outside_jupyter():
    code = (
        'import warnings\n'
        'warnings.filterwarnings("ignore", module="matplotlib")\n'  # 3.7's, of its own parser
        'import d2l_gan as d2l\n'
        'animator = d2l.Animator()\n'
        'for i in range(3): animator.add(i, i)\n'
        'assert not d2l.plt.get_fignums()\n'
        'animator.fig.savefig(__import__("io").BytesIO())\n'
    )
    for command in ([sys.executable, '-W', 'error', '-c'], [sys.executable, '-m', 'IPython', '-c']):
        done = subprocess.run([*command, code], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


@pytest.fixture(scope='module')
def kernel():
    manager, client = start_new_kernel()
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(kernel, code, interrupt_on=None):
    """Run a cell in the kernel; return its messages, (type, content), in order."""
    manager, client = kernel
    messages = []

    def collect(message):
        messages.append((message['msg_type'], message['content']))
        if interrupt_on and interrupt_on in message['content'].get('text', ''):
            manager.interrupt_kernel()

    reply = client.execute_interactive(code, output_hook=collect, timeout=60)
    return messages, reply['content']['status']


def pictures(messages):
    return [content for kind, content in messages if kind.endswith('display_data')]


def picture(content):
    return pixels(b64decode(content['data']['image/png']))


def coloured(image, colour):
    """How many pixels have the colour, to within rounding."""
    return int((np.abs(image / 255.0 - to_rgb(colour)).max(-1) < 0.01).sum())


LOOP = """
import time
import d2l_gan as d2l
animator = d2l.Animator(xlim=[0, {n}], legend=['one', 'two'], figsize=(4, 3))
for i in range({n} + 1):
    animator.add(i, (i, {n} - i))
    time.sleep({pause})
"""


def test_animator_updates_one_figure_in_place(kernel):
    still = 'import time\nclock, time.perf_counter = time.perf_counter, lambda: 0.0\n'
    code = still + LOOP.format(n=5, pause=0) + 'time.perf_counter = clock'
    messages, status = run(kernel, code)  # a frame that takes no time is always due
    assert status == 'ok'
    kinds = [kind for kind, _ in messages if kind not in ('status', 'execute_input')]
    assert kinds == ['display_data'] + ['update_display_data'] * 6
    shown = pictures(messages)
    assert len({content['transient']['display_id'] for content in shown}) == 1
    assert all('image/svg+xml' not in content['data'] for content in shown)
    first, last = picture(shown[0]), picture(shown[-1])
    assert last.shape == (600, 800, 3)
    assert shown[-1]['metadata']['image/png'] == {'width': 400, 'height': 300}
    for colour in COLOURS[:2]:
        assert coloured(first, colour) < coloured(last, colour)
        assert coloured(last, colour) > 400


def test_animator_shows_the_last_state_whatever_the_number_of_points(kernel):
    messages, _ = run(kernel, LOOP.format(n=400, pause=0) + 'last = animator.fig')
    assert 2 <= len(pictures(messages)) < 100
    before = picture(pictures(messages)[-1])
    messages, _ = run(kernel, 'animator.add(None, (None, None))')
    after = picture(pictures(messages)[-1])
    assert np.array_equal(before, after)


def test_an_interrupted_loop_leaves_the_last_picture(kernel):
    code = LOOP.format(n=50, pause=0.1).replace('    time', "    print('at', i)\n    time")
    messages, status = run(kernel, code, interrupt_on='at 7')
    assert status == 'error'
    interrupted = picture(pictures(messages)[-1])
    assert coloured(interrupted, COLOURS[0]) > 50
    messages, _ = run(kernel, 'print(len(animator.lines[0].get_xdata()))')
    assert 8 <= int(messages[2][1]['text']) < 50
    messages, _ = run(kernel, 'print(1)')
    assert not pictures(messages), 'the figure of an earlier cell was drawn again'


def test_rows_of_images_stand_below_each_other_with_their_names():
    rows = {'real': torch.full((3, 3, 8, 8), 1.0), 'a longer name': torch.full((2, 3, 8, 8), -1.0)}
    whole = np.asarray(d2l.rows_of_images(rows, zoom=4).convert('RGB')).astype(int)
    height, width, _ = whole.shape
    assert height == 2 * 8 * 4
    margin = width - 3 * 8 * 4
    assert margin > 0
    assert (whole[:32, margin:] == 255).all(), 'three white images'
    assert (whole[32:, margin : margin + 64] == 0).all(), 'two black ones'
    assert (whole[32:, margin + 64 :] == 255).all(), 'and room'
    for top in (0, 32):
        assert (whole[top : top + 32, :margin] < 128).any(), 'a name'


def test_epochs_are_counted_in_whole_numbers():
    for num_epochs in (1, 2, 5, 20):
        animator = d2l.Animator(xlabel='epoch', ylabel='loss', xlim=[1, num_epochs])
        animator.add(1, (0.5, 0.7))
        low, high = animator.axes[0].get_xlim()
        ticks = [tick for tick in animator.axes[0].get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == int(tick) for tick in ticks)

"""Maps as pictures. Pictures are (H, W, 3) uint8 arrays; photographs may also be floats in [0, 1], and grey
ones (H, W) or (H, W, 1).

A scale is a pair (low, high) of values at the ends of the colours: (-high, high) is diverging, red for the target and
blue against it, and any other one sequential. Maps are drawn over the photograph in grey, so that all colour is the
map's, and where they are zero, or at the lower end of a sequential scale, there is the grey photograph alone.
Matplotlib's global state is never touched.
"""
# pyright: reportUnknownMemberType=false

import itertools
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxplain.postprocess import upsample

_ROUNDING = 1e-3  # beyond [0, 1]
SIDE = 2.6  # inches of a panel
_LINE = 32  # letters of its title in a line
_LINES = (  # colours and widths of curves; of equal ones two are seen
    ("#4c72b0", 2.5), ("#dd8452", 1.2), ("#55a868", 2.5), ("#c44e52", 1.2), ("#8172b3", 2.5), ("#937860", 1.2),
    ("#da8bc3", 2.5), ("#8c8c8c", 1.2), ("#ccb974", 2.5), ("#64b5cd", 1.2),
)  # fmt: skip
_LETTERS, _SMALL = 9, 7  # points of titles
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_STRENGTH = 0.85  # of colours at the ends of a scale
_FOR, _AGAINST = (0.86, 0.08, 0.08), (0.05, 0.25, 0.95)
_DARKEST = 0.3  # where the sequential colours begin: darker ones would darken the photograph
_STYLES = ("-", "--", ":")  # of the first curves in all colours, and of the next


class Panel(NamedTuple):
    """One picture of a figure: a photograph, the map to lay over it, its scale, a box (left, top, right, bottom)."""

    title: str
    photo: ArrayLike
    heat: ArrayLike | None = None
    box: tuple[float, float, float, float] | None = None
    scale: tuple[float, float] | None = None


class Bars(NamedTuple):
    """A bar chart as a panel of a figure."""

    title: str
    names: Sequence[str]
    values: Sequence[float]


class Groups(NamedTuple):
    """Groups of horizontal bars as a panel of a figure: values (G,) by the series' names, for G named groups.

    Each of the others is for all series or for none: `errors` and `bands` are lower and upper ends (2, G), of error
    bars and of what is shaded behind a bar, which the legend calls `band`; bars are starred where `marks` (G,) are
    true. `axis` is the label of the values, and `top` the upper end of their axis, by default above all of them.
    """

    title: str
    names: Sequence[str]
    values: Mapping[str, ArrayLike]
    axis: str = ""
    errors: Mapping[str, ArrayLike] | None = None
    bands: Mapping[str, ArrayLike] | None = None
    band: str = ""
    marks: Mapping[str, ArrayLike] | None = None
    top: float | None = None


class Curves(NamedTuple):
    """Curves over the steps 1, 2, ..., or over rising `places`, as a panel of a figure: values by the curves' names.

    `parts` are the names and lengths of the parts into which the steps fall, `mark` is the name and number of a step to
    point out, and `top` is the upper end of the axis, by default above all values. `bands` are the lower and the upper
    values of what is shaded around a curve, by the curves' names; `steps` and `height` are the labels of the axes.
    """

    title: str
    values: Mapping[str, Sequence[float]]
    steps: str = ""
    parts: Sequence[tuple[str, int]] = ()
    mark: tuple[str, int] | None = None
    top: float | None = None
    places: Sequence[float] = ()
    bands: Mapping[str, ArrayLike] | None = None
    height: str = ""


Shown = Panel | Bars | Groups | Curves


def scale_of(
    heat: ArrayLike, *, signed: bool = True, relative: bool = False, percentile: float = 100.0
) -> tuple[float, float]:
    """The scale of a map: symmetric about 0 if it is signed, else from 0; of a relative one from its smallest value.

    A map is relative if only differences within it mean something, as in RISE's. The scale ends at the largest |value|,
    or at the given percentile of them, of a relative map at that of its values.
    """
    heat = np.asarray(heat)
    if not np.isfinite(heat).all():
        raise ValueError("The map has values that are not finite, and cannot be drawn.")
    if relative:
        low, high = float(heat.min()), float(np.percentile(heat, percentile))
        return low, high if high > low else low + 1.0
    size = np.abs(heat)
    high = float(np.percentile(size, percentile)) or float(size.max()) or 1.0
    return -high if signed else 0.0, high


def overlay(
    photo: ArrayLike, heat: ArrayLike, *, scale: tuple[float, float] | None = None, strength: float = _STRENGTH
) -> np.ndarray:
    """The map (h, w) in colour over the photograph (H, W, 3) in grey, as an (H, W, 3) uint8 array.

    The colour's opacity grows from 0, where the map is zero or at the lower end of a sequential scale, up to `strength`
    at the ends of the scale, by default scale_of(heat). Smaller maps are enlarged by cubic interpolation, without going
    beyond the values around.
    """
    photo = _floats(photo)
    if np.ndim(heat) != 2:
        raise ValueError(f"The map has shape {np.shape(heat)}, but (h, w) is drawn: reduce it with over_channels.")
    ends = scale_of(heat) if scale is None else scale
    enlarged = _enlarged(np.asarray(heat), (photo.shape[0], photo.shape[1]))
    return np.round(255 * _coloured(enlarged, ends, photo @ _LUMINANCE, strength)).astype(np.uint8)


def _enlarged(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cubic, and clipped to the four values around, beyond which there is nothing in the map."""
    rows, columns = (_neighbours(count, n) for count, n in zip(heat.shape, size, strict=True))
    around = [heat[np.ix_(r, c)] for r in rows for c in columns]
    cubic = np.asarray(upsample(heat, size, "cubic"))
    return np.clip(cubic, np.minimum.reduce(around), np.maximum.reduce(around))


def _neighbours(count: int, size: int) -> list[np.ndarray]:
    """Of `count` values those before and after each of `size` places, as indices (size,)."""
    place = (np.arange(size) + 0.5) * count / size - 0.5
    return [np.clip(end(place), 0, count - 1).astype(int) for end in (np.floor, np.ceil)]


def _coloured(values: np.ndarray, scale: tuple[float, float], grey: np.ndarray, strength: float) -> np.ndarray:
    """The colours (..., 3) of values (...) over a grey (...)."""
    low, high = scale
    part = np.clip((values - low) / (high - low), 0, 1)
    if low == -high:
        opacity = strength * np.abs(2 * part - 1)[..., None]
        colour = np.where(part[..., None] > 0.5, _FOR, _AGAINST)
    else:
        colour, opacity = np.split(sequential_rgba(part, strength=strength), [3], axis=-1)
    return (1 - opacity) * grey[..., None] + opacity * colour


def sequential_rgba(part: ArrayLike, *, strength: float = _STRENGTH) -> np.ndarray:
    """The colours (..., 4) in [0, 1] of a sequential scale, for values as parts (...) of it in [0, 1].

    The opacity is the part times `strength`, as in `overlay`.
    """
    from matplotlib import colormaps

    part = np.asarray(part)
    colour = colormaps["plasma"](_DARKEST + (1 - _DARKEST) * part)[..., :3]
    return np.concatenate([colour, strength * part[..., None]], axis=-1)


def outlined(photo: ArrayLike, segments: ArrayLike, *, colour: Sequence[float] = (1.0, 1.0, 0.0)) -> np.ndarray:
    """The photograph with the outlines of segments (H, W) in a colour, as an (H, W, 3) uint8 array.

    A pixel is on an outline where the one to its right or below has another label.
    """
    photo, segments = _floats(photo), np.asarray(segments)
    if segments.shape != photo.shape[:2]:
        raise ValueError(f"segments has shape {segments.shape}, but {photo.shape[:2]}, as the photograph, is expected.")
    edge = np.zeros(segments.shape, bool)
    edge[:, :-1] |= segments[:, :-1] != segments[:, 1:]
    edge[:-1] |= segments[:-1] != segments[1:]
    return np.round(255 * np.where(edge[..., None], np.asarray(colour), photo)).astype(np.uint8)


def figure(
    rows: Sequence[Sequence[Shown | None]],
    *,
    title: str = "",
    side: float = SIDE,
    path: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """A grid of panels as an (H, W, 3) uint8 array, also written to `path` (.png, .jpg, .pdf, .svg) if one is given.

    Each panel is `side` inches wide; each map has a colour bar of its own; None leaves a place empty.

        figure([[Panel("photo", photo), Panel("Grad-CAM", photo, heat)]], path="cat.png")
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = max(map(len, rows))
    size = (side * columns, (side + 0.15) * len(rows) + 0.3 * bool(title))
    layout = ConstrainedLayoutEngine()
    sheet = Figure(figsize=size, layout=layout, dpi=160)
    canvas = FigureCanvasAgg(sheet)
    if title:
        sheet.suptitle(title, fontsize=9, parse_math=False)
    grid = sheet.subplots(len(rows), columns, squeeze=False)
    for axes, panel in zip(grid.flat, [p for row in rows for p in [*row, *[None] * (columns - len(row))]], strict=True):
        _draw(sheet, axes, panel, _LETTERS if side >= 2 else _SMALL)
    for _ in range(2):  # the first pass moves the axes, the second makes room for what moved with them
        layout.execute(sheet)
    sheet.set_layout_engine("none")  # the layout is made once: a second one, for the file, would differ by pixels
    canvas.draw()
    if path is not None:
        _write(sheet, Path(path))
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw(sheet: Any, axes: Any, panel: Shown | None, letters: int) -> None:
    if panel is None:
        axes.set_axis_off()
        return
    axes.set_title(_folded(panel.title), fontsize=letters, parse_math=False)
    if isinstance(panel, Bars):
        _draw_bars(axes, panel)
        return
    if isinstance(panel, Groups):
        _draw_groups(axes, panel)
        return
    if isinstance(panel, Curves):
        _draw_curves(axes, panel)
        return
    axes.set(xticks=[], yticks=[])
    if panel.heat is None:
        axes.imshow(_floats(panel.photo))
    else:
        axes.imshow(overlay(panel.photo, panel.heat, scale=panel.scale))
        _draw_scale(sheet, axes, panel)
    if panel.box is not None:
        _draw_box(axes, panel.box)


def _folded(title: str) -> str:
    """The title in lines that are no wider than a panel."""
    return "\n".join(textwrap.fill(line, _LINE) for line in title.split("\n"))


def _draw_scale(sheet: Any, axes: Any, panel: Panel) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    heat = np.asarray(panel.heat)
    low, high = scale_of(heat) if panel.scale is None else panel.scale
    seen = _coloured(np.linspace(low, high, 256), (low, high), np.full(256, 0.5), _STRENGTH)  # over a medium grey
    clipped = {(True, True): "both", (True, False): "min", (False, True): "max", (False, False): "neither"}
    extend = clipped[bool(heat.min() < low), bool(heat.max() > high)]
    scale = ScalarMappable(Normalize(low, high), ListedColormap(seen))
    bar = sheet.colorbar(scale, ax=axes, fraction=0.046, pad=0.02, extend=extend)
    bar.ax.tick_params(labelsize=7)
    bar.formatter.set_powerlimits((-2, 3))
    bar.ax.yaxis.get_offset_text().set(size=7)


def _draw_box(axes: Any, box: tuple[float | int, ...]) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = box
    for colour, width in (("black", 3), ("white", 1.5)):
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=colour, linewidth=width))


def _draw_bars(axes: Any, panel: Bars) -> None:
    places = np.arange(len(panel.values))
    axes.barh(places, panel.values, color="#4c72b0", height=0.7)
    low, high = min([0, *panel.values]), max([1, *panel.values])
    axes.set(xlim=(low, high), ylim=(len(places) - 0.4, -0.6), yticks=[])
    axes.set_xticks([0, 0.5, 1] if (low, high) == (0, 1) else [low, 0, high] if low < 0 else [0, high])
    axes.set_box_aspect(1)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    for place, name, value in zip(places, panel.names, panel.values, strict=True):
        axes.annotate(
            f"{name}  {value:.3g}", (0.02, place), va="center", fontsize=9, parse_math=False,
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1},
        )  # fmt: skip


def _draw_groups(axes: Any, panel: Groups) -> None:
    places, thickness = np.arange(len(panel.names)), 0.8 / len(panel.values)
    for number, (name, (colour, _)) in enumerate(zip(panel.values, _LINES, strict=False)):
        rows = places + thickness * (number - (len(panel.values) - 1) / 2)
        _draw_series(axes, panel, name, rows, thickness, colour)
    axes.set(yticks=places, yticklabels=panel.names, ylim=(len(places) - 0.5, -0.5), xlim=(0, panel.top))
    axes.set_box_aspect(1)
    axes.tick_params(labelsize=8)
    axes.set_xlabel(panel.axis, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    named = dict(sorted(zip(labels, handles, strict=True), key=lambda pair: pair[0] == panel.band))  # once, and last
    below = -0.14 - 0.08 * len(panel.axis.splitlines())  # the ticks and the axis's lines
    axes.legend(named.values(), named, fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, below))


def _draw_series(axes: Any, panel: Groups, name: str, rows: np.ndarray, thickness: float, colour: str) -> None:
    """The bars of one series in these rows, each with its band behind it, its error bar before it, and a star."""
    values = ends = np.asarray(panel.values[name], float)
    axes.barh(rows, values, color=colour, height=0.7 * thickness, label=name, zorder=2)
    if panel.errors is not None:
        low, high = np.asarray(panel.errors[name], float)
        axes.errorbar(values, rows, xerr=[values - low, high - values], fmt="none", color="0.2", capsize=2, zorder=3)
        ends = np.maximum(ends, high)
    if panel.bands is not None:
        low, high = np.asarray(panel.bands[name], float)
        axes.barh(rows, high - low, left=low, color="0.75", height=thickness, label=panel.band, zorder=1)
        ends = np.maximum(ends, high)
    if panel.marks is not None:
        marked = np.asarray(panel.marks[name])
        for row, end in zip(rows[marked], ends[marked], strict=True):
            axes.annotate("*", (end, row), (3, -4), textcoords="offset points", fontsize=11)


def _draw_curves(axes: Any, panel: Curves) -> None:
    axes.set_title(_folded(panel.title), fontsize=9, pad=16 if panel.parts else None, parse_math=False)
    places = panel.places or range(1, max(map(len, panel.values.values())) + 1)
    _draw_lines(axes, panel, places)
    if not panel.places:
        _number_steps(axes, len(places))
    low = min(0, 1.05 * axes.dataLim.y0)
    if low < 0:
        axes.axhline(0, color="0.8", linewidth=1, zorder=0)
    axes.set_ylim(low, panel.top)
    axes.set_box_aspect(1)
    axes.tick_params(labelsize=7)
    axes.set_xlabel(panel.steps, fontsize=8)
    axes.set_ylabel(panel.height, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    _draw_parts(axes, panel.parts)
    if panel.mark is not None:
        name, step = panel.mark
        axes.axvline(step, color="black", linewidth=1, linestyle=":", label=name)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 2}
    axes.legend(fontsize=7, frameon=False, **(below if len(panel.values) > 3 else {}))


def _draw_lines(axes: Any, panel: Curves, places: Sequence[float | int]) -> None:
    bands = panel.bands or {}
    dot = 3 if len(places) <= 20 else 0  # points; one step alone makes no line
    alpha = min(0.15, 0.4 / len(panel.values))  # of many bands, paler ones
    lines = ((style, *line) for style in itertools.cycle(_STYLES) for line in _LINES)
    for (name, values), (style, colour, width) in zip(panel.values.items(), lines, strict=False):
        drawn = places[: len(values)]
        options = {"color": colour, "linestyle": style, "linewidth": width, "marker": "o", "markersize": dot}
        axes.plot(drawn, values, label=name, **options)
        if name in bands:
            axes.fill_between(drawn, *np.asarray(bands[name]), color=colour, alpha=alpha, linewidth=0)


def _number_steps(axes: Any, count: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(0.5, count + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _draw_parts(axes: Any, parts: Sequence[tuple[str, int]]) -> None:
    """Shades every second part, and writes each one's name above it."""
    start = 0.5
    for number, (name, length) in enumerate(parts):
        if number % 2:
            axes.axvspan(start, start + length, color="0.93", zorder=0)
        place = (start + length / 2, 1.01)
        above = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 8}
        axes.text(*place, name, **above, parse_math=False)
        start += length


def _floats(photo: Any) -> np.ndarray:
    """The photograph (H, W, 3) as floats in [0, 1]; ValueError for what is none."""
    mode = getattr(photo, "mode", None)  # of a PIL image
    what = mode or type(photo).__name__
    if isinstance(photo, str | os.PathLike) or mode not in (None, "RGB", "L"):
        raise ValueError(f"The photograph is {what}, but an array (H, W, 3) is expected: model.pixels makes one.")
    array: np.ndarray = np.asarray(photo)
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,)):
        raise ValueError(
            f"The photograph has shape {array.shape}, but (H, W, 3) is expected, or (H, W) or (H, W, 1) for grey: give "
            "one image, channels last."
        )
    floats = array / 255 if array.dtype == np.uint8 else array
    low, high = floats.min(), floats.max()
    if not -_ROUNDING <= low <= high <= 1 + _ROUNDING:
        raise ValueError(
            f"The photograph has {array.dtype} values from {low:.3g} to {high:.3g}, but floats in [0, 1] or uint8 are "
            "expected: give model.pixels, not model.prepare, or divide levels by 255."
        )
    return np.clip(np.broadcast_to(floats.reshape(*array.shape[:2], -1), (*array.shape[:2], 3)), 0.0, 1.0)


def _write(sheet: Any, path: Path) -> None:
    if not path.suffix:
        raise ValueError(f"{path} has no suffix, but .png, .jpg, .pdf or .svg is expected.")
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        sheet.savefig(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)

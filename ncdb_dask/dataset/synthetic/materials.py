"""The textures by name: what walls, streets, furniture and cars are made of."""

import numpy as np

from ncdb_dask.dataset.synthetic.geometry import Floats
from ncdb_dask.dataset.synthetic.texture import SIZE, Maker, Texture, noise

_TICKS = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
_U: Floats = np.broadcast_to(_TICKS, (SIZE, SIZE))
_V: Floats = np.broadcast_to(_TICKS[:, None], (SIZE, SIZE))


def _paint(grey: Floats, colour: tuple[float, float, float] = (1.0, 1.0, 1.0), glow: Floats | float = 0.0) -> Floats:
    rgb = np.clip(grey, 0, 1)[..., None] * np.asarray(colour, np.float32)
    return np.concatenate([rgb, np.broadcast_to(glow, grey.shape)[..., None]], axis=-1).astype(np.float32)


def _mixed(mask: Floats, one: Floats, other: Floats) -> Floats:
    return np.where(mask[..., None] > 0.5, one, other).astype(np.float32)


def _inside(left: float, bottom: float, right: float, top: float, *, u: Floats = _U, v: Floats = _V) -> Floats:
    return ((u > left) & (u < right) & (v > bottom) & (v < top)).astype(np.float32)


def _rough(level: float, grain: float, cells: int = 8) -> Maker:
    return lambda rng: _paint(level + grain * noise(rng, cells, 5))


def _grid(columns: int, rows: int, gap: float, *, stagger: bool, spread: float, grain: float, joint: float) -> Maker:
    """Return a maker of bricks, tiles, planks or slabs, each a little different from its neighbour."""

    def make(rng: np.random.Generator) -> Floats:
        row = np.floor(_V * rows).astype(np.int64)
        u = _U * columns + (0.5 * (row % 2) if stagger else 0)
        shade = rng.uniform(1 - spread, 1, (rows, columns)).astype(np.float32)
        body = shade[row, np.floor(u).astype(np.int64) % columns] * 0.6 * (1 + grain * noise(rng, 16, 4))
        # The gap is given as a share of the row's height: joints are equally wide both ways.
        aside, above = np.abs(u % 1 - 0.5), np.abs(_V * rows % 1 - 0.5)
        open_joint = (above > 0.5 - gap / 2) | (aside > 0.5 - gap / 2 * columns / rows)
        return _paint(np.where(open_joint, joint, body).astype(np.float32))

    return make


def _planks(rng: np.random.Generator) -> Floats:
    grain = np.sin(60 * (_U + 0.04 * noise(rng, 4, 3)) + 4 * noise(rng, 2, 2))
    boards = _grid(6, 1, 0.004, stagger=False, spread=0.3, grain=0.1, joint=0.12)(rng)
    boards[..., :3] *= 1 + 0.08 * grain[..., None]
    return boards


def _wood(rng: np.random.Generator) -> Floats:
    rings = np.sin(30 * _V + 5 * noise(rng, 3, 4))
    return _paint(0.55 + 0.07 * rings + 0.05 * noise(rng, 32, 3))


def _stripes(rng: np.random.Generator) -> Floats:
    return _paint(0.62 + 0.09 * np.sign(np.sin(2 * np.pi * 5 * _U)) + 0.02 * noise(rng, 32, 3))


def _weave(rng: np.random.Generator) -> Floats:
    thread = np.sin(2 * np.pi * 32 * _U) * np.sin(2 * np.pi * 32 * _V)
    return _paint(0.5 + 0.06 * thread + 0.09 * noise(rng, 8, 4))


def _rug(rng: np.random.Generator) -> Floats:
    rim = np.maximum(np.abs(_U - 0.5), np.abs(_V - 0.5))
    rings = np.where((rim > 0.36) & (rim < 0.42), 0.75, np.where(np.abs(_U - 0.5) + np.abs(_V - 0.5) < 0.25, 0.6, 0.35))
    return _paint((rings + 0.06 * noise(rng, 32, 3)).astype(np.float32))


def _books(rng: np.random.Generator) -> Floats:
    shelves, count = 5, 26
    row = np.minimum((_V * shelves).astype(np.int64), shelves - 1)
    edges = np.sort(rng.uniform(0, 1, (shelves, count)), axis=1)
    book = np.stack([np.searchsorted(edges[k], _U[0]) for k in range(shelves)])[row[:, 0]]
    colours = rng.uniform(0.04, 0.6, (shelves, count + 1, 3)) * rng.uniform(0.4, 1, (shelves, count + 1, 1))
    tall = rng.uniform(0.6, 0.88, (shelves, count + 1))
    inside = _V * shelves % 1
    body = colours[row, book] * (1 - 0.6 * (np.abs(inside - 0.5) < 0.03)[..., None])
    shown = np.where((inside < tall[row, book])[..., None], body, 0.03)
    board = (inside < 0.07) | (np.abs(_U - 0.5) > 0.475) | (_V > 0.985)
    return np.dstack([np.where(board[..., None], 0.42, shown), np.zeros_like(_U)]).astype(np.float32)


def _drawers(rng: np.random.Generator) -> Floats:
    u, v = _U * 2 % 1, _V * 2 % 1
    seam = (np.abs(u - 0.5) > 0.485) | (np.abs(v - 0.5) > 0.48)
    knob = _inside(0.38, 0.66, 0.62, 0.73, u=u, v=v)
    return _paint(np.where(seam, 0.12, np.where(knob > 0, 0.15, 0.55 + 0.05 * noise(rng, 16, 3))).astype(np.float32))


def _door(rng: np.random.Generator) -> Floats:
    panel = _inside(0.18, 0.1, 0.82, 0.44) + _inside(0.18, 0.52, 0.82, 0.93)
    rim = panel - _inside(0.2, 0.115, 0.8, 0.425) - _inside(0.2, 0.535, 0.8, 0.915)
    grey = 0.62 - 0.06 * panel - 0.25 * rim + 0.02 * noise(rng, 16, 3)
    return _paint(np.where(_inside(0.86, 0.46, 0.95, 0.5) > 0, 0.08, grey).astype(np.float32))


def _window(zenith: tuple[float, float, float], ground: tuple[float, float, float], glow: float) -> Maker:
    def make(rng: np.random.Generator) -> Floats:
        frame = ((np.abs(_U % 0.5 - 0.25) > 0.225) | (np.abs(_V - 0.5) > 0.46)).astype(np.float32)
        sky = (_V - 0.07 * noise(rng, 3, 4)[0][None, :] > 0.35).astype(np.float32)
        full = np.ones_like(_U)
        view = _mixed(sky, _paint(full, zenith, glow), _paint(full, ground, 0.3 * glow))
        return _mixed(frame, _paint(0.8 * full), view)

    return make


def _picture(rng: np.random.Generator) -> Floats:
    frame = ((np.abs(_U - 0.5) > 0.45) | (np.abs(_V - 0.5) > 0.44)).astype(np.float32)
    colours = [np.clip(rng.uniform(0.1, 0.7) + 0.35 * noise(rng, 3, 4), 0, 1) for _ in range(3)]
    return _mixed(frame, _paint(np.full_like(_U, 0.08)), np.dstack([*colours, np.zeros_like(_U)]))


def _screen(rng: np.random.Generator) -> Floats:
    rim = ((np.abs(_U - 0.5) > 0.475) | (np.abs(_V - 0.5) > 0.46)).astype(np.float32)
    glow = np.dstack([np.clip(0.3 + 0.3 * noise(rng, 3, 3), 0, 1) for _ in range(3)] + [np.full_like(_U, 0.7)])
    return _mixed(rim, _paint(np.full_like(_U, 0.02)), glow)


def _facade(width: float, low: float, high: float, frame: float, wall: Maker) -> Maker:
    """Return a maker of 4 x 4 windows in a wall: share of the cell that is window, from `low` to `high`."""

    def make(rng: np.random.Generator) -> Floats:
        u, v = _U * 4 % 1, _V * 4 % 1
        left, right = 0.5 - width / 2, 0.5 + width / 2
        glass = _inside(left + frame, low + frame, right - frame, high - frame, u=u, v=v)
        glass *= (np.abs(u - 0.5) > frame / 3) if width < 0.7 else 1
        cell = ((_V * 4).astype(np.int64), (_U * 4).astype(np.int64))
        lit = (rng.random((4, 4)) < 0.35)[cell]
        sheen = (0.05 + 0.12 * (v - low) + 0.05 * rng.random((4, 4))[cell]).astype(np.float32)
        pane = _paint(sheen, (0.75, 0.9, 1.1), 0.0)
        lamp = _paint(np.full_like(_U, 0.55) - 0.3 * (v < 0.5), (1.0, 0.72, 0.38), 1.0)
        outer = _inside(left, low, right, high, u=u, v=v)
        sill = _inside(left - 0.05, low - 0.06, right + 0.05, low, u=u, v=v)
        trim = _mixed(outer, _paint(np.full_like(_U, 0.75)), _mixed(sill, _paint(np.full_like(_U, 0.5)), wall(rng)))
        return _mixed(glass, _mixed(lit.astype(np.float32), lamp, pane), trim)

    return make


def _shops(rng: np.random.Generator) -> Floats:
    u = _U * 2 % 1
    glass = _inside(0.08, 0.16, 0.6, 0.72, u=u) + _inside(0.7, 0.03, 0.9, 0.7, u=u)
    sign = _inside(0.05, 0.78, 0.95, 0.95, u=u)
    signs = rng.uniform(0.05, 0.7, (2, 3))[(_U * 2).astype(np.int64)]
    letters = _inside(0.2, 0.82, 0.8, 0.91, u=u) * (np.sin(2 * np.pi * 16 * _U + 6 * noise(rng, 8, 2)) > 0)
    goods = np.clip(0.12 + 0.12 * noise(rng, 16, 3), 0.02, 1)
    inner = _paint(goods, (1.0, 0.9, 0.75), np.where(_U < 0.5, 0.8, 0.0).astype(np.float32))
    board = np.dstack([np.where(letters[..., None] > 0, 0.85, signs), 0.3 * (_U < 0.5)]).astype(np.float32)
    return _mixed(glass, inner, _mixed(sign, board, _paint(0.4 + 0.06 * noise(rng, 16, 4))))


def _cabin(rng: np.random.Generator) -> Floats:
    glass = _inside(0.05, 0.12, 0.95, 0.86) * (np.abs(_U - 0.5) > 0.03)
    return _mixed(glass, _paint(0.04 + 0.1 * _V, (0.8, 0.9, 1.0)), _paint(np.full_like(_U, 0.6)))


def _car_end(lamp: tuple[float, float, float]) -> Maker:
    def make(rng: np.random.Generator) -> Floats:
        lamps = _inside(0.04, 0.48, 0.26, 0.78) + _inside(0.74, 0.48, 0.96, 0.78)
        dark = _inside(0.3, 0.42, 0.7, 0.62) + _inside(0.0, 0.0, 1.0, 0.14)
        plate = _inside(0.38, 0.2, 0.62, 0.36)
        body = _mixed(dark, _paint(np.full_like(_U, 0.04)), _paint(np.full_like(_U, 0.6)))
        return _mixed(lamps, _paint(np.full_like(_U, 1.0), lamp, 0.6), _mixed(plate, _paint(np.ones_like(_U)), body))

    return make


def _car_side(rng: np.random.Generator) -> Floats:
    seam = (np.abs(np.abs(_U - 0.5) - 0.2) < 0.006) | (np.abs(_U - 0.5) < 0.006) | (_V < 0.12)
    handle = _inside(0.33, 0.72, 0.38, 0.77) + _inside(0.62, 0.72, 0.67, 0.77)
    return _paint(np.where(seam | (handle > 0), 0.1, 0.6 + 0.05 * (_V - 0.5)).astype(np.float32))


def _wheel(rng: np.random.Generator) -> Floats:
    radius, angle = np.hypot(_U - 0.5, _V - 0.5), np.arctan2(_V - 0.5, _U - 0.5)
    spokes = (radius < 0.34) & (np.cos(5 * angle) > -0.3)
    return _paint(np.where(spokes, 0.5, 0.025).astype(np.float32))


def _leaves(rng: np.random.Generator) -> Floats:
    return _paint(np.exp(0.7 * noise(rng, 24, 4)) * 0.35)


MATERIALS: dict[str, Texture] = {
    "asphalt": Texture(_rough(0.17, 0.035, 48), (3.0, 3.0)),
    "bark": Texture(_rough(0.3, 0.15, 24), (0.8, 0.8)),
    "books": Texture(_books, (0, 0)),
    "bricks": Texture(_grid(4, 12, 0.14, stagger=True, spread=0.4, grain=0.25, joint=0.5), (1.0, 0.9)),
    "cabin": Texture(_cabin, (0, 0)),
    "car_front": Texture(_car_end((1.0, 0.95, 0.8)), (0, 0)),
    "car_rear": Texture(_car_end((0.9, 0.04, 0.03)), (0, 0)),
    "car_side": Texture(_car_side, (0, 0)),
    "carpet": Texture(_rough(0.45, 0.16, 48), (1.5, 1.5)),
    "clouds": Texture(_rough(0.5, 0.5, 3), (1.0, 1.0)),
    "concrete": Texture(_rough(0.45, 0.09, 8), (3.0, 3.0)),
    "door": Texture(_door, (0, 0)),
    "drawers": Texture(_drawers, (0, 0)),
    "facade_brick": Texture(
        _facade(0.42, 0.26, 0.78, 0.04, _grid(32, 96, 0.16, stagger=True, spread=0.45, grain=0.2, joint=0.5)),
        (12.0, 12.8),
    ),
    "facade_glass": Texture(_facade(0.88, 0.16, 0.92, 0.03, _rough(0.35, 0.05)), (10.0, 12.8)),
    "facade_plaster": Texture(_facade(0.36, 0.24, 0.8, 0.04, _rough(0.62, 0.07)), (11.2, 12.8)),
    "glow": Texture(lambda rng: _paint(np.ones_like(_U), (1.0, 1.0, 1.0), 1.0), (0, 0)),
    "leaves": Texture(_leaves, (1.6, 1.6)),
    "matt": Texture(_rough(0.6, 0.03, 8), (1.0, 1.0)),
    "paving": Texture(_grid(5, 5, 0.05, stagger=True, spread=0.22, grain=0.12, joint=0.2), (2.5, 2.5)),
    "picture": Texture(_picture, (0, 0)),
    "planks": Texture(_planks, (1.2, 2.4)),
    "plaster": Texture(_rough(0.66, 0.03, 6), (2.0, 2.0)),
    "rug": Texture(_rug, (0, 0)),
    "rubber": Texture(_rough(0.03, 0.005), (1.0, 1.0)),
    "screen": Texture(_screen, (0, 0)),
    "shops": Texture(_shops, (9.0, 0)),
    "stripes": Texture(_stripes, (1.0, 1.0)),
    "tiles": Texture(_grid(4, 4, 0.05, stagger=False, spread=0.14, grain=0.08, joint=0.3), (1.6, 1.6)),
    "weave": Texture(_weave, (0.8, 0.8)),
    "wheel": Texture(_wheel, (0, 0)),
    "window": Texture(_window((0.7, 0.85, 1.0), (0.2, 0.3, 0.14), 1.0), (0, 0)),
    "window_dark": Texture(_window((0.03, 0.035, 0.06), (0.01, 0.012, 0.01), 0.2), (0, 0)),
    "wood": Texture(_wood, (1.0, 1.0)),
}

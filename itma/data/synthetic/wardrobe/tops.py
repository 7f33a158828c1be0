"""The parts of dresses, shirts, T-shirts, jumpers and jackets."""

import math

from itma.data.synthetic.wardrobe.details import belt, buttons, hem_trim, letters, pockets, seam, zipper
from itma.data.synthetic.wardrobe.look import Look
from itma.data.synthetic.wardrobe.paths import (
    Part,
    Point,
    arc,
    band,
    bezier,
    both,
    disc,
    flip,
    heart,
    mirror,
    path,
    rectangle,
    star,
    wave,
)
from itma.data.synthetic.wardrobe.products import Product

_TOP_LENGTHS = {"cropped": 0.84, "regular": 1.16, "long": 1.55}
_DRESS_LENGTHS = {"short": 1.4, "knee-length": 1.78, "long": 2.28}
_CHEST = {"slim": 0.37, "regular": 0.44, "loose": 0.55}
_WAIST = {"slim": 0.31, "regular": 0.42, "loose": 0.57}
_HEM = {"slim": 0.35, "regular": 0.45, "loose": 0.63}
_SHOULDER = {"slim": 0.39, "regular": 0.43, "loose": 0.5}
_DRESS_HEM = {"slim": (0.34, 0.02), "regular": (0.46, 0.1), "loose": (0.64, 0.22)}
"""Half a hem at the waist's height, and what each unit below adds."""
_SLEEVE_WIDTH = {"slim": 0.085, "regular": 0.115, "loose": 0.17}
DRESS_WAIST = 0.7


class Body:
    """Measures of the upper body that its parts share."""

    def __init__(self, product: Product) -> None:
        fit = product.fit or "regular"
        self.product, self.fit = product, fit
        wide = {"jacket": 0.05, "jumper": 0.03}.get(product.category, 0.0)
        self.sleeveless = product.sleeves == "sleeveless"
        self.shoulder = _SHOULDER[fit] + wide / 2 - (0.07 if self.sleeveless else 0)
        self.chest, self.waist, self.hem = _CHEST[fit] + wide, _WAIST[fit] + wide, _HEM[fit] + wide
        self.armpit = 0.40
        self.length = (_DRESS_LENGTHS if product.category == "dress" else _TOP_LENGTHS)[product.length or "regular"]
        self.neck = {"square": 0.25, "round": 0.2, "V": 0.19}.get(product.neckline or "", 0.165)
        self.open_collar = product.category == "jacket" and product.neckline == "collar"
        openings = {"round": 0.17, "V": 0.42, "square": 0.24, "collar": 0.13, "hood": 0.2}
        self.opening = 0.5 if self.open_collar else openings.get(product.neckline or "", 0.05)
        if product.category == "dress":
            self.waist = {"slim": 0.29, "regular": 0.33, "loose": 0.4}[fit]
            start, slope = _DRESS_HEM[fit]
            self.hem = start + slope * (self.length - DRESS_WAIST)

    def neckline(self) -> list[Point]:
        """The front neckline's right half, from the middle to the shoulder."""
        n, d = self.neck, self.opening
        if self.product.neckline == "V" or self.open_collar:
            return bezier((0, d), (0.4 * n, 0.6 * d), (0.85 * n, 0.3 * d), (n, 0))
        if self.product.neckline == "square":
            return [(0, d), (0.88 * n, d), (n, 0)]
        return bezier((0, d), (0.75 * n, d), (n, 0.55 * d), (n, 0))

    def half(self, look: Look) -> list[Point]:
        """The right half of the body's outline, from the neckline's middle to the hem's."""
        shoulder, armpit = (self.shoulder, 0.1), (self.chest, self.armpit)
        inward = 0.72 if self.sleeveless else 0.92
        outward = self.chest * (0.8 if self.sleeveless else 0.95)
        side = bezier(shoulder, (self.shoulder * inward, 0.22), (outward, 0.36), armpit)
        if self.product.category == "dress":
            waist = (self.waist, DRESS_WAIST)
            hip = (self.waist + 0.55 * (self.hem - self.waist), DRESS_WAIST + 0.22)
            end = (self.hem, self.length)
            down = path(
                (armpit, (self.chest * 0.96, 0.52), (self.waist, 0.58), waist),
                (waist, (self.waist + 0.02, DRESS_WAIST + 0.1), hip, end),
            )
            loose = {"slim": 0.0, "regular": 0.012, "loose": 0.03}[self.fit]
            bottom = wave(end, (0, self.length + 0.05), 2.5, loose, look.folds[0])
        else:
            end = (self.hem, self.length - (0.11 if self.product.category == "shirt" else 0.0))
            middle = 0.5 * (self.armpit + self.length)
            down = bezier(armpit, (self.waist, middle - 0.1), (self.waist, middle + 0.1), end)
            low = self.length + 0.02
            bottom = bezier(end, (0.7 * self.hem, self.length + 0.03), (0.4 * self.hem, self.length + 0.04), (0, low))
        return [*self.neckline(), shoulder, *side, *down, *bottom]

    def side_at(self, y: float) -> float:
        """About how wide half of the body is at a height."""
        if self.product.category == "dress" and y > DRESS_WAIST:
            share = min(1.0, (y - DRESS_WAIST) / (self.length - DRESS_WAIST))
            return self.waist + (self.hem - self.waist) * math.sqrt(share)
        return self.waist if y > 0.6 else self.chest


def top(product: Product, look: Look) -> list[Part]:
    """The parts of a product that is worn on the upper body, the farthest first."""
    body = Body(product)
    parts = _behind(body)
    if not body.sleeveless:
        for side, sign in enumerate((-1, 1)):
            parts += _sleeve(body, look, side, sign)
    loose = {"slim": 0.45, "regular": 0.7, "loose": 1.0}[body.fit]
    heavy = {"jacket": 0.75, "jumper": 0.7, "dress": 1.2}.get(product.category, 0.9)
    knit = 0.35 if product.category == "jumper" else 0.0
    fan = 0.5 if product.category == "dress" and body.fit != "slim" else 0.0
    relief = 1.25 if product.category in ("jacket", "jumper") else 1.0
    front = Part([mirror(body.half(look))], folds=loose * heavy, spread=fan, rib=0.3 * knit, relief=relief)
    return [*parts, front, *_edges(body, look), *_front(body), *_collar(body)]


def _behind(body: Body) -> list[Part]:
    n, neckline = body.neck, body.product.neckline
    back = arc(n, 0, 0.6 * n, 0.07)
    parts: list[Part] = []
    if neckline == "hood":
        hood = bezier((0, -0.3), (0.2, -0.31), (0.31, -0.16), (0.29, 0.02))
        hood += bezier((0.29, 0.02), (0.26, 0.12), (0.2, 0.16), (0, 0.17))
        inner = bezier((0, -0.22), (0.13, -0.22), (0.2, -0.1), (0.18, 0.1))
        inner += bezier((0.18, 0.1), (0.12, 0.2), (0.06, 0.22), (0, 0.22))
        parts += [Part([mirror(hood)], relief=1.3), Part([mirror(inner)], cloth="inside", relief=-0.6, shade=0.8)]
    elif neckline in ("collar", "band"):
        back = arc(n, -0.05, 0.6 * n, -0.09)
    parts.append(Part([[*back, *_whole(body.neckline())[::-1]]], cloth="inside", relief=0))
    if neckline != "hood" and body.product.category != "dress" and body.opening > 0.06:  # the label in the neck
        parts.append(Part([rectangle(-0.03, 0.055, 0.03, 0.085)], cloth="button", relief=0))
    return parts


def _whole(half: list[Point]) -> list[Point]:
    """A line from left to right from its right half, which begins in the middle."""
    return [*((-x, y) for x, y in reversed(half)), *half]


def _sleeve(body: Body, look: Look, side: int, sign: int) -> list[Part]:
    """One sleeve; drawn on the right, then brought to its side."""
    product = body.product
    length = {"short": 0.34, "long": 1.02}[product.sleeves or "long"]
    swing, bent = look.arms[side], look.bend[side]
    wide = _SLEEVE_WIDTH[body.fit] + {"jacket": 0.03, "jumper": 0.015}.get(product.category, 0)
    if product.sleeves == "short":
        wide, swing = wide + 0.055, swing + 0.22
    along, across = (math.sin(swing), math.cos(swing)), (math.cos(swing), -math.sin(swing))
    shoulder, armpit = (body.shoulder - 0.02, 0.095), (body.chest - 0.03, body.armpit + 0.015)
    root = (0.5 * (shoulder[0] + armpit[0]), 0.5 * (shoulder[1] + armpit[1]))

    def at(far: float, out: float) -> Point:
        bow = bent * math.sin(math.pi * min(1.0, far / length)) if product.sleeves == "long" else 0.0
        x, y = (start + far * way + (out + bow) * aside for start, way, aside in zip(root, along, across, strict=True))
        return x, y

    reach = length * (0.96 if product.sleeves == "long" else 0.9)
    puff = 0.035 if product.category in ("jacket", "jumper") else 0.02
    elbow = at(0.5 * reach, wide + puff)
    outer = path(
        (shoulder, (shoulder[0] + 0.06, shoulder[1] + 0.03), at(0.25 * reach, wide + 0.055), elbow),
        (elbow, at(0.7 * reach, wide + puff), at(0.85 * reach, wide), at(reach, wide)),
    )
    inner = path(
        (at(reach, -wide), at(0.85 * reach, -wide), at(0.7 * reach, -wide - 0.015), at(0.5 * reach, -wide - 0.02)),
        (at(0.5 * reach, -wide - 0.02), at(0.25 * reach, -wide - 0.03), (armpit[0] + 0.01, armpit[1] + 0.02), armpit),
    )
    inside = (body.chest * 0.7, 0.25)
    turn = swing if sign < 0 else -swing
    origin = (sign * root[0], root[1])
    to_side = flip if sign < 0 else list
    knitted = product.category == "jumper"
    outline = to_side([inside, shoulder, *outer, *inner])
    sleeve = Part([outline], origin=origin, angle=turn, folds=0.85, relief=1.25, rib=0.1 if knitted else 0.0)
    cuff = 0.085 if product.category in ("shirt", "jumper", "jacket") else 0.05
    upper, lower = wide + 0.004, -wide - 0.004
    strip = [at(reach - cuff, upper), at(reach, upper), at(reach, lower), at(reach - cuff, lower)]
    if product.trim == "contrast":
        return [sleeve, Part([to_side(strip)], cloth="accent", origin=origin, angle=turn, relief=0.8)]
    if knitted:
        return [sleeve, Part([to_side(strip)], origin=origin, angle=turn, rib=1.0, shade=0.97)]
    return [sleeve, seam(to_side([strip[0], strip[3]]))]


def _edges(body: Body, look: Look) -> list[Part]:
    """Hem, neck band, waist: what runs along the edges of the body."""
    product, hem, length = body.product, body.hem, body.length
    contrast, knitted = product.trim == "contrast", product.category == "jumper"
    cloth = "accent" if contrast else "main"
    parts = []
    if product.category == "dress":
        if product.trim == "belt":
            parts += belt(body.waist, DRESS_WAIST)
        else:
            parts.append(seam(arc(body.waist, DRESS_WAIST, 0.1, DRESS_WAIST + 0.03)))
        parts += hem_trim(product.trim, hem, length, look)
    elif product.category in ("jumper", "jacket"):
        line = arc(hem, length - 0.1, 0.4 * hem, length - 0.06)
        if contrast or knitted:
            parts.append(Part([band(line, 0.105)], cloth=cloth, rib=1.0, relief=0.9, shade=0.97))
        else:
            parts.append(seam(line))
        if product.category == "jacket" and product.trim == "belt":
            parts += belt(body.waist + 0.02, min(0.82, length - 0.2))
    elif product.category == "T-shirt":
        line = arc(hem, length - 0.06, 0.4 * hem, length - 0.02)
        parts.append(Part([band(line, 0.06)], cloth="accent", relief=0.6) if contrast else seam(line))
    if product.neckline in ("round", "V", "square"):
        thick, rib = (0.085, 0.8) if knitted else (0.05, 0.0)
        line = _whole(body.neckline())
        parts.append(Part([], cloth=cloth, lines=[line], thickness=thick, rib=rib, relief=0.5, shade=0.95))
    if body.sleeveless and contrast:
        shoulder, armpit = (body.shoulder, 0.1), (body.chest, body.armpit)
        edge = bezier(shoulder, (body.shoulder * 0.72, 0.22), (body.chest * 0.8, 0.36), armpit)
        parts.append(Part([], cloth="accent", lines=both(edge), thickness=0.045, relief=0.5))
    return parts


def _front(body: Body) -> list[Part]:
    """Fastening, pockets and print."""
    product, parts = body.product, []
    bottom = body.length - 0.06
    begin = body.opening + (0.03 if product.neckline != "high" else -0.12)
    if product.category in ("shirt", "jacket") or product.fastening in ("buttons", "zip"):
        if product.fastening == "zip":
            until = 0.62 if product.category == "dress" else bottom + 0.06
            parts += zipper(begin, until, whole=product.category != "dress")
        else:
            last = min(bottom, 1.05) if product.category == "dress" else bottom
            parts.append(seam(*both([(0.042, begin), (0.042, body.length)])))
            if product.trim == "contrast" and product.category == "shirt":
                parts.append(Part([rectangle(-0.04, begin, 0.04, body.length)], cloth="accent", relief=0.3))
            parts += buttons(begin + 0.06, last - 0.04, large=product.category != "shirt")
    if product.trim == "pocket":
        if product.category == "jacket":
            parts += pockets(0.5 * body.side_at(0.8) + 0.03, max(0.56, body.length - 0.36), flap=True)
        else:
            parts += pockets(-0.21, 0.36, flap=False, both_sides=False)
    if product.print == "letters":
        parts.append(letters(0.0, 0.5))
    prints = {"logo": disc(0.2, 0.36, 0.07), "star": star(0.0, 0.5, 0.21), "heart": heart(0.0, 0.5, 0.18)}
    if product.print in prints:
        parts.append(Part([prints[product.print]], cloth="ink", relief=0))
    if product.print == "logo":
        parts.append(Part([[(0.165, 0.385), (0.2, 0.31), (0.235, 0.385)]], relief=0))
    return parts


def _collar(body: Body) -> list[Part]:
    """Whatever stands up or folds over at the neck."""
    product = body.product
    n, cloth = body.neck, "accent" if body.product.trim == "contrast" else "main"
    if product.neckline == "high":
        rib = 0.9 if product.category == "jumper" else 0.0
        tall = -0.19 if product.category in ("jumper", "jacket") else -0.12
        half = path(
            ((0, tall + 0.03), (0.7 * n, tall + 0.03), (n, tall + 0.02), (0.98 * n, tall)),
            ((0.98 * n, tall), (n + 0.01, -0.03), (n + 0.015, 0.0), (n + 0.03, 0.03)),
            ((n + 0.03, 0.03), (0.7 * n, 0.08), (0.4 * n, 0.09), (0, 0.09)),
        )
        rim = 0.97 * n
        hole = [*arc(rim, tall, 0.6 * n, tall - 0.035), *reversed(arc(rim, tall, 0.6 * n, tall + 0.04))]
        parts = [Part([mirror(half)], cloth=cloth, rib=rib, relief=1.1), Part([hole], cloth="inside", relief=0)]
        if product.fastening == "zip" and product.category != "dress":
            parts += zipper(tall + 0.04, 0.09, whole=False)
        return parts
    if product.neckline == "band":
        half = path(
            ((0, 0.09), (0.7 * n, 0.07), (n, 0.0), (n, -0.06)),
            ((n, -0.06), (n + 0.04, 0.0)),
            ((n + 0.04, 0.0), (n + 0.02, 0.1), (0.6 * n, 0.155), (0, 0.165)),
        )
        return [Part([mirror(half)], cloth=cloth, relief=0.7)]
    if body.open_collar:
        leaf = [
            (0.0, body.opening + 0.03), (n * 0.5, 0.28), (n * 0.92, -0.07), (n + 0.06, -0.03), (n + 0.11, 0.12),
            (n + 0.03, 0.2), (n + 0.1, 0.24), (0.16, 0.42),
        ]  # fmt: skip
        leaves = [Part([one], cloth=cloth) for one in both(leaf)]
        return [*leaves, seam(*both([(n + 0.03, 0.2), (0.5 * n + 0.02, 0.24)]))]
    if product.neckline == "collar":
        edge = bezier((0.0, 0.115), (0.09, 0.06), (0.13, 0.0), (n - 0.01, -0.075))
        leaf = [(0.0, 0.115), *edge, (n + 0.05, 0.02), (0.19, 0.25), (0.03, 0.15)]
        return [Part([one], cloth=cloth, relief=1.1) for one in both(leaf)]
    return []

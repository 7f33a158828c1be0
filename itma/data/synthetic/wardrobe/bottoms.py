"""The parts of skirts, trousers and shorts."""

from itma.data.synthetic.wardrobe.details import belt, buttons, hem_trim, pockets, seam, zipper
from itma.data.synthetic.wardrobe.look import Look
from itma.data.synthetic.wardrobe.paths import Part, arc, band, bezier, both, flip, mirror, path, wave
from itma.data.synthetic.wardrobe.products import Product

_SKIRT_LENGTHS = {"short": 0.62, "knee-length": 1.02, "long": 1.62}
_SKIRT_HEM = {"slim": (0.38, -0.01), "regular": (0.44, 0.14), "loose": (0.6, 0.3)}
_WAIST = 0.31
_TROUSERS = {"cropped": 1.42, "full-length": 1.98}
_SHORTS = {"short": 0.66, "knee-length": 1.06}
_ANKLE = {"slim": 0.105, "regular": 0.165, "loose": 0.29}
_LEG = {"slim": 0.2, "regular": 0.25, "loose": 0.34}


def skirt(product: Product, look: Look) -> list[Part]:
    """A skirt's parts, the farthest first."""
    fit, length = product.fit or "regular", _SKIRT_LENGTHS[product.length or "short"]
    start, slope = _SKIRT_HEM[fit]
    hem = start + slope * length
    hip = (_WAIST + 0.6 * (hem - _WAIST) + 0.02, min(0.34, 0.55 * length))
    loose = {"slim": 0.0, "regular": 0.012, "loose": 0.03}[fit]
    half = [
        (0.0, 0.0),
        (_WAIST, 0.0),
        *path(((_WAIST, 0.0), (_WAIST + 0.06, 0.12), hip, (hem, length))),
        *wave((hem, length), (0, length + 0.05), 2.5, loose, look.folds[0]),
    ]
    depth = {"slim": 0.45, "regular": 0.9, "loose": 1.25}[fit]
    parts = [_inside(), Part([mirror(half)], folds=depth, spread={"slim": 0.1, "regular": 0.6, "loose": 0.9}[fit])]
    parts += hem_trim(product.trim, hem, length, look)
    if product.trim not in ("ruffles", "lace"):
        parts.append(seam(wave((-hem, length - 0.05), (hem, length - 0.05), 0.5, 0.045)))
    if product.fastening == "buttons":
        parts.append(seam(*both([(0.045, 0.06), (0.045, length)])))
        parts += buttons(0.14, length - 0.08, large=True)
    elif product.fastening == "zip":
        parts += zipper(0.05, length * 0.6, whole=False)
    if product.trim == "pocket":
        parts += pockets(0.2, 0.2, flap=False, width=0.17)
    return [*parts, *_waistband(product)]


def legs(product: Product, look: Look) -> list[Part]:
    """The parts of trousers or shorts, the farthest first."""
    fit, short = product.fit or "regular", product.category == "shorts"
    length = (_SHORTS if short else _TROUSERS)[product.length or ("short" if short else "full-length")]
    crotch = 0.46 if short else 0.56
    hip = {"slim": 0.37, "regular": 0.41, "loose": 0.46}[fit]
    parts = [_inside()]
    for side, sign in enumerate((-1, 1)):
        apart = 0.02 + 0.5 * abs(look.bend[side]) + (0.02 if short else 0.0)
        if short:
            inner, outer = apart, apart + 2 * _LEG[fit] * (0.95 if length > 0.8 else 0.9)
            outer = max(outer, hip + 0.01)
        else:
            middle = 0.21 + apart + 0.3 * _ANKLE[fit]
            inner, outer = middle - _ANKLE[fit], middle + _ANKLE[fit]
        knee = 0.5 * (crotch + length)
        outside = 0.5 * (hip + outer) + (0.02 if not short else 0)
        shape = path(
            ((-0.005, 0.0), (_WAIST, 0.0)),
            ((_WAIST, 0.0), (_WAIST + 0.04, 0.12), (hip, 0.25), (hip, 0.38)),
            ((hip, 0.38), (outside + 0.03, knee - 0.1), (outer + 0.01, knee + 0.2 * (length - knee)), (outer, length)),
            ((outer, length), (outer - 0.05, length + 0.015), (inner + 0.05, length + 0.02), (inner, length + 0.01)),
            ((inner, length + 0.01), (0.5 * inner, knee + 0.1), (0.03 + 0.3 * inner, knee - 0.2), (0.0, crotch)),
        )
        to_side = flip if sign < 0 else list
        parts.append(Part([to_side(shape)], folds=0.7, relief=1.3, origin=(sign * 0.2, 0.0)))
        parts.append(seam(to_side([(inner, length - 0.05), (outer, length - 0.06)])))
        if product.trim == "side stripe":
            low, end = (outer - 0.03, knee + 0.2 * (length - knee)), (outer - 0.035, length)
            stripe = path(
                ((_WAIST - 0.03, 0.03), (_WAIST + 0.01, 0.14), (hip - 0.035, 0.25), (hip - 0.035, 0.38)),
                ((hip - 0.035, 0.38), (outside - 0.01, knee - 0.1), low, end),
            )
            parts.append(Part([], cloth="accent", lines=[to_side(stripe)], thickness=0.06, relief=0.3))
    if product.trim == "pocket":
        parts += pockets(0.24, 0.52 if not short else 0.3, flap=True, width=0.2)
    slant = bezier((_WAIST - 0.1, 0.08), (_WAIST - 0.08, 0.18), (_WAIST - 0.02, 0.22), (hip - 0.02, 0.25))
    fly = bezier((0.07, 0.08), (0.07, 0.26), (0.05, 0.34), (0.0, 0.36))
    parts.append(seam(*both(slant), fly))
    return [*parts, *_waistband(product)]


def _inside() -> Part:
    back = arc(_WAIST, 0.0, 0.6 * _WAIST, -0.05)
    return Part([[*back, (_WAIST, 0.05), (-_WAIST, 0.05)]], cloth="inside", relief=0)


def _waistband(product: Product) -> list[Part]:
    strip = band(wave((-_WAIST - 0.01, -0.005), (_WAIST + 0.01, -0.005), 0.5, 0.02), 0.085)
    if product.trim == "belt":
        return [Part([strip], relief=0.6), *belt(_WAIST, 0.035)]
    button = buttons(0.035, 0.036, large=True)[:2] if product.category != "skirt" else []
    for part in button:
        part.outlines = part.outlines[:1]
    lower = seam(wave((-_WAIST - 0.012, 0.08), (_WAIST + 0.012, 0.08), 0.5, 0.02))
    return [Part([strip], relief=0.7, shade=1.03), lower, *button]

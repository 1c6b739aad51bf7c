"""Random keys and values, drawn with ``random()`` alone: numbers, words, UUIDs."""

from __future__ import annotations

import random
from collections.abc import Callable

_ADJECTIVES = """
agile amber ample ancient autumn awake azure bare bitter blank blunt bold brave brief bright brisk broad bronze calm
candid careful cheerful chilly civil clear clever coarse cobalt cold copper cosy crimson crisp curious curly damp daring
dark deep dense distant dry dusty eager early earnest easy elder even faint fair famous fancy fast fearless fierce fine
firm flat fleet foggy fond formal fresh frosty gentle giant glad gold golden grand grave green grey happy hardy harsh
hasty hazel heavy hidden high hollow honest hot humble icy idle indigo ivory jade jolly keen kind large lasting late
lavish lean light likely little lively lone long loud loyal lucky mellow merry mild misty modest narrow neat new nimble
noble northern odd olive orange pale patient plain polite proud quick quiet rapid rare ready red rich ripe rough round
royal rural rustic salty scarlet secret shallow sharp shiny short shy silent silver simple sleepy slender slow small
smooth snowy sober soft solar solid sour spare stark steady steep stern still stout strange strict strong sturdy subtle
sudden sunny sweet swift tall tame tart teal tender thick thin tidy tiny tired tough upper urban vast velvet violet
vivid warm wary wavy weary western white whole wide wild windy wise witty wooden yellow young
"""

_NOUNS = """
acorn anchor anvil apple apron arch arrow atlas attic badge bagel balcony bamboo banjo banner barge barn barrel basin
basket beach beacon beam bell bench berry bicycle blanket blossom boat bonnet book boot bottle boulder bowl bracket
branch bread brick bridge broom brush bucket button cabin cable cactus camel candle canoe canvas canyon carpet carriage
castle cedar cellar chain chair chalk chapel cherry chest chimney cliff clock cloud clover coast comet compass coral
cottage cradle crane crater creek cricket crown curtain cushion daisy desert desk diary dolphin door dragon drawer drum
eagle easel engine falcon feather fence ferry fiddle field finger flag flame flask flute forest fork fountain fox garden
garlic gate glacier glove goblet goose granite grape guitar hammer hammock harbour harp harvest hawk hedge helmet heron
hill hinge honey horizon horn island ivy jacket jar jewel jungle kettle key kite kitten ladder lagoon lake lamp lantern
lark leaf lemon lens letter library lighthouse lily lion lizard locket lumber magnet maple marble market meadow medal
mill mirror mitten moon mosaic moss moth mountain museum needle nest notebook oak oar ocean onion orchard otter
oven owl oyster paddle palace panther parade parcel parrot path pebble pelican pencil pepper piano pigeon pillow pilot
pine planet plum pocket pond poppy portrait potato prairie prism puzzle quarry quill quilt rabbit raft railway rain
raven reef ribbon river robin rocket roof rope rose saddle sail sandal saucer scarf school seed shadow shell ship shovel
shutter sketch sledge slipper snail sparrow spindle spoon spring stable stair star statue stone storm stove straw street
sunset swan table tailor teapot temple tent thimble thread thunder ticket tiger timber tower trail train trumpet tulip
tunnel turtle umbrella valley vase village vine violin wagon wall walnut wave whale wheat wheel whistle willow window
winter wolf wood yard zebra
"""

_FIRST, _LAST = tuple(_ADJECTIVES.split()), tuple(_NOUNS.split())


def whole(rng: random.Random, low: int, high: int) -> int:
    """A whole number of low..high, both included."""
    return low + int(rng.random() * (high - low + 1))


def uuid(rng: random.Random) -> str:
    """A random UUID (version 4)."""
    digits = "".join(f"{int(rng.random() * 2**48):012x}" for _ in range(3))
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def words(rng: random.Random, taken: int = 0) -> str:
    """Adjective-noun, as "quiet-lamp"; where many are taken already, some with an adjective more."""
    pairs = len(_FIRST) * len(_LAST)
    # Twice as many as are taken, so that a free one is found in two draws on average.
    number = int(rng.random() * max(pairs, 2 * taken))
    more, number = divmod(number, pairs)
    first = [_FIRST[(more - 1) % len(_FIRST)]] if more else []
    return "-".join([*first, _FIRST[number // len(_LAST)], _LAST[number % len(_LAST)]])


def fresh(draw: Callable[[int], str], seen: set[str]) -> str:
    """A text that is not in ``seen``, and is from now on; ``draw`` is told how many are."""
    while (text := draw(len(seen))) in seen:
        pass
    seen.add(text)
    return text

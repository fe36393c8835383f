"""Places of the grammar and the scenes that they open: 'In a birch wood' + 'with tall ferns' or 'at dawn'.

Train and test share no place, whatever the light. No scene names an animal or a thing of the lexicon: a video that
shows two benches where the prompt is about one is invalid (SpatialAlign 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from schemas.scene import Split

_OUTDOORS = ("at dawn", "at dusk", "in the midday sun", "under a grey sky", "in light mist", "in soft afternoon light")
_INDOORS = ("in the morning light", "on a rainy afternoon", "late in the evening", "in soft daylight")
_UNDER_A_ROOF = frozenset({"barn", "workshop", "home", "hall"})


@dataclass(frozen=True)
class Place:
    """Somewhere, with what may be seen there."""

    opening: str  # 'In a birch wood'
    setting: str
    split: Split
    details: tuple[str, ...]  # 'with tall ferns'

    @property
    def scenes(self) -> tuple[str, ...]:
        """Opening phrases without their comma; each place has its own details and every light of its kind."""
        lights = _INDOORS if self.setting in _UNDER_A_ROOF else _OUTDOORS
        return tuple(f"{self.opening} {said}" for said in (*self.details, *lights))


# One place a line: its setting and split, its opening, and what may be seen there.
_TABLE = """
wood      train | In a birch wood | with tall ferns | where mist hangs between the trunks
wood      train | In a pine forest | with soft needles on the ground | with straight trunks
wood      train | On a woodland path | covered with fallen leaves | edged with bracken
wood      train | In an autumn forest | with golden leaves | with toadstools in the grass
wood      train | On a mossy forest floor | with slender saplings | with shafts of light between the firs
wood      test  | In a beech grove | with silvery bark | carpeted with bluebells
wood      test  | In a mossy glade | ringed by old oaks | with foxgloves in bloom
jungle    train | In a rainforest clearing | with hanging vines | with broad wet leaves
jungle    train | In a bamboo grove | with rustling leaves | dappled with sunlight
jungle    train | On a jungle trail | lined with orchids | thick with ferns
jungle    test  | In a palm thicket | with tangled roots | with scarlet blossoms
jungle    test  | On a muddy rainforest bank | with creepers overhead | with giant leaves
meadow    train | In an alpine meadow | with yellow flowers | below snowy peaks
meadow    train | On a grassy hillside | dotted with daisies | with a view over the valley
meadow    train | On a heath | with purple heather | with yellow gorse
meadow    train | In a field of clover | with tall grass at its edge | with poppies here and there
meadow    test  | On a mountain pasture | with cropped grass | with blue gentians
meadow    test  | On a wide prairie | with waving grass | with distant hills
water     train | By a pond | with water lilies | edged with reeds
water     train | On a riverbank | with drooping willows | with smooth pebbles
water     train | On the shore of a lake | with calm water | with pines behind it
water     train | Beside a shallow stream | with clear water | with mossy banks
water     test  | On the grassy bank of a canal | with still water | lined with poplars
water     test  | At the edge of a marsh | with bulrushes | with shallow pools
beach     train | On a sandy beach | with gentle waves | with dunes behind it
beach     train | On a pebble beach | with white cliffs | with strands of seaweed
beach     train | In a small bay | with turquoise water | sheltered by cliffs
beach     test  | On a tidal flat | with ripples in the sand | with shallow puddles
beach     test  | Among sand dunes | with tufts of grass | with the sea in view
garden    train | In a cottage garden | full of hollyhocks | with a gravel path
garden    train | On a mown lawn | bordered with tulips | in front of a brick house
garden    train | In a vegetable garden | with rows of cabbages | with climbing beans
garden    train | In a backyard | with a wooden fence | with a hedge behind it
garden    test  | In a rose garden | with clipped hedges | with a trellis
garden    test  | In an apple orchard | with fruit on the branches | with daisies in the grass
park      train | In a city park | with tall plane trees | with a wide lawn
park      train | On a park path | lined with lime trees | strewn with petals
park      train | In a public garden | with beds of begonias | with a fountain in the distance
park      train | On a village green | with an old oak | with short grass
park      test  | On a park meadow | with cherry trees in blossom | with clumps of daffodils
park      test  | On a tree-lined avenue | with yellow leaves | with iron railings
farm      train | In a farmyard | with a red barn | with tractor tracks in the mud
farm      train | In a paddock | with a wire fence | with trampled grass
farm      train | On a farm track | with hedgerows on both sides | with puddles
farm      train | In front of a barn | with wide open doors | with weathered boards
farm      test  | Beside a grain silo | with corn growing behind it | with ruts in the earth
farm      test  | In a stubble field | with a farmhouse far off | with furrows
street    train | On a city sidewalk | with shop windows | with parked cars in the distance
street    train | In a cobbled lane | with painted doors | with ivy on the walls
street    train | On a suburban street | with trimmed lawns | with white houses
street    train | In an alley | with brick walls | with a puddle on the asphalt
street    test  | On a street corner | with a bakery | with striped awnings
street    test  | In an empty parking lot | with painted lines | with weeds in the cracks
courtyard train | In a sunny courtyard | with whitewashed walls | with climbing jasmine
courtyard train | On a terrace | paved with terracotta tiles | overlooking a valley
courtyard train | In the courtyard of an old temple | with carved pillars | with worn steps
courtyard test  | On a patio | shaded by a grapevine | with blue tiles
courtyard test  | In a walled yard | with arched doorways | with a fig tree
barn      train | Inside a barn | with sunbeams between the boards | with straw on the floor
barn      train | In a cow shed | with a whitewashed wall | with wide doors
barn      train | In a hayloft | with wooden rafters | with a small window
barn      test  | In an old stable | with heavy beams | with an earthen floor
barn      test  | Inside a wooden shelter | with gaps in the roof | with trampled straw
workshop  train | In a workshop | with tools on the wall | with sawdust on the floor
workshop  train | In a garage | with a concrete floor | with shelves along the wall
workshop  train | In a cellar | with a vaulted ceiling | with a single bulb
workshop  test  | Inside a garden shed | with a dusty window | with coils of rope
workshop  test  | In a forge | with a brick chimney | with a sooty floor
home      train | In a living room | with a striped rug | with tall windows
home      train | In an attic room | with a sloping ceiling | with a round window
home      train | In a sunroom | with wicker blinds | with a tiled floor
home      train | In a bedroom | with pale curtains | with flowered wallpaper
home      test  | In a study | with dark panelling | with maps on the walls
home      test  | In a loft apartment | with exposed bricks | with bare floorboards
hall      train | In a hotel lobby | with marble columns | with a polished floor
hall      train | In a museum hall | with white walls | with a glass roof
hall      train | In a school corridor | with a linoleum floor | with coats on hooks
hall      test  | In a railway waiting room | with arched windows | with a checkered floor
hall      test  | In a town hall foyer | with a grand staircase | with flags on the wall
"""


_SPLITS: dict[str, Split] = {split: split for split in get_args(Split)}


def _place(line: str) -> Place:
    where, opening, *details = (part.strip() for part in line.split("|"))
    setting, split = where.split()
    return Place(opening, setting, _SPLITS[split], tuple(details))


PLACES: tuple[Place, ...] = tuple(map(_place, _TABLE.strip().splitlines()))

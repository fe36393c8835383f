"""Places of the grammar and the scenes that they open: 'In a birch wood' + 'with tall ferns' or 'at dawn'.

Train and test share no place, whatever the light. No scene names an animal or a thing of the lexicon: a video that
shows two benches where the prompt is about one is invalid (SpatialAlign 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

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


def _places(setting: str, split: Split, *lines: str) -> tuple[Place, ...]:
    """One place a line: opening | detail | detail ..."""
    split_lines = [[part.strip() for part in line.split("|")] for line in lines]
    return tuple(Place(opening, setting, split, tuple(details)) for opening, *details in split_lines)


PLACES: tuple[Place, ...] = (
    *_places(
        "wood", "train",
        "In a birch wood | with tall ferns | where mist hangs between the trunks",
        "In a pine forest | with soft needles on the ground | with straight trunks",
        "On a woodland path | covered with fallen leaves | edged with bracken",
        "In an autumn forest | with golden leaves | with toadstools in the grass",
        "On a mossy forest floor | with slender saplings | with shafts of light between the firs",
    ),
    *_places(
        "wood", "test",
        "In a beech grove | with silvery bark | carpeted with bluebells",
        "In a mossy glade | ringed by old oaks | with foxgloves in bloom",
    ),
    *_places(
        "jungle", "train",
        "In a rainforest clearing | with hanging vines | with broad wet leaves",
        "In a bamboo grove | with rustling leaves | dappled with sunlight",
        "On a jungle trail | lined with orchids | thick with ferns",
    ),
    *_places(
        "jungle", "test",
        "In a palm thicket | with tangled roots | with scarlet blossoms",
        "On a muddy rainforest bank | with creepers overhead | with giant leaves",
    ),
    *_places(
        "meadow", "train",
        "In an alpine meadow | with yellow flowers | below snowy peaks",
        "On a grassy hillside | dotted with daisies | with a view over the valley",
        "On a heath | with purple heather | with yellow gorse",
        "In a field of clover | with tall grass at its edge | with poppies here and there",
    ),
    *_places(
        "meadow", "test",
        "On a mountain pasture | with cropped grass | with blue gentians",
        "On a wide prairie | with waving grass | with distant hills",
    ),
    *_places(
        "water", "train",
        "By a pond | with water lilies | edged with reeds",
        "On a riverbank | with drooping willows | with smooth pebbles",
        "On the shore of a lake | with calm water | with pines behind it",
        "Beside a shallow stream | with clear water | with mossy banks",
    ),
    *_places(
        "water", "test",
        "On the grassy bank of a canal | with still water | lined with poplars",
        "At the edge of a marsh | with bulrushes | with shallow pools",
    ),
    *_places(
        "beach", "train",
        "On a sandy beach | with gentle waves | with dunes behind it",
        "On a pebble beach | with white cliffs | with strands of seaweed",
        "In a small bay | with turquoise water | sheltered by cliffs",
    ),
    *_places(
        "beach", "test",
        "On a tidal flat | with ripples in the sand | with shallow puddles",
        "Among sand dunes | with tufts of grass | with the sea in view",
    ),
    *_places(
        "garden", "train",
        "In a cottage garden | full of hollyhocks | with a gravel path",
        "On a mown lawn | bordered with tulips | in front of a brick house",
        "In a vegetable garden | with rows of cabbages | with climbing beans",
        "In a backyard | with a wooden fence | with a hedge behind it",
    ),
    *_places(
        "garden", "test",
        "In a rose garden | with clipped hedges | with a trellis",
        "In an apple orchard | with fruit on the branches | with daisies in the grass",
    ),
    *_places(
        "park", "train",
        "In a city park | with tall plane trees | with a wide lawn",
        "On a park path | lined with lime trees | strewn with petals",
        "In a public garden | with beds of begonias | with a fountain in the distance",
        "On a village green | with an old oak | with short grass",
    ),
    *_places(
        "park", "test",
        "On a park meadow | with cherry trees in blossom | with clumps of daffodils",
        "On a tree-lined avenue | with yellow leaves | with iron railings",
    ),
    *_places(
        "farm", "train",
        "In a farmyard | with a red barn | with tractor tracks in the mud",
        "In a paddock | with a wire fence | with trampled grass",
        "On a farm track | with hedgerows on both sides | with puddles",
        "In front of a barn | with wide open doors | with weathered boards",
    ),
    *_places(
        "farm", "test",
        "Beside a grain silo | with corn growing behind it | with ruts in the earth",
        "In a stubble field | with a farmhouse far off | with furrows",
    ),
    *_places(
        "street", "train",
        "On a city sidewalk | with shop windows | with parked cars in the distance",
        "In a cobbled lane | with painted doors | with ivy on the walls",
        "On a suburban street | with trimmed lawns | with white houses",
        "In an alley | with brick walls | with a puddle on the asphalt",
    ),
    *_places(
        "street", "test",
        "On a street corner | with a bakery | with striped awnings",
        "In an empty parking lot | with painted lines | with weeds in the cracks",
    ),
    *_places(
        "courtyard", "train",
        "In a sunny courtyard | with whitewashed walls | with climbing jasmine",
        "On a terrace | paved with terracotta tiles | overlooking a valley",
        "In the courtyard of an old temple | with carved pillars | with worn steps",
    ),
    *_places(
        "courtyard", "test",
        "On a patio | shaded by a grapevine | with blue tiles",
        "In a walled yard | with arched doorways | with a fig tree",
    ),
    *_places(
        "barn", "train",
        "Inside a barn | with sunbeams between the boards | with straw on the floor",
        "In a cow shed | with a whitewashed wall | with wide doors",
        "In a hayloft | with wooden rafters | with a small window",
    ),
    *_places(
        "barn", "test",
        "In an old stable | with heavy beams | with an earthen floor",
        "Inside a wooden shelter | with gaps in the roof | with trampled straw",
    ),
    *_places(
        "workshop", "train",
        "In a workshop | with tools on the wall | with sawdust on the floor",
        "In a garage | with a concrete floor | with shelves along the wall",
        "In a cellar | with a vaulted ceiling | with a single bulb",
    ),
    *_places(
        "workshop", "test",
        "Inside a garden shed | with a dusty window | with coils of rope",
        "In a forge | with a brick chimney | with a sooty floor",
    ),
    *_places(
        "home", "train",
        "In a living room | with a striped rug | with tall windows",
        "In an attic room | with a sloping ceiling | with a round window",
        "In a sunroom | with wicker blinds | with a tiled floor",
        "In a bedroom | with pale curtains | with flowered wallpaper",
    ),
    *_places(
        "home", "test",
        "In a study | with dark panelling | with maps on the walls",
        "In a loft apartment | with exposed bricks | with bare floorboards",
    ),
    *_places(
        "hall", "train",
        "In a hotel lobby | with marble columns | with a polished floor",
        "In a museum hall | with white walls | with a glass roof",
        "In a school corridor | with a linoleum floor | with coats on hooks",
    ),
    *_places(
        "hall", "test",
        "In a railway waiting room | with arched windows | with a checkered floor",
        "In a town hall foyer | with a grand staircase | with flags on the wall",
    ),
)  # fmt: skip

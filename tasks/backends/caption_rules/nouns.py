"""Nouns and adjectives: what they name, and their forms.

    noun_form("women") -> ("woman", True)           singular, and whether the word is plural
    "puppy" in LIVING, "puppy" in WIDER["dog"]      a later "the dog" may be the puppy
    "lawn" in SCENE                                 a place, not an object

lemminflect knows the forms of words; these lists add their meaning.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tasks.backends.caption_rules.words import Gender, lemmas_of, word_set

# --- People and animals ----------------------------------------------------------------------

MALE = word_set(
    "man boy guy father dad grandfather grandpa son brother uncle husband king groom gentleman fisherman "
    "policeman fireman businessman cowboy waiter actor monk prince salesman sportsman craftsman postman mailman "
    "male boyfriend grandson nephew lad"
)
FEMALE = word_set(
    "woman girl lady mother mom mum grandmother grandma daughter sister aunt wife queen bride businesswoman waitress "
    "actress princess ballerina policewoman female girlfriend granddaughter niece lass nun"
)
PEOPLE = (
    MALE
    | FEMALE
    | word_set(
        "person people child kid baby toddler infant teenager adult player friend student teacher chef cook "
        "doctor nurse worker dancer singer musician athlete coach referee goalkeeper goalie runner swimmer "
        "surfer skier skater rider cyclist driver farmer gardener artist painter sculptor photographer barber "
        "hairdresser stylist client customer vendor seller shopkeeper cashier bartender barista baker butcher "
        "carpenter mechanic plumber electrician engineer scientist soldier officer guard firefighter police "
        "pilot sailor astronaut clown magician juggler acrobat gymnast boxer wrestler fighter batter pitcher "
        "catcher golfer drummer guitarist pianist violinist potter tailor weaver blacksmith welder builder "
        "fisher hunter climber hiker camper tourist traveler passenger pedestrian spectator performer actor "
        "model individual figure someone somebody couple family group crowd team parent sibling twin neighbor "
        "neighbour colleague teammate opponent partner patient dentist surgeon veterinarian vet trainer "
        "instructor conductor priest judge lawyer reporter host guest servant shepherd youth "
        "preschooler human cameraman technician masseuse therapist caregiver handler jockey skateboarder "
        "snowboarder bowler archer assistant pupil schoolboy schoolgirl clerk courier janitor porter miner "
        "diver rower jogger biker motorcyclist fencer bodybuilder cheerleader boss employee manager "
        "librarian shopper diner hostess senior elder "
        "knight samurai ninja pirate gladiator warrior viking wizard witch fairy superhero thief robber burglar "
        "prisoner masseur groomer hairstylist manicurist beautician tattooist makeup-artist optician optometrist "
        "physiotherapist paramedic medic lifeguard lumberjack jeweler jeweller watchmaker shoemaker cobbler "
        "florist seamstress artisan butler maid bridesmaid cowgirl kayaker paddler snorkeler beekeeper contestant "
        "competitor participant visitor bystander onlooker inspector detective cellist flautist saxophonist "
        "trumpeter salesperson saleswoman stewardess zookeeper"
    )
)
DOGS = word_set(
    "dog puppy pup hound retriever labrador poodle terrier bulldog husky shepherd corgi dachshund beagle pug"
)
ANIMALS = DOGS | word_set(
    "animal cat kitten horse pony foal donkey mule cow calf bull ox sheep lamb goat kid pig piglet chicken hen "
    "rooster duck duckling goose swan turkey bird parrot pigeon crow eagle owl penguin ostrich flamingo gull "
    "seagull sparrow hawk monkey ape gorilla chimpanzee orangutan elephant lion lioness tiger leopard cheetah "
    "bear cub panda koala kangaroo wolf fox deer fawn moose elk camel llama alpaca giraffe zebra rhinoceros "
    "rhino hippo hippopotamus rabbit bunny hare hamster mouse rat squirrel raccoon otter beaver seal dolphin "
    "whale shark fish turtle tortoise frog toad snake lizard crocodile alligator octopus crab lobster butterfly "
    "bee spider ant pet creature stallion mare buffalo"
)
LIVING = PEOPLE | ANIMALS
# One noun, several individuals: no single id for them (figure 21).
COLLECTIVES = word_set("people couple family group crowd team police pair audience")
# A later word may be wider: "a girl ... the child", "a puppy ... the dog".
WIDER: dict[str, frozenset[str]] = {
    "person": PEOPLE,
    "individual": PEOPLE,
    "figure": PEOPLE,
    "human": PEOPLE,
    "child": word_set("boy girl kid toddler baby"),
    "kid": word_set("boy girl child toddler"),
    "animal": ANIMALS,
    "pet": ANIMALS,
    "creature": ANIMALS,
    "dog": DOGS,
    "cat": word_set("kitten"),
    "baby": word_set("infant toddler"),
    "man": word_set("guy gentleman father"),
    "woman": word_set("lady mother"),
    "bird": word_set("parrot pigeon crow eagle owl duck goose swan gull seagull sparrow hawk"),
    "horse": word_set("pony stallion mare foal"),
}

# --- Garments, bodies, scenes ----------------------------------------------------------------

GARMENTS = word_set(
    "shirt t-shirt tshirt tee top blouse sweater jumper hoodie sweatshirt pullover cardigan jacket coat blazer "
    "vest suit tuxedo dress gown skirt robe kimono sari tunic uniform outfit costume clothing clothes attire "
    "overalls apron trousers pants jeans shorts leggings tights sweatpants swimsuit bikini trunks pyjamas "
    "pajamas underwear hat cap beanie helmet hood headband bandana scarf tie bow glove mitten sock shoe boot "
    "sneaker sandal slipper heel belt glasses sunglasses goggles mask headphones earring necklace watch turban "
    "veil jersey polo raincoat onesie leotard tutu harness collar leash cloak cape headscarf garb "
    "wetsuit tracksuit jumpsuit romper gi armour armor chainmail breastplate gauntlet camouflage camo scrubs "
    "fatigues sleeve stocking poncho shawl pashmina sarong toga kilt cassock hijab burqa niqab abaya kaftan dhoti "
    "kurta saree hanbok qipao yukata corset bodice camisole singlet undershirt waistcoat overcoat parka anorak "
    "windbreaker trenchcoat nightgown pinafore dungarees coveralls bodysuit snowsuit spacesuit swimwear sportswear "
    "footwear lingerie apparel smock bib diaper nappy bonnet beret fedora sombrero tiara crown visor balaclava wig "
    "kerchief necktie bracelet bangle brooch pendant wristband sweatband armband sash suspenders loafer moccasin "
    "stiletto sundress miniskirt ballgown bathrobe nightshirt shoelace handcuff earmuffs kneepad earphones drysuit"
)
# Worn, though no garment: "a man in leather".
CLOTHS = word_set("leather denim plaid tweed velvet silk lace cotton wool khaki spandex latex")
# Garments that also hold things: "puts a coin in a hat".
HOLLOW = word_set("hat cap helmet hood shoe boot sock slipper sneaker sandal stocking glove mitten")
# "a girl in pigtails": hair, not clothes.
HAIRSTYLES = word_set("pigtail ponytail braid bun dreadlock cornrow curler")
BODY_PARTS = word_set(
    "hand arm finger thumb fist palm wrist elbow shoulder head face hair beard mustache moustache eye ear nose "
    "mouth lip tooth tongue cheek chin neck chest back belly stomach waist hip leg knee foot toe heel ankle "
    "thigh lap body paw tail fur mane wing beak hoof claw snout muzzle skin torso forehead ponytail braid bun "
    "curl tattoo eyebrow forearm shin calf brow gaze pigtail plait bicep eyelid eyelash fingernail toenail fingertip "
    "knuckle nape scruff scalp jaw nostril spine buttock whisker udder"
)
# "touches a dog with a finger" tells nothing about the dog's looks, "feeds a bird with a red beak" does.
LIMBS = word_set(
    "hand foot paw mouth finger thumb fist palm elbow knee toe arm leg tongue fingertip knuckle forearm beak claw hoof"
)
# Parts of a person, animal or garment only if their owner is named: "paints her nails", "the elephant's trunk".
OWNED_PARTS = word_set(
    "nail lash collar sleeve lapel cuff hem pocket bottom temple horn trunk tusk feather shell antler"
)
# Places where things happen: not objects.
SCENE = word_set(
    "lawn grass field meadow park garden yard backyard courtyard ground floor pavement sidewalk path trail road "
    "street alley lane track court pitch stadium arena stage room bedroom kitchen bathroom living-room hall "
    "hallway corridor office classroom gym studio workshop garage museum gallery library restaurant cafe "
    "shop store supermarket market mall school house home apartment building city town village countryside farm "
    "forest wood woods jungle desert beach shore sand snow ice sea ocean lake river pond pool water sky air "
    "sunlight sun moon light rain wind mountain hill valley cliff playground parking-lot lot plaza square "
    "station airport background foreground distance scene area space environment surroundings setting place "
    "land terrain carpet patio terrace deck porch balcony rooftop corner center centre middle side left right "
    "front rear top bottom end edge interior exterior sideline crowd neighborhood neighbourhood world zoo "
    "circus hospital church temple dock pier runway rink slope dirt mud lighting atmosphere sunset sunrise day "
    "night morning evening afternoon direction view camera lens frame video clip image shade shadow circle line "
    "row queue way route lounge salon tunnel"
)
# Positions on an entity or in a scene: "the cup on the right".
PLACES_IN_VIEW = word_set(
    "left right middle center centre background foreground front rear side corner top bottom distance"
)
# Cannot be seen or touched.
ABSTRACT = word_set(
    "time moment second minute hour end beginning start day night morning evening afternoon turn step steps sip "
    "bite look glance smile laugh laughter joy excitement curiosity care interest attention focus speed pace "
    "force energy skill ease effort motion movement action activity gesture pose posture position expression "
    "emotion feeling mood style manner fashion rhythm beat music song sound noise voice word question answer "
    "idea thought story news game match race contest competition fun trick pattern gait nap break rest walk run "
    "ride swim dance jump leap dive tour trip journey breath kiss hug handshake conversation chat talk speech grin "
    "frown sigh nod wink flourish gusto rope-skipping hello goodbye balance catch tag chess soccer basketball-game "
    "tennis golf volleyball-game tune melody sleep fall spin flip somersault cartwheel grip success instruction "
    "reason purpose help love fear anger surprise concentration precision determination enthusiasm confidence "
    "grace affection"
)
# Without an article it is the game: "plays football", "kicks a football".
BALL_GAMES = word_set("football baseball")
# "a group of boys" is boys, "a piece of cake" is cake; "a bowl of soup" stays a bowl.
MEASURES = word_set("piece slice pair bunch group lot couple set kind type sort number variety handful bit bundle")
# "the side of the car", "the head of the man": the whole is the entity.
PARTS = (
    BODY_PARTS
    | OWNED_PARTS
    | PLACES_IN_VIEW
    | word_set("surface end edge part handle half tip rim base inside outside")
)
# What else wears clothes: "a teddy bear in a blue T-shirt".
FIGURES = word_set(
    "doll puppet marionette mannequin manikin dummy statue statuette figurine sculpture scarecrow snowman robot "
    "android teddy teddy_bear toy plushie gnome skeleton"
)
WEARERS = LIVING | FIGURES | {"one", "other"}
# Used without an article: "washes his hands with soap".
SUBSTANCES = word_set(
    "soap shampoo conditioner lotion cream sunscreen gel foam oil wax paint ink makeup lipstick powder perfume "
    "toothpaste floss glue tape paper cloth string thread yarn rope wire foil gauze chalk charcoal clay sand water "
    "milk ice"
)
TOYS = word_set(
    "toy stuffed plush plastic wooden ceramic rubber stone bronze inflatable cardboard paper robot teddy snow"
)
PLURAL_ONLY = word_set(
    "scissors glasses sunglasses goggles trousers pants jeans shorts leggings tights binoculars pliers tongs tweezers "
    "headphones pyjamas pajamas overalls clothes shears chopsticks clippers "
    "scrubs fatigues dungarees coveralls suspenders earmuffs earphones"
)
# Never with "a": "a man in his armour" is a man in armour.
MASS = PLURAL_ONLY | word_set(
    "armour armor chainmail camouflage camo clothing attire garb apparel underwear lingerie sportswear swimwear "
    "footwear"
)
COMPOUNDS = word_set(
    "vacuum_cleaner washing_machine sewing_machine shopping_cart teddy_bear ice_cream hot_dog cell_phone "
    "mobile_phone hula_hoop jump_rope remote_control high_chair rocking_chair lawn_mower punching_bag rubber_duck "
    "baby_bottle curling_iron hair_dryer"
)

# --- Adjectives ------------------------------------------------------------------------------

COLOURS = word_set(
    "red orange yellow green blue purple violet pink brown black white grey gray silver gold golden beige cream tan "
    "maroon navy turquoise teal cyan magenta lime olive khaki crimson scarlet burgundy indigo lavender ivory bronze "
    "copper peach coral amber multicolored multicoloured colorful colourful rainbow"
)
SHADES = word_set("dark light bright pale deep vivid navy royal sky hot neon")
MATERIALS = word_set(
    "wooden wood metal steel plastic glass leather cotton denim wool silk paper cardboard rubber stone brick ceramic "
    "clay concrete iron aluminium aluminum bamboo wicker plaid checkered striped floral"
)
# Includes words that lemminflect also lists as nouns or verbs: in captions they lead a noun phrase.
ADJECTIVES = (
    COLOURS
    | SHADES
    | MATERIALS
    | word_set(
        "young old elderly little small big large tall short long tiny huge giant heavy round square flat thick "
        "thin empty full open closed clean dirty wet dry warm cool cold soft quiet calm busy sunny left right "
        "other second third last same own whole top bottom front back middle upper lower single main modern "
        "blonde blond brunette bald bearded barefoot shirtless smiling fluffy furry shiny golden sealed framed "
        "paved knitted hooded sleeveless long-sleeved female male fresh sharp bare sleek sporty business casual "
        "formal"
    )
)


# --- Forms -----------------------------------------------------------------------------------


class NounForm(NamedTuple):
    """A word read as a noun."""

    lemma: str
    plural: bool


@lru_cache(maxsize=8192)
def noun_form(word: str) -> NounForm | None:
    """Read a lower-case word as a noun: "women" -> ("woman", True); None if lemminflect has it, but not as a noun."""
    if word in PLURAL_ONLY:
        return NounForm(word, False)
    known = lemmas_of(word)
    if word in LIVING | GARMENTS:
        return NounForm(word, word == "people")
    lemmas = known.get("NOUN", ())
    if not lemmas:
        return _plural_of_listed(word) or (None if known else NounForm(word, False))
    # "leaves" is the plural of "leaf", not of "leave"; "bends" is a plural, not a noun "bends".
    lemma = "leaf" if "leaf" in lemmas else next((lemma for lemma in lemmas if lemma != word), word)
    return NounForm(lemma, lemma != word)


def _plural_of_listed(word: str) -> NounForm | None:
    """Plural of a noun that only these lists have: "t-shirts" -> ("t-shirt", True)."""
    stem = word.removesuffix("s")
    return NounForm(stem, True) if stem != word and stem in GARMENTS | LIVING else None


def is_adjective(word: str) -> bool:
    """True for words that can lead a noun: listed ones, lemminflect's adjectives and hyphened participles."""
    return word in ADJECTIVES or "ADJ" in lemmas_of(word) or (word.endswith("ed") and "-" in word)


def gender(lemma: str) -> Gender | None:
    """m or f; n for things; None if the noun does not tell."""
    if lemma in MALE:
        return "m"
    if lemma in FEMALE:
        return "f"
    return None if lemma in LIVING else "n"

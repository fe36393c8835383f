"""Which of ImageNet's classes a caption's noun means.

    classes_of("puppy")          ->  the places of 118 breeds among the classifier's classes
    classes_of("coffee mug")     ->  those of the mug: a compound is looked up whole, then by its head
    classes_of("frisbee")        ->  None: no class shows one

Near things count where people's words and the classes draw other lines: a plastic cup is ImageNet's bucket or thimble.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tasks.backends.packaged.things import CLASSES

# Each line: nouns, then classes or ranges of their numbers.
TABLE = """
dog, puppy, hound, doggy: 151-268
cat, kitten, kitty: 281-285
bird, parrot, sparrow, pigeon, gull, seagull: 7-24, 80-96, 127-146
chicken, hen, rooster, cock: cock, hen
duck, goose, swan: drake, goose, black swan, red-breasted merganser
fish, goldfish: 0-6, 389-397
turtle, tortoise: 33-37
snake: 52-68
frog, toad: 30-32
lizard: 38-48
spider: 72-77
butterfly: 321-326
bee: bee
ladybug: ladybug
rabbit, bunny, hare: wood rabbit, hare, Angora
hamster: hamster, guinea pig
squirrel: fox squirrel
horse, pony: sorrel
zebra: zebra
cow, bull, ox, calf, buffalo: ox, water buffalo, bison
pig, piglet: hog, wild boar
sheep, lamb, ram: ram, bighorn
goat: ibex, ram, bighorn
camel: Arabian camel
llama, alpaca: llama
monkey, ape, gorilla, chimpanzee: 365-382
elephant: tusker, Indian elephant, African elephant
bear: 294-297
panda: giant panda
lion: lion
tiger: tiger
leopard, cheetah, jaguar: leopard, snow leopard, jaguar, cheetah
fox: 277-280
wolf: 269-271
hippo, hippopotamus: hippopotamus
koala: koala
kangaroo, wallaby: wallaby
otter: otter
penguin: king penguin
flamingo: flamingo
owl: great grey owl
peacock: peacock
snail: snail
crab: 118-121
lobster: 122-124

ball: baseball, basketball, croquet ball, golf ball, ping-pong ball, rugby ball, soccer ball, tennis ball, volleyball
football, soccer ball: soccer ball, football helmet, rugby ball, volleyball, croquet ball, golf ball
soccerball: soccer ball
basketball: basketball
baseball, softball: baseball
volleyball: volleyball, soccer ball
tennis ball: tennis ball
golf ball: golf ball
ping-pong ball: ping-pong ball
rugby ball: rugby ball
balloon: balloon
racket, racquet, paddle: racket
dumbbell, weight: dumbbell, barbell
barbell: barbell, dumbbell
ski, skis: ski
punching bag: punching bag
parachute: parachute
swing: swing

cup: cup, coffee mug, measuring cup, beaker, goblet, eggnog, espresso, bucket, thimble, water jug, tub
mug: cup, coffee mug, measuring cup, beaker, eggnog, espresso, bucket, thimble, water jug, tub
teacup, coffee cup: cup, coffee mug, eggnog, espresso
teapot: teapot
kettle: teapot, coffeepot, water jug, pitcher, caldron, cocktail shaker
coffeepot, coffee pot: coffeepot, teapot
jug, pitcher: water jug, pitcher, whiskey jug, milk can
glass, tumbler: beer glass, goblet, red wine, beaker, measuring cup, cocktail shaker
wine glass, goblet, wineglass: goblet, red wine
bottle: beer bottle, wine bottle, water bottle, pop bottle, pill bottle, whiskey jug
bucket, pail: bucket
bowl: mixing bowl, soup bowl, consomme, guacamole, hot pot
plate, dish: plate
pot, saucepan: Crock Pot, Dutch oven, caldron, pot
pan, skillet, frying pan: frying pan, wok
wok: wok, frying pan
spoon: wooden spoon, ladle, spatula
ladle: ladle, wooden spoon
spatula: spatula, wooden spoon
knife: cleaver, letter opener
tray: tray
basket: shopping basket, hamper
vase: vase, pot
flowerpot, plant pot, planter: pot
candle: candle
pizza: pizza
burger, hamburger, cheeseburger: cheeseburger
hot dog, hotdog: hotdog
ice cream, icecream: ice cream
bread, loaf: French loaf
pretzel: pretzel
bagel: bagel
banana: banana
apple: Granny Smith
orange: orange
lemon: lemon, orange
strawberry: strawberry
pineapple: pineapple
mushroom: mushroom, agaric, bolete
broccoli: broccoli
cauliflower: cauliflower
cucumber: cucumber, zucchini
pepper: bell pepper
corn: corn, ear
cabbage: head cabbage
egg: eggnog

bed: four-poster, quilt, studio couch, crib, bassinet
blanket, quilt, duvet, comforter: quilt
pillow, cushion: pillow
sofa, couch, settee: studio couch
chair: folding chair, rocking chair, barber chair, throne
armchair: rocking chair, studio couch, throne
table: dining table, desk
desk: desk
bench: park bench
bookcase, bookshelf: bookcase
wardrobe, closet: wardrobe
crib, cradle: crib, cradle, bassinet
lamp: table lamp, lampshade
curtain: shower curtain, theater curtain, window shade
bathtub, tub: bathtub, tub
toilet: toilet seat
sink, washbasin: washbasin
fridge, refrigerator: refrigerator
oven, stove: stove, microwave
microwave: microwave
toaster: toaster
washing machine, washer: washer
dishwasher: dishwasher
vacuum, vacuum cleaner, hoover: vacuum
iron: iron
sewing machine: sewing machine
fan: electric fan
television, tv, screen, monitor: television, monitor, screen, desktop computer, home theater, entertainment center
laptop: laptop, notebook
computer: desktop computer, laptop, notebook, monitor
keyboard: computer keyboard, typewriter keyboard, space bar
mouse: mouse
phone, cellphone, smartphone, telephone: cellular telephone, iPod, hand-held computer, dial telephone
remote, remote control: remote control
camera: reflex camera, Polaroid camera
microphone, mic: microphone
clock: analog clock, wall clock, digital clock
book, notebook: book jacket, comic book, binder
pen: ballpoint, fountain pen
pencil: ballpoint, pencil box, rubber eraser
envelope, letter: envelope
box, carton: carton, crate, packet, chest
crate: crate
backpack, rucksack: backpack, mailbag
bag, handbag, purse: purse, mailbag, plastic bag, backpack
plastic bag: plastic bag
wallet: wallet, purse
umbrella, parasol: umbrella
hat: cowboy hat, sombrero, bearskin, bonnet
helmet: crash helmet, football helmet
glasses, sunglasses: sunglasses, sunglass
shoe, sneaker, trainer: running shoe, Loafer, clog
boot: cowboy boot
sandal: sandal
sock: sock, Christmas stocking
glove, mitten: mitten
towel: bath towel, dishrag, paper towel
broom: broom, swab
mop: swab, broom
shovel, spade: shovel
hammer: hammer
axe, hatchet: hatchet
screwdriver: screwdriver
drill: power drill
chainsaw: chain saw
lawnmower, lawn mower, mower: lawn mower
ladder: picket fence
wheelbarrow, barrow: barrow
shopping cart, trolley, cart: shopping cart
stroller, pram: bassinet
hairdryer, hair dryer: hand blower
lipstick: lipstick
teddy, teddy bear, plush bear: teddy
guitar: acoustic guitar, electric guitar, banjo
violin, fiddle: violin
cello: cello
piano: grand piano, upright
drum: drum, steel drum
flute: flute
trumpet: cornet
saxophone, sax: sax
accordion: accordion
harp: harp

car: beach wagon, cab, convertible, jeep, limousine, minivan, Model T, sports car, racer
taxi, cab: cab
van: minivan, moving van, police van, minibus
truck, lorry: trailer truck, moving van, garbage truck, tow truck, pickup, fire engine
pickup: pickup
bus: school bus, minibus, trolleybus
train: electric locomotive, steam locomotive, bullet train, passenger car, freight car
tram, streetcar: streetcar, trolleybus
bicycle, bike: mountain bike, bicycle-built-for-two
tricycle: tricycle
unicycle: unicycle
motorcycle, motorbike: moped, motor scooter
scooter, moped: motor scooter, moped
tractor: tractor, harvester
boat: speedboat, lifeboat, canoe, gondola, yawl, catamaran, trimaran, fireboat
canoe, kayak: canoe, paddle
sailboat, yacht: yawl, catamaran, trimaran, schooner
ship: liner, container ship, schooner
plane, airplane, aeroplane: airliner, warplane, wing
sled, sledge: dogsled, bobsled
tent: mountain tent
fountain: fountain
mailbox, letterbox: mailbox
traffic light: traffic light
bin, trash can, dustbin: ashcan
"""

# What stands where it is: seen at one place in every frame, or not at all.
STANDING = """
bed sofa couch settee table desk bench bookcase bookshelf wardrobe closet bathtub toilet sink washbasin fridge
refrigerator oven stove microwave dishwasher washer piano fountain tent curtain television tv
"""


@cache
def _table() -> dict[str, np.ndarray]:
    meant: dict[str, np.ndarray] = {}
    for line in filter(None, TABLE.splitlines()):
        nouns, classes = line.split(": ")
        places = [place for name in classes.split(", ") for place in _places(name)]
        meant |= {noun: np.array(sorted(set(places))) for noun in nouns.split(", ")}
    return meant


def _places(name: str) -> list[int]:
    """Of a class, or of a range: "151-268"."""
    first, _, last = name.partition("-")
    return list(range(int(first), int(last) + 1)) if first.isdigit() else [CLASSES.index(name)]


def classes_of(class_name: str) -> np.ndarray | None:
    """(N,) int: the places in CLASSES of what a noun means, ascending; None if there is none."""
    words = class_name.lower().split()
    for first in (0, -1):
        before = words[first:-1]
        for last in forms_of(words[-1]) if words else ():
            if (places := _table().get(" ".join([*before, last]))) is not None:
                return places
    return None


def stands(class_name: str) -> bool:
    """Whether it is furniture or the like."""
    return not set(STANDING.split()).isdisjoint(forms_of(class_name.lower().split()[-1]))


def other_kinds(classes: np.ndarray) -> list[np.ndarray]:
    """The classes of every noun without these, where some are left: a bucket's rivals are all others of a cup."""
    rest = (np.setdiff1d(kind, classes) for kind in _table().values())
    return [kind for kind in rest if kind.size]


def forms_of(word: str) -> list[str]:
    """A noun as it stands, and what it may be the plural of."""
    forms = [word]
    for ending, singular in (("s", ""), ("es", ""), ("ies", "y")):
        if word.endswith(ending) and not word.endswith("ss"):
            forms.append(word.removesuffix(ending) + singular)
    return forms

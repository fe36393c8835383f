"""What the caption rules know about words: closed classes, kinds of nouns, scored classes of verbs.

    verb_forms("kicks")    -> ("kick", {"VBZ"})
    noun_lemma("women")    -> ("woman", True)          singular, and whether the word is plural
    VERB_SCORES["kick"]    -> Score(contactness=5, dynamism=5, verb_class="strike")

Inflection comes from lemminflect's tables. The lists here hold only what no table of inflections knows:
which nouns live, which are worn, which verbs touch. Part-of-speech tags are those of the Penn Treebank.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import lemminflect


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- Closed classes --------------------------------------------------------------------------

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
MANY = _words("several many few multiple various numerous both dozens hundreds couple")
ARTICLES = _words("a an the this these those some any every each another all no")
POSSESSIVES = _words("his her its their my your our")
DETERMINERS = ARTICLES | POSSESSIVES | MANY | frozenset(NUMBERS) | {"that"}
REFLEXIVES = _words("himself herself itself themselves myself yourself oneself ourselves")
# pronoun -> (gender or None, plural)
PRONOUNS: dict[str, tuple[str | None, bool]] = {
    "he": ("m", False),
    "him": ("m", False),
    "she": ("f", False),
    "her": ("f", False),
    "it": ("n", False),
    "they": (None, True),
    "them": (None, True),
}
POSSESSOR_OF = {"his": "him", "her": "her", "its": "it", "their": "them"}
INDEFINITE_PRONOUNS = _words("someone somebody anyone everyone everybody nobody something nothing everything anything")
RELATIVES = _words("who whom which")
SUBORDINATORS = _words(
    "while as when whereas because until since if although though where so once whenever before after"
)
CONJUNCTIONS = _words("and or but nor & plus")
BE = _words("is are was were be been being am")
AUXILIARIES = BE | _words("has have had will would can could may might shall should must do does did having")
NEGATIONS = _words("not never n't neither hardly barely")
# Not said to happen: the caption tells of a wish, a plan or an attempt.
UNREALISED = _words("try attempt want plan prepare intend hope refuse fail pretend need threaten offer wait")
# "starts to throw", "continues throwing": the inner verb is what happens.
ASPECTUALS = _words("start begin continue proceed keep stop finish resume")
# "bends down to pick up a ball": the purpose is taken as done after these; elsewhere it is not.
APPROACHES = _words(
    "bend lean kneel crouch stoop squat reach run walk step jump turn leap stretch come go rush dash sit"
)

# "runs after a cat": a preposition here, a conjunction elsewhere.
FOLLOWED_BY_AFTER = _words("run chase rush dash sprint race")

STATIC_PREPOSITIONS = _words(
    "on in at beside near behind under above below between among by inside outside underneath atop"
) | {
    "next to",
    "in front of",
    "on top of",
    "close to",
    "to the left of",
    "to the right of",
}
WEARING = {"in", "wearing", "dressed in", "clad in", "sporting"}
PREPOSITIONS = (
    STATIC_PREPOSITIONS
    | WEARING
    | _words(
        "of with from to into onto through across along over around against toward towards for about upon past beneath "
        "without during off up down out like via amid amongst within throughout alongside"
    )
    | {
        "out of",
        "away from",
        "up to",
        "on to",
        "in to",
        "back to",
        "off of",
        "instead of",
        "along with",
        "together with",
    }
)
# Particles that lead to no noun phrase of their own.
DIRECTIONS = _words("out away back apart together")
PARTICLES = _words("up down off out over away back on in around along apart together through")
ADVERBS = _words(
    "then upward upwards downward downwards forward forwards backward backwards sideways again together apart "
    "away back there here nearby home just also still now very quite too almost already often once twice high "
    "hard fast aside afterwards meanwhile next later suddenly finally soon ahead overhead indoors outdoors "
    "alone instead well twice yet even only slightly half nearly first"
)

# --- Kinds of nouns --------------------------------------------------------------------------

MALE = _words(
    "man boy guy father dad grandfather grandpa son brother uncle husband king groom gentleman fisherman "
    "policeman fireman businessman cowboy waiter actor monk prince salesman sportsman craftsman postman mailman "
    "male boyfriend grandson nephew lad"
)
FEMALE = _words(
    "woman girl lady mother mom mum grandmother grandma daughter sister aunt wife queen bride businesswoman waitress "
    "actress princess ballerina policewoman female girlfriend granddaughter niece lass nun"
)
PEOPLE = (
    MALE
    | FEMALE
    | _words(
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
        "instructor conductor priest judge lawyer reporter host guest servant shepherd toddler youth "
        "preschooler human cameraman technician masseuse therapist caregiver handler jockey skateboarder "
        "snowboarder bowler archer assistant pupil schoolboy schoolgirl clerk courier janitor porter miner "
        "diver rower jogger biker motorcyclist fencer bodybuilder cheerleader assistant boss employee manager "
        "librarian shopper diner hostess senior elder"
    )
)
ANIMALS = _words(
    "animal dog puppy pup hound retriever labrador poodle terrier bulldog husky shepherd corgi dachshund beagle "
    "pug cat kitten horse pony foal donkey mule cow calf bull ox sheep lamb goat kid pig piglet chicken hen "
    "rooster duck duckling goose swan turkey bird parrot pigeon crow eagle owl penguin ostrich flamingo gull "
    "seagull sparrow hawk monkey ape gorilla chimpanzee orangutan elephant lion lioness tiger leopard cheetah "
    "bear cub panda koala kangaroo wolf fox deer fawn moose elk camel llama alpaca giraffe zebra rhinoceros "
    "rhino hippo hippopotamus rabbit bunny hare hamster mouse rat squirrel raccoon otter beaver seal dolphin "
    "whale shark fish turtle tortoise frog toad snake lizard crocodile alligator octopus crab lobster butterfly "
    "bee spider ant pet creature stallion mare buffalo"
)
LIVING = PEOPLE | ANIMALS
# Several individuals in one noun: no single id for them (figure 21).
COLLECTIVES = _words("people couple family group crowd team police pair audience")
DOGS = _words("dog puppy pup hound retriever labrador poodle terrier bulldog husky shepherd corgi dachshund beagle pug")
# A later, wider word for an entity named before: "a girl ... the child", "a puppy ... the dog".
WIDER: dict[str, frozenset[str]] = {
    "person": PEOPLE,
    "individual": PEOPLE,
    "figure": PEOPLE,
    "human": PEOPLE,
    "child": _words("boy girl kid toddler baby"),
    "kid": _words("boy girl child toddler"),
    "animal": ANIMALS,
    "pet": ANIMALS,
    "creature": ANIMALS,
    "dog": DOGS,
    "cat": _words("kitten"),
    "baby": _words("infant toddler"),
    "man": _words("guy gentleman father"),
    "woman": _words("lady mother"),
    "bird": _words("parrot pigeon crow eagle owl duck goose swan gull seagull sparrow hawk"),
    "horse": _words("pony stallion mare foal"),
}

GARMENTS = _words(
    "shirt t-shirt tshirt tee top blouse sweater jumper hoodie sweatshirt pullover cardigan jacket coat blazer "
    "vest suit tuxedo dress gown skirt robe kimono sari tunic uniform outfit costume clothing clothes attire "
    "overalls apron trousers pants jeans shorts leggings tights sweatpants swimsuit bikini trunks pyjamas "
    "pajamas underwear hat cap beanie helmet hood headband bandana scarf tie bow glove mitten sock shoe boot "
    "sneaker sandal slipper heel belt glasses sunglasses goggles mask headphones earring necklace watch turban "
    "veil jersey polo raincoat onesie leotard tutu harness collar leash cloak cape headscarf garb "
    "wetsuit tracksuit jumpsuit romper gi"
)
BODY_PARTS = _words(
    "hand arm finger thumb fist palm wrist elbow shoulder head face hair beard mustache moustache eye ear nose "
    "mouth lip tooth tongue cheek chin neck chest back belly stomach waist hip leg knee foot toe heel ankle "
    "thigh lap body paw tail fur mane wing beak hoof claw snout muzzle skin torso forehead ponytail braid bun "
    "curl tattoo eyebrow forearm shin calf brow gaze"
)
# Where things happen, not what they happen to.
SCENE = _words(
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
# Where on an entity, or of a scene, something is: "the cup on the right".
PLACES_IN_VIEW = _words(
    "left right middle center centre background foreground front rear side corner top bottom distance"
)
# Neither seen nor touched.
ABSTRACT = _words(
    "time moment second minute hour end beginning start day night morning evening afternoon turn step steps sip "
    "bite look glance smile laugh laughter joy excitement curiosity care interest attention focus speed pace "
    "force energy skill ease effort motion movement action activity gesture pose posture position expression "
    "emotion feeling mood style manner fashion rhythm beat music song sound noise voice word question answer "
    "idea thought story news game match race contest competition fun trick pattern gait nap break rest walk run "
    "ride swim dance jump leap dive tour trip journey breath kiss hug handshake conversation chat talk speech "
    "rope-skipping hello goodbye balance catch tag chess football soccer basketball-game tennis golf baseball "
    "volleyball-game tune melody sleep fall spin flip somersault cartwheel grip success instruction reason "
    "purpose help love fear anger surprise concentration precision determination enthusiasm confidence grace "
    "affection"
)
# "a group of boys" is boys, "a piece of cake" is cake; "a bowl of soup" stays a bowl.
MEASURES = _words("piece slice pair bunch group lot couple set kind type sort number variety handful bit bundle")
# "the side of the car", "the head of the man": the whole is the entity.
PARTS = BODY_PARTS | PLACES_IN_VIEW | _words("surface end edge part handle half tip rim base inside outside")
TOYS = _words(
    "toy stuffed plush plastic wooden ceramic rubber stone bronze inflatable cardboard paper robot teddy snow"
)
PLURAL_ONLY = _words(
    "scissors glasses sunglasses goggles trousers pants jeans shorts leggings tights binoculars pliers tongs tweezers "
    "headphones pyjamas pajamas overalls clothes tweezers shears chopsticks clippers"
)
COMPOUNDS = {
    ("vacuum", "cleaner"),
    ("washing", "machine"),
    ("sewing", "machine"),
    ("shopping", "cart"),
    ("teddy", "bear"),
    ("ice", "cream"),
    ("hot", "dog"),
    ("cell", "phone"),
    ("mobile", "phone"),
    ("hula", "hoop"),
    ("jump", "rope"),
    ("remote", "control"),
    ("high", "chair"),
    ("rocking", "chair"),
    ("lawn", "mower"),
    ("punching", "bag"),
    ("rubber", "duck"),
    ("baby", "bottle"),
}

COLOURS = _words(
    "red orange yellow green blue purple violet pink brown black white grey gray silver gold golden beige cream tan "
    "maroon navy turquoise teal cyan magenta lime olive khaki crimson scarlet burgundy indigo lavender ivory bronze "
    "copper peach coral amber multicolored multicoloured colorful colourful rainbow"
)
SHADES = _words("dark light bright pale deep vivid navy royal sky hot neon")
MATERIALS = _words(
    "wooden wood metal steel plastic glass leather cotton denim wool silk paper cardboard rubber stone brick ceramic "
    "clay concrete iron aluminium aluminum bamboo wicker plaid checkered striped floral"
)
# Adjectives that lemminflect also lists as nouns or verbs, and that lead a noun phrase in captions.
ADJECTIVES = (
    COLOURS
    | SHADES
    | MATERIALS
    | _words(
        "young old elderly little small big large tall short long tiny huge giant heavy round square flat thick "
        "thin empty full open closed clean dirty wet dry warm cool cold soft quiet calm busy sunny left right "
        "other second third last same own whole top bottom front back middle upper lower single main modern "
        "blonde blond brunette bald bearded barefoot shirtless smiling fluffy furry shiny golden sealed framed "
        "paved knitted hooded sleeveless long-sleeved female male fresh sharp bare sleek sporty business casual "
        "formal"
    )
)

# --- Verbs -----------------------------------------------------------------------------------


class Score(NamedTuple):
    """What a class of verbs implies, 1..5 each (figure 22)."""

    contactness: int
    dynamism: int
    verb_class: str


# class -> contactness, dynamism, its verbs. A verb with a preposition is an entry of its own.
_VERB_CLASSES: dict[str, tuple[int, int, str]] = {
    "hold": (5, 2, "hold grip grasp clutch clasp cradle cuddle carry_on hold_onto hang_on hang_from cling_to hold_up"),
    "carry": (5, 4, "carry lift hoist raise pick_up pick lift_up haul transport bear lower bring fetch collect gather "
                    "deliver scoop scoop_up hoist_up put_down set_down lay_down wheel"),
    "grab": (5, 4, "grab catch seize snatch take take_out take_off pluck capture steal take_away remove retrieve "
                   "receive accept grab_onto pull_out pull_off pull_up get_off"),
    "strike": (5, 5, "kick hit punch slap strike smack knock knock_over knock_down knock_off spike smash hammer beat "
                     "bat whack headbutt swat tackle volley bump bump_into crash_into ram run_into chop shatter "
                     "break crush kick_over stomp stomp_on pound slam attack wrestle wrestle_with fight fight_with "
                     "box dribble dunk"),
    "throw": (4, 5, "throw toss hurl fling pitch lob launch chuck bounce juggle spin twirl flip swing throw_away "
                    "drop shoot roll bowl serve shuffle catapult flick"),
    "push": (5, 4, "push pull drag shove tug yank press squeeze stretch bend twist turn rotate shake rock tow "
                   "slide push_over push_away push_down pull_down nudge rub scrub wipe wipe_off sweep mop "
                   "polish massage knead roll_up fold unfold tear rip peel stir mix whisk brush comb tilt tip "
                   "jiggle steer pedal row crank press_on push_on pull_on tug_on wring mow rake dig plow "
                   "wipe_down paddle squash"),
    "embrace": (5, 3, "hug embrace kiss snuggle shake_hands_with high-five dance_with greet tickle hug_tightly "
                      "fist-bump high-five_with lick nuzzle"),
    "touch": (5, 2, "touch tap pat stroke pet caress poke feel_with tap_on pat_on rub_against scratch sniff "
                    "smell paw paw_at knock_on press_against lean_on lean_against nestle"),
    "rest": (5, 1, "sit_on lie_on stand_on perch_on rest_on sleep_on kneel_on lean_over recline_on lay_on sit_in"),
    "leap": (5, 5, "jump_on jump_onto bounce_on leap_onto leap_on step_on stand_up_on hop_on hop_onto pounce_on "
                   "climb climb_on climb_onto climb_up climb_into swing_on ride mount board ride_on skate_on "
                   "slide_down trample jump_off bite bite_into"),
    "clear": (2, 5, "jump_over leap_over hop_over vault vault_over dodge avoid step_over"),
    "chase": (2, 5, "chase pursue run_after hunt race run_toward run_towards chase_after charge charge_at herd"),
    "approach": (2, 3, "approach follow walk_toward walk_towards crawl_toward crawl_towards lead guide escort "
                       "reach_for walk accompany circle visit meet pass walk_up_to"),
    "transfer": (4, 3, "give hand hand_over pass give_to hand_to hand_over_to pass_to offer exchange trade "
                       "take_from grab_from snatch_from pull_from remove_from receive_from feed_to serve_to sell_to "
                       "offer_to bring_to deliver_to steal_from pick_from show show_to return return_to present lend"),
    "aim": (3, 5, "throw_to toss_to kick_to roll_to pitch_to bounce_to throw_at toss_at kick_at throw_into toss_into "
                  "throw_in toss_in kick_into swing_at hit_to pass_into shoot_into throw_toward toss_toward hurl_at "
                  "kick_toward kick_towards throw_towards splash drop_in drop_into shoot_at shoot aim_at lunge_at "
                  "throw_onto bat_at kick_over_to dunk_into splash_at"),
    "place": (5, 3, "put place set lay position arrange stack insert hang install mount_on attach tie fasten "
                    "load unload pack unpack cover wrap uncover reveal hide bury plug put_away assemble build "
                    "fix repair adjust put_on button zip plant decorate connect cap fill empty balance lock "
                    "unlock park light spread"),
    "place in": (3, 3, "put_in put_into put_on put_onto place_in place_into place_on place_onto set_on set_in lay_on "
                       "lay_in insert_into load_into load_onto pack_into stack_on hang_on hang_up_on drop_on drop_onto "
                       "attach_to tie_to dip_in dip_into plug_into spread_on spray_on"),
    "pour": (4, 4, "pour spill sprinkle spray water drain squirt"),
    "pour into": (3, 4, "pour_into pour_in pour_over pour_onto pour_out_of sprinkle_on sprinkle_over spill_on"),
    "cut": (5, 4, "cut slice carve trim shave saw chop_up dice grate cut_up drill sand file mince grind sew "
                  "stitch knit weave crack unwrap open close shut open_up mould mold sculpt shape iron shovel"),
    "consume": (5, 3, "eat drink sip chew swallow devour gobble taste nibble suck munch drink_from eat_from "
                      "sip_from chew_on nibble_on inhale smoke blow blow_on blow_out lap_up graze_on munch_on "
                      "gnaw gnaw_on bite_off"),
    "care": (5, 3, "feed wash bathe dress groom clean dry rinse bandage help examine treat milk saddle shear "
                   "bottle-feed scrub_down tend nurse inspect check soothe burp rock_to_sleep harness help_up "
                   "dust pamper"),
    "play": (5, 4, "play strum play_with operate drive fly use type_on pedal_on toy_with ride_in practise_with"),
    "mark": (5, 3, "write draw paint write_on draw_on paint_on sketch sign scribble_on type erase write_in "
                   "color colour scribble sculpt_from stamp turn_on turn_off switch_on switch_off swipe scroll "
                   "work_on tinker_with fiddle_with fidget_with"),
    "read": (4, 1, "read study browse"),
    "record": (2, 2, "photograph film record take_a_photo_of take_a_picture_of"),
    "signal": (1, 2, "point_at point_to point_toward wave_at wave_to talk_to talk_with speak_to speak_with "
                     "chat_with whisper_to shout_at yell_at argue_with bark_at growl_at call sing_to gesture_to "
                     "gesture_at bow_to nod_at nod_to beckon applaud cheer salute interview instruct teach "
                     "scold address hiss_at signal_to motion_to converse_with listen_to point_towards meow_at "
                     "ask laugh_with call_to"),
    "look": (1, 1, "look_at stare_at gaze_at glance_at watch observe eye peer_at look_into look_toward look_towards "
                   "stare_into gaze_into gaze_upon photograph_from monitor face"),
    "play together": (4, 4, "play_catch_with spar_with race_with play_tag_with"),
}  # fmt: skip

# Verbs that take the same prepositions as another: "toss onto" is as "throw onto".
_ALIKE = {"throw": "toss hurl fling pitch lob launch", "put": "place set lay stack load slide"}

VERB_SCORES: dict[str, Score] = {}
for _class, (_contact, _dynamism, _verbs) in _VERB_CLASSES.items():
    for _verb in _verbs.split():
        VERB_SCORES.setdefault(_verb.replace("_", " "), Score(_contact, _dynamism, _class))
for _verb, _score in list(VERB_SCORES.items()):
    _lemma, _, _preposition = _verb.partition(" ")
    if _score.verb_class in {"aim", "place in"}:
        for _other in _ALIKE.get(_lemma, "").split():
            VERB_SCORES.setdefault(f"{_other} {_preposition}", _score)
UNKNOWN_VERB = Score(3, 3, "unknown")

ACTION_LEMMAS = frozenset(verb.split()[0] for verb in VERB_SCORES)
PHRASAL = frozenset(
    tuple(verb.split()) for verb in VERB_SCORES if len(verb.split()) == 2 and verb.split()[1] in PARTICLES
)
# Verb and particle whose "object" is a preposition's: "jumps on the bed", "sits in the chair".
OBJECT_PREPOSITIONS: dict[str, frozenset[str]] = {}
for _verb in VERB_SCORES:
    _lemma, _, _preposition = _verb.partition(" ")
    if _preposition in PREPOSITIONS | {"after"}:
        OBJECT_PREPOSITIONS[_lemma] = OBJECT_PREPOSITIONS.get(_lemma, frozenset()) | {_preposition}

GENTLE = _words("gently slowly softly carefully lightly calmly lazily delicately leisurely tenderly quietly")
FORCEFUL = _words("quickly forcefully violently vigorously hard fast rapidly energetically powerfully fiercely swiftly")

VAGUE_VERBS = _words(
    "move act do be have get go come make let stay remain seem appear happen occur become perform behave "
    "interact engage exist live work deal manage cause allow enable include contain feature show_up involve "
    "continue start begin stop try attempt keep end finish resume depict capture_on complete create experience "
    "undergo share"
)
INNER_STATES = _words(
    "think feel smile laugh frown wonder dream believe know understand remember forget love like hate enjoy "
    "want need wish hope fear worry prefer admire miss trust mean notice see hear realize realise recognize "
    "decide consider imagine expect seek cry weep sigh grin relax rest sleep wait stand wear sport resemble own "
    "possess await"
)
# With a scene these only say where someone goes: "crosses the street", "enters the room".
LOCOMOTION = _words(
    "enter leave cross exit reach visit walk run pass traverse navigate explore roam wander stroll approach "
    "circle round travel hike jog follow climb descend ascend swim sail surf skate ski leap jump"
)
# With one's own clothes these are self-directed.
DRESSING = _words(
    "wear adjust remove button unbutton zip unzip tie fasten straighten fix don touch tug smooth grip hold tip "
    "lift change"
) | {"take off", "put on", "pull up", "pull down", "pull off", "roll up"}
DITRANSITIVE = _words("give hand pass throw toss offer show bring feed serve lend send sell kick roll buy")
RECIPROCAL = {
    "hug": "hug",
    "embrace": "embrace",
    "kiss": "kiss",
    "fight": "fight with",
    "wrestle": "wrestle with",
    "talk": "talk to",
    "chat": "chat with",
    "dance": "dance with",
    "argue": "argue with",
    "spar": "spar with",
    "cuddle": "cuddle",
    "high-five": "high-five",
    "fist-bump": "fist-bump",
}
# (light verb, its noun) -> the verb meant, and the prepositions that lead to its object ("" is the indirect object).
LIGHT_VERBS: dict[tuple[str, str], tuple[str, frozenset[str]]] = {
    ("shake", "hand"): ("shake hands with", frozenset({"with"})),
    ("hold", "hand"): ("hold hands with", frozenset({"with"})),
    ("exchange", "high-five"): ("high-five", frozenset({"with"})),
    ("give", "high-five"): ("high-five", frozenset({"", "to"})),
    ("give", "hug"): ("hug", frozenset({"", "to"})),
    ("give", "kiss"): ("kiss", frozenset({"", "to"})),
    ("give", "pat"): ("pat", frozenset({"", "to"})),
    ("give", "push"): ("push", frozenset({"", "to"})),
    ("take", "bite"): ("bite", frozenset({"of", "out of", "from"})),
    ("take", "sip"): ("sip from", frozenset({"from", "of"})),
    ("take", "photo"): ("take a photo of", frozenset({"of"})),
    ("take", "picture"): ("take a picture of", frozenset({"of"})),
    ("play", "catch"): ("play catch with", frozenset({"with"})),
    ("play", "tag"): ("play tag with", frozenset({"with"})),
}
VERB_SCORES["hold hands with"] = Score(5, 2, "hold")


# --- Inflection ------------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def _lemmas(word: str) -> dict[str, tuple[str, ...]]:
    return lemminflect.getAllLemmas(word)


@lru_cache(maxsize=8192)
def verb_forms(word: str) -> tuple[str, frozenset[str]] | None:
    """(lemma, Penn tags) of a lower-case word read as a verb: "kicks" -> ("kick", {"VBZ"}); None if it is none."""
    lemmas = [lemma for lemma in _lemmas(word).get("VERB", ()) if lemma]
    if not lemmas and "-" in word:
        return _hyphened_verb(word)
    # "found" is of "find" and of "found", "saw" of "see" and of "saw": a past form is the likelier reading.
    lemmas.sort(key=lambda lemma: (lemma not in ACTION_LEMMAS, lemma == word))
    for lemma in lemmas:
        inflections = lemminflect.getAllInflections(lemma, "VERB")
        tags = frozenset(tag for tag, forms in inflections.items() if word in forms)
        if "VBD" in tags and "VBN" not in inflections:  # the tables list a regular verb's past once
            tags |= {"VBN"}
        if tags:
            return lemma, tags
    return None


def _hyphened_verb(word: str) -> tuple[str, frozenset[str]] | None:
    """ "high-fives" -> ("high-five", {"VBZ"}), for the hyphened verbs of the lexicon."""
    head, _, tail = word.rpartition("-")
    forms = verb_forms(tail) or (tail.removesuffix("s"), frozenset({"VBZ"} if tail.endswith("s") else {"VB", "VBP"}))
    lemma = f"{head}-{forms[0]}"
    return (lemma, forms[1]) if lemma in ACTION_LEMMAS else None


@lru_cache(maxsize=8192)
def noun_lemma(word: str) -> tuple[str, bool] | None:
    """(singular, plural?) of a lower-case word read as a noun; None if the tables have it, but not as a noun."""
    if word in PLURAL_ONLY:
        return word, False
    known = _lemmas(word)
    if word in LIVING or word in GARMENTS:
        return word, word == "people"
    lemmas = known.get("NOUN", ())
    if not lemmas:
        stem = _singular_of_listed(word)
        return stem or (None if known else (word, False))
    # "leaves" is of "leaf" before "leave"; "bends" of "bend" before a noun "bends".
    lemma = "leaf" if "leaf" in lemmas else next((lemma for lemma in lemmas if lemma != word), word)
    return lemma, lemma != word


def _singular_of_listed(word: str) -> tuple[str, bool] | None:
    """Plural of a noun that only our lists have: "t-shirts" -> ("t-shirt", True)."""
    stem = word.removesuffix("s")
    return (stem, True) if stem != word and (stem in GARMENTS or stem in LIVING) else None


def is_adjective(word: str) -> bool:
    """True for words that can lead a noun: listed ones, the tables' adjectives and hyphened participles."""
    return word in ADJECTIVES or "ADJ" in _lemmas(word) or (word.endswith("ed") and "-" in word)


def is_adverb(word: str) -> bool:
    """True for manner, direction and time adverbs."""
    return word in ADVERBS or (word.endswith("ly") and "ADV" in _lemmas(word))


def is_unknown(word: str) -> bool:
    """True if no table has the word: a name, a new noun ("frisbee") or another language."""
    return not _lemmas(word)


def gender(lemma: str) -> str | None:
    """m, f, or None where the noun does not say; n for things."""
    if lemma in MALE:
        return "m"
    if lemma in FEMALE:
        return "f"
    return None if lemma in LIVING else "n"

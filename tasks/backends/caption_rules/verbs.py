"""Verbs: their scores, the prepositions that lead to their objects, the verbs that name no interaction, their forms.

    verb_form("kicks")          -> ("kick", {"VBZ"}), lemma and Penn Treebank tags
    VERB_SCORES["kick"]         -> Score(contactness=5, dynamism=5, verb_class="strike")
    OBJECT_PREPOSITIONS["jump"] -> {"on", "onto", "over", "off"}
    LIGHT_VERBS["give", "hug"]  -> hug, as in "gives the dog a hug" and "gives a hug to the dog"

A verb is written as its lemma, alone or with a particle or preposition: "pick", "pick up", "throw to".
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import lemminflect

from tasks.backends.caption_rules.words import PARTICLES, PREPOSITIONS, lemmas_of, word_set

# --- Scores ----------------------------------------------------------------------------------


class Score(NamedTuple):
    """What a class of verbs implies, 1..5 each (figure 22)."""

    contactness: int
    dynamism: int
    verb_class: str


# class -> contactness, dynamism, verbs. A verb is in one class; with a preposition it is another entry.
_VERB_CLASSES: dict[str, tuple[int, int, str]] = {
    "hold": (5, 2, "hold grip grasp clutch clasp cradle cuddle carry_on hold_onto hang_on hang_from cling_to hold_up "
                    "hold_hands_with wield brandish clench restrain straddle"),
    "carry": (5, 4, "carry lift hoist raise pick_up pick lift_up haul transport bear lower bring fetch collect gather "
                    "deliver scoop scoop_up hoist_up put_down set_down lay_down wheel"),
    "grab": (5, 4, "grab catch seize snatch take take_out take_off pluck capture steal take_away remove retrieve "
                   "receive accept grab_onto pull_out pull_off pull_up get_off extract unhook"),
    "strike": (5, 5, "kick hit punch slap strike smack knock knock_over knock_down knock_off spike smash hammer beat "
                     "bat whack headbutt swat tackle volley bump bump_into crash_into ram run_into "
                     "collide_with chop shatter break crush kick_over stomp stomp_on pound slam attack wrestle "
                     "wrestle_with fight fight_with box dribble dunk jab spank whip stab slash grapple bang"),
    "throw": (4, 5, "throw toss hurl fling pitch lob launch chuck bounce juggle spin twirl flip swing throw_away "
                    "drop shoot roll bowl serve shuffle catapult flick"),
    "push": (5, 4, "push pull drag shove tug yank press squeeze stretch bend twist turn rotate shake rock tow "
                   "slide push_over push_away push_down pull_down nudge rub scrub wipe wipe_off sweep mop "
                   "polish massage knead roll_up fold unfold tear rip peel stir mix whisk brush comb tilt tip "
                   "jiggle steer pedal row crank press_on push_on pull_on tug_on wring mow rake dig plow "
                   "wipe_down paddle squash pinch prod ruffle tousle dab smear apply scrape scour flatten mash "
                   "crumple loosen tighten unroll fluff"),
    "embrace": (5, 3, "hug embrace kiss snuggle shake_hands_with high-five dance_with greet tickle hug_tightly "
                      "fist-bump high-five_with lick nuzzle"),
    "touch": (5, 2, "touch tap pat stroke pet caress poke feel_with tap_on pat_on rub_against scratch sniff "
                    "smell paw paw_at knock_on press_against lean_on lean_against nestle"),
    "rest": (5, 1, "sit_on lie_on stand_on perch_on rest_on sleep_on kneel_on lean_over recline_on lay_on sit_in"),
    "leap": (5, 5, "jump_on jump_onto bounce_on leap_onto leap_on step_on stand_up_on hop_on hop_onto pounce_on "
                   "climb climb_on climb_onto climb_up climb_into swing_on ride mount land_on board ride_on skate_on "
                   "slide_down trample jump_off bite bite_into"),
    "clear": (2, 5, "jump_over leap_over hop_over vault vault_over dodge avoid step_over"),
    "chase": (2, 5, "chase pursue run_after hunt race run_toward run_towards chase_after charge charge_at herd"),
    "approach": (2, 3, "approach follow walk_toward walk_towards crawl_toward crawl_towards lead guide escort "
                       "reach_for walk accompany circle visit meet pass walk_up_to"),
    "transfer": (4, 3, "give hand hand_over give_to hand_to hand_over_to pass_to offer exchange trade "
                       "take_from grab_from snatch_from pull_from remove_from receive_from feed_to serve_to sell_to "
                       "offer_to bring_to deliver_to steal_from pick_from show show_to return return_to present lend"),
    "aim": (3, 5, "throw_to toss_to kick_to roll_to pitch_to bounce_to throw_at toss_at kick_at throw_into toss_into "
                  "throw_in toss_in kick_into swing_at hit_to pass_into shoot_into throw_toward toss_toward hurl_at "
                  "kick_toward kick_towards throw_towards splash drop_in drop_into shoot_at aim_at lunge_at "
                  "throw_onto bat_at kick_over_to dunk_into splash_at"),
    "place": (5, 3, "put place set lay position arrange stack insert hang install mount_on attach tie fasten "
                    "load unload pack unpack cover wrap uncover reveal hide bury plug put_away assemble build "
                    "fix repair adjust put_on button zip plant decorate connect cap fill empty balance lock "
                    "unlock park light spread drape tuck bind untie buckle unbuckle glue blindfold "
                    "swaddle unveil ignite"),
    "place in": (3, 3, "put_in put_into put_onto place_in place_into place_on place_onto set_on set_in lay_in "
                       "insert_into load_into load_onto pack_into stack_on hang_up_on drop_on drop_onto "
                       "attach_to tie_to dip_in dip_into plug_into spread_on spray_on"),
    "pour": (4, 4, "pour spill sprinkle spray water drain squirt"),
    "pour into": (3, 4, "pour_into pour_in pour_over pour_on pour_onto pour_out_of sprinkle_on sprinkle_over spill_on"),
    "cut": (5, 4, "cut slice carve trim shave saw chop_up dice grate cut_up drill sand file mince grind sew "
                  "stitch knit weave crack unwrap open close shut open_up mould mold sculpt shape iron shovel "
                  "snip shred engrave whittle weld solder crochet embroider unscrew"),
    "consume": (5, 3, "eat drink sip chew swallow devour gobble taste nibble suck munch drink_from eat_from "
                      "sip_from chew_on nibble_on inhale smoke blow blow_on blow_out lap_up graze_on munch_on "
                      "gnaw gnaw_on bite_off"),
    "care": (5, 3, "feed wash bathe dress groom clean dry rinse bandage help examine treat milk saddle shear "
                   "bottle-feed scrub_down tend nurse inspect check soothe burp rock_to_sleep harness help_up "
                   "dust pamper braid plait curl style straighten dye shampoo lather moisturize vaccinate inject "
                   "tattoo pierce disinfect comfort console shine"),
    "cook": (4, 3, "cook fry bake roast grill boil blend"),
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

# Verbs that take the same prepositions: "toss onto" is scored as "throw onto".
_ALIKE = {"throw": "toss hurl fling pitch lob launch", "put": "place set lay stack load slide"}


def _scores() -> dict[str, Score]:
    scores = {
        verb.replace("_", " "): Score(contactness, dynamism, verb_class)
        for verb_class, (contactness, dynamism, verbs) in _VERB_CLASSES.items()
        for verb in verbs.split()
    }
    for verb, score in list(scores.items()):
        lemma, _, preposition = verb.partition(" ")
        if score.verb_class in {"aim", "place in"}:
            for alike in _ALIKE.get(lemma, "").split():
                scores.setdefault(f"{alike} {preposition}", score)
    return scores


def _object_prepositions() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for verb in VERB_SCORES:
        lemma, _, preposition = verb.partition(" ")
        if preposition in PREPOSITIONS | {"after"}:
            found.setdefault(lemma, set()).add(preposition)
    return {lemma: frozenset(prepositions) for lemma, prepositions in found.items()}


VERB_SCORES = _scores()
UNKNOWN_VERB = Score(3, 3, "unknown")
# Adverbs that lower dynamism by one, and those that raise it by one.
GENTLE = word_set("gently slowly softly carefully lightly slightly calmly lazily delicately leisurely tenderly quietly")
FORCEFUL = word_set(
    "quickly forcefully violently vigorously hard fast rapidly energetically powerfully fiercely swiftly"
)

# --- Objects ---------------------------------------------------------------------------------

# All verbs of this lexicon: if a word can be read in two ways, a listed verb is likelier.
ACTION_LEMMAS = frozenset(verb.split()[0] for verb in VERB_SCORES)
# (verb, particle)
PHRASAL = frozenset(
    (verb, particle) for verb, _, particle in (entry.partition(" ") for entry in VERB_SCORES) if particle in PARTICLES
)
# lemma -> prepositions that lead to an object: "jumps on the bed", "sits in the chair".
OBJECT_PREPOSITIONS = _object_prepositions()
# In these classes the preposition leads to a second object; in others it leads to the only one.
GOAL_CLASSES = {"aim", "place in", "pour into", "transfer"}
# Done with a tool in hand, even if nothing else is named: "eats with a spoon".
TOOL_CLASSES = {"strike", "throw", "push", "touch", "pour", "cut", "consume", "care", "mark"}
# "lays a hand on a dog", "lays a blanket on a baby": what it comes to lie on is an object.
LAYING = word_set("put place lay rest wrap press lean set drape throw fling rub slide tuck hook loop run")
LAID_ON = word_set("on onto around over against upon on_top_of into through")
# After these "after" is a preposition, "runs after a cat"; elsewhere it is a conjunction.
FOLLOWED_BY_AFTER = word_set("run chase rush dash sprint race")
DITRANSITIVE = word_set("give hand pass throw toss offer show bring feed serve lend send sell kick roll buy")
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
    "collide": "collide with",
}


class LightVerb(NamedTuple):
    """What a verb means with its noun, and the prepositions that lead to its object; "" as in "gives him a hug"."""

    verb: str
    prepositions: frozenset[str]


# (verb, noun) -> meaning
LIGHT_VERBS: dict[tuple[str, str], LightVerb] = {
    ("shake", "hand"): LightVerb("shake hands with", frozenset({"with", "of"})),
    ("hold", "hand"): LightVerb("hold hands with", frozenset({"with"})),
    ("exchange", "high-five"): LightVerb("high-five", frozenset({"with"})),
    ("give", "high-five"): LightVerb("high-five", frozenset({"", "to"})),
    ("give", "hug"): LightVerb("hug", frozenset({"", "to"})),
    ("give", "kiss"): LightVerb("kiss", frozenset({"", "to"})),
    ("give", "pat"): LightVerb("pat", frozenset({"", "to"})),
    ("give", "push"): LightVerb("push", frozenset({"", "to"})),
    ("take", "bite"): LightVerb("bite", frozenset({"of", "out of", "from"})),
    ("take", "sip"): LightVerb("sip from", frozenset({"from", "of"})),
    ("take", "photo"): LightVerb("take a photo of", frozenset({"of"})),
    ("take", "picture"): LightVerb("take a picture of", frozenset({"of"})),
    ("play", "catch"): LightVerb("play catch with", frozenset({"with"})),
    ("play", "tag"): LightVerb("play tag with", frozenset({"with"})),
}

# --- Kinds of verbs --------------------------------------------------------------------------

# A wish, a plan or an attempt: the caption does not say that it happens.
UNREALISED = word_set("try attempt want plan prepare intend hope refuse fail pretend need threaten offer wait")
# "starts to throw", "continues throwing": the inner verb is what happens.
ASPECTUALS = word_set("start begin continue proceed keep stop finish resume")
# After these a purpose counts as done: "bends down to pick up a ball". After others it does not.
APPROACHES = word_set(
    "bend lean kneel crouch stoop squat reach run walk step jump turn leap stretch come go rush dash sit"
)
# These name nothing that is done to an object.
VAGUE_VERBS = word_set(
    "move act do be have get go come make let stay remain seem appear happen occur become perform behave "
    "interact engage exist live work deal manage cause allow enable include contain feature involve "
    "continue start begin stop try attempt keep end finish resume depict complete create experience "
    "undergo share"
)
INNER_STATES = word_set(
    "think feel smile laugh frown wonder dream believe know understand remember forget love like hate enjoy "
    "want need wish hope fear worry prefer admire miss trust mean notice see hear realize realise recognize "
    "decide consider imagine expect seek cry weep sigh grin relax rest sleep wait stand wear sport resemble own "
    "possess await"
)
# With scenery these only tell where someone goes: "crosses the street", "enters the room".
LOCOMOTION = word_set(
    "enter leave cross exit reach visit walk run pass traverse navigate explore roam wander stroll approach "
    "circle round travel hike jog follow climb descend ascend swim sail surf skate ski leap jump"
)
# Done to one's own clothes, these concern nobody else.
DRESSING = word_set(
    "wear adjust remove button unbutton zip unzip tie fasten straighten fix don touch tug smooth grip hold tip "
    "lift change take_off put_on pull_up pull_down pull_off roll_up"
)

# --- Forms -----------------------------------------------------------------------------------


class VerbForm(NamedTuple):
    """A word read as a verb. `tags` has all its Penn Treebank tags: "hit" has VB, VBP, VBD and VBN."""

    lemma: str
    tags: frozenset[str]


@lru_cache(maxsize=8192)
def verb_form(word: str) -> VerbForm | None:
    """Read a lower-case word as a verb: "kicks" -> ("kick", {"VBZ"}); None if it is no verb."""
    lemmas = [lemma for lemma in lemmas_of(word).get("VERB", ()) if lemma]
    if not lemmas and "-" in word:
        return _hyphened_verb(word)
    # "found" can be "find" or "found", "saw" can be "see" or "saw": a past form is likelier.
    lemmas.sort(key=lambda lemma: (lemma not in ACTION_LEMMAS, lemma == word))
    for lemma in lemmas:
        inflections = lemminflect.getAllInflections(lemma, "VERB")
        tags = frozenset(tag for tag, forms in inflections.items() if word in forms)
        if "VBD" in tags and "VBN" not in inflections:  # lemminflect lists a regular verb's past once
            tags |= {"VBN"}
        if tags:
            return VerbForm(lemma, tags)
    return None


def _hyphened_verb(word: str) -> VerbForm | None:
    """ "high-fives" -> ("high-five", {"VBZ"}), for hyphened verbs of this lexicon."""
    head, _, tail = word.rpartition("-")
    ends_in_s = tail.endswith("s")
    stem, tags = verb_form(tail) or (tail.removesuffix("s"), frozenset({"VBZ"} if ends_in_s else {"VB", "VBP"}))
    lemma = f"{head}-{stem}"
    return VerbForm(lemma, tags) if lemma in ACTION_LEMMAS else None


def coined_verb_form(word: str) -> VerbForm:
    """The form of a verb that lemminflect lacks, in -s, -ed or -ing: "zorbs" -> ("zorb", {"VBZ"})."""
    lemma = (lemminflect.getLemma(word, "VERB") or (word,))[0]
    return VerbForm(lemma, frozenset({{"s": "VBZ", "d": "VBD", "g": "VBG"}[word[-1]]}))

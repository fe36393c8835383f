"""A clip: one shot of a source, [start, end). The unit of a row.

Clip(clip_id="clip-81b2...", source_id="src-5f0c...", shot_index=0, n_shots=1,
     start=Rational(num=0, den=1), end=Rational(num=1001, den=100), fps=..., n_frames=240, ...)
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from schemas.outcome import Kind, Subject
from schemas.record import Rational, column, content_hash

# FFmpeg's names. tt, bb: the top, the bottom field is stored and shown first; tb, bt: the first is stored first and
# the second shown first. interlaced: in an order that nothing tells.
FieldOrder = Literal["progressive", "tt", "bb", "tb", "bt", "interlaced", "unknown"]

Trait = Literal["hdr", "interlaced", "anamorphic"]  # of pictures that a player would convert and this program does not
HDR_TRANSFERS = frozenset({"smpte2084", "arib-std-b67"})  # PQ and HLG


def traits_of(sample_aspect: Fraction, transfer: str, field_order: FieldOrder, *, stretched: bool) -> dict[Trait, str]:
    """What pictures are that players would convert, in words. stretched: to square pixels.

    traits_of(Fraction(4, 3), "smpte2084", "progressive", stretched=False) ->
        {"hdr": "HDR (smpte2084)", "anamorphic": "pixels of 4:3"}
    """
    found: dict[Trait, str] = {}
    if transfer in HDR_TRANSFERS:
        found["hdr"] = f"HDR ({transfer})"
    if field_order not in ("progressive", "unknown"):
        found["interlaced"] = "interlaced" if field_order == "interlaced" else f"interlaced ({field_order})"
    if sample_aspect != 1 and not stretched:
        found["anamorphic"] = f"pixels of {sample_aspect.numerator}:{sample_aspect.denominator}"
    return found


class Clip(Subject):
    """One shot of a source, with exact times."""

    # Version 1 had none of the columns from clock_offset_s to orientation and from sample_aspect to field_order: their
    # defaults are what such a snapshot knows.

    schema_version: ClassVar[int] = 2
    table_name: ClassVar[str | None] = "all_clips"
    kind: ClassVar[Kind] = "clip"

    clip_id: str = column("Derived from the source's content and the exact span; it never moves")
    source_id: str = column("The source it was cut from")
    video: str = column("Path of the source's video as the manifest writes it")
    video_sha256: str = column("SHA-256 of the source's video file", unit="hex")
    shot_index: int = column("Which clip of its source, from 0", ge=0)
    n_shots: int = column("How many clips its source was cut into", ge=1)
    start: Rational = column("First frame's time, exact", unit="s")
    end: Rational = column("End of the last frame, exact, exclusive", unit="s")
    start_s: float = column("`start` rounded to a float, for queries", unit="s", ge=0)
    end_s: float = column("`end` rounded to a float, for queries", unit="s", ge=0)
    clock_offset_s: float | None = column(
        "Add it to a time of this clip to get the container's clock, as players and speech recognition count",
        unit="s",
        default=None,
    )
    n_clock_jumps: int | None = column(
        "How often the clock of the source's file jumps: it was joined or pasted; times go on from the frame before",
        ge=0,
        default=None,
    )
    stream_index: int | None = column(
        "Which of the container's streams the pictures come from, from 0", ge=0, default=None
    )
    n_streams: int | None = column(
        "Video streams of the container; of several, the one is read that players show", ge=1, default=None
    )
    orientation: int | None = column(
        "How the coded picture is turned to be shown, by EXIF's number: 1 not, 3 by 180 degrees, 6 clockwise by 90, 8 "
        "counter-clockwise by 90; 2, 4, 5 and 7 are mirrored",
        ge=1,
        le=8,
        default=None,
    )
    n_frames: int = column("Frames whose time lies in [start, end)", ge=1)
    fps: Rational = column("Average frame rate of the source", unit="frames/s")
    width: int = column("Width as displayed, rotation applied", unit="px", ge=1)
    height: int = column("Height as displayed, rotation applied", unit="px", ge=1)
    sample_aspect: Rational = column(
        "Width / height of a pixel as the source's file displays it; 1/1: square, or it says nothing",
        default=Rational.of(1),
    )
    stretched: bool = column(
        "True if pictures are stretched to square pixels: width and height are theirs then", default=False
    )
    transfer: str = column(
        "How brightness is coded, by FFmpeg's name; smpte2084 (PQ) and arib-std-b67 (HLG) are HDR; or unknown",
        default="unknown",
    )
    field_order: FieldOrder = column(
        "progressive; tt, bb, tb or bt as FFmpeg names orders of fields; interlaced: some frame of the source's span "
        "is, in an order that its file does not tell; unknown: published before it was recorded",
        default="unknown",
    )
    caption: str | None = column("The source's caption", default=None)
    part: int = column("Which part of a crowded clip this is, from 0", ge=0, default=0)
    n_parts: int = column("Into how many parts a clip with too many instances was cut; 1: it was not", ge=1, default=1)
    caption_shared: bool = column("True if the caption was written for several shots, of which this is one")

    @property
    def row_id(self) -> str:
        return self.clip_id

    @staticmethod
    def id_of(source_id: str, start: Fraction, end: Fraction) -> str:
        return "clip-" + content_hash("clip", source_id, start, end, length=16)

    @property
    def traits(self) -> dict[Trait, str]:
        """What its pictures are that players would convert, in words; empty for most."""
        return traits_of(self.sample_aspect.fraction, self.transfer, self.field_order, stretched=self.stretched)

    @property
    def remarks(self) -> list[str]:
        """What a person should know of the source's file, as it is not as plain as most, in words."""
        told = [f"{seen}: used as stored" for seen in self.traits.values()]
        if (self.n_streams or 1) > 1:
            told.append(f"of {self.n_streams} video streams, number {self.stream_index} is read")
        if self.n_clock_jumps:
            times = "once" if self.n_clock_jumps == 1 else f"{self.n_clock_jumps} times"
            told.append(f"its clock jumps {times}: times go on from the frame before")
        return told

    @property
    def video_span(self) -> list[object]:
        """The key of the clip's pictures: the video's bytes and what is read of them, not its path."""
        # The first stream, upright or turned, goes without saying: most have no other, and their keys stay.
        mirrored = self.orientation in (2, 4, 5, 7)
        read = [self.stream_index, self.orientation] if self.stream_index or mirrored else []
        size = [[self.width, self.height]] if self.stretched else []
        return [self.video_sha256, self.start, self.end, *read, *size]

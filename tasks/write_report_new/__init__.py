from __future__ import annotations


def write_report(
    snapshot: Path, work: Work, folder: Path, truth: TruthReport | None = None, max_clips: int = 48
) -> Path:
    """Write the report of a published snapshot and return its index.html, which appears last.

    work:      where the videos lie; one that is gone or unreadable is missing from the report, no more
    truth:     how the result compares with the truth, if there is any
    max_clips: accepted clips that are shown, spread evenly over all of them
    """
    manifest = read_snapshot(snapshot)
    clip_ids = spread(accepted_clip_ids(snapshot, manifest), max_clips)
    logger.info("report of %s: %d of %d accepted clips", manifest.snapshot_id, len(clip_ids), manifest.n_accepted)
    page = _template().render(
        manifest=manifest,
        embedded_stages=[maker.stage for maker in manifest.made_by if maker.backend in EMBEDDED_BACKENDS],
        funnel=funnel_bars(snapshot, manifest),
        truth=truth_view(truth) if truth else None,
        cards=make_cards(snapshot, work, clip_ids, folder, truth),
        ended=ended_groups(snapshot, manifest, work, folder),
        statistics=charts(manifest),
        root=shlex.quote(str(work.root.parent)),  # the flow's --root holds the work
    )
    index = folder / "index.html"
    write_atomic(index, page.encode())
    return index


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "score": score, "shorten": shorten}
    return environment.get_template("report.html.j2")

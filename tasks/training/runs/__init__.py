"""Training runs, published and read: a folder of plain files, whose manifest comes last.

    publish_run(Path("runs/matrix-3f9c2a71b0de"))            checks, curves, page, manifest
    write_page(Path("runs/matrix-3f9c2a71b0de"))             the page of a run that goes on
    Run.open("runs", "matrix-3f9c").metrics()                a polars.DataFrame

    reading    Run, runs_in                 curves    metrics as SVG
    publish    publish_run, verify          story     what `triptych ask --runs` prints
    page       a run's page, and the page of all runs of a folder

A run is made and published on a disk: its job renames folders and cuts metrics back, which stores cannot. A published
run that was copied to a store is read there as well: s3://models/runs.
"""

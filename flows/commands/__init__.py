"""The commands of `triptych`, one file each; cli.py lists them."""

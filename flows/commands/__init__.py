"""The commands of `triptych`, one file each."""

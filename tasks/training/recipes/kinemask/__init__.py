"""KineMask: a ControlNet that follows velocity masks (docs/kinemask.md)."""

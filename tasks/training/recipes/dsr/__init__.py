"""SpatialAlign: DPO with zeroth-order regularisation on pairs of videos (docs/dsr.md)."""

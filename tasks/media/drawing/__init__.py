"""Drawing for the demo's input and the embedded generator: canvas, backdrops, figures."""

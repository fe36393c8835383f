"""GameCraft-2, stages 1 and 2: cameras steer an image-to-video model; nothing trains it until there is its dataset.

config.py   what a training is made from
model.py    Wan2.2's two experts and a camera encoder; what each stage trains
loss.py     flow matching
"""

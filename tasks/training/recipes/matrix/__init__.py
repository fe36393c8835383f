"""MATRIX: attention that is aligned with masks, so that who does what to whom is drawn as it is written.

config.py   what a training is made from; the paper's ablations and the authors' code by name
model.py    CogVideoX with LoRA, ID map and two decoders: what is trained, saved and loaded
loss.py     denoising, SGA and SPA
data.py     prepared samples, as the loss takes them
recipe.py   all of it, as the job asks for it
pipeline.py, attention_maps.py    videos and attention of what is trained
"""

